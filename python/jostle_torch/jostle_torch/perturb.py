"""The context in which a model's weights are noisy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, SupportsFloat, SupportsIndex, TypeVar

import torch
from torch import Tensor, nn

from .draw import unit_noises
from .model import check_disjoint, check_noisy, numbered
from .scheme import Settings, StepNoise

# Parameters of models that are within a context now, by id: the context holds them, so that no id is used again.
_held: set[int] = set()
_lock = threading.Lock()

Function = TypeVar("Function", bound=Callable[..., Any])


def _eager(function: Function) -> Function:
    """Never compiled, wherever it is called from: compilers fuse products with sums, and keep no count of writes."""
    disable: Callable[[Function], Function] = torch.compiler.disable
    return disable(function)


class Perturbation:
    """A context: on entering, noise is added to weights in place; on leaving, by whatever way, they are what they were.

    Made by `perturbed` and by `Perturber`. What it touches, and nothing else, is copied.
    """

    def __init__(self, model: nn.Module, settings: Settings, sigma: SupportsFloat, step: SupportsIndex) -> None:
        self._settings = settings
        self._tensors, self._parameters = numbered(model)
        self.noise = settings.at(self._tensors, sigma, step)
        self._saved: list[tuple[str, nn.Parameter, Tensor]] = []
        self._versions: list[int] = []

    @_eager
    def __enter__(self) -> StepNoise:
        if self.noise.tensors:
            # All that may ever be noisy, so that what is refused does not wait for its step.
            named = [(t.name, p) for t, p in zip(self._tensors, self._parameters, strict=True) if t.is_trained]
            for name, parameter in named:
                check_noisy(name, parameter)
            check_disjoint(named)
        self._hold()
        try:
            with torch.no_grad():
                for number, delta in _deltas(self._parameters, self._settings, self.noise):
                    name, parameter = self._tensors[number].name, self._parameters[number]
                    self._saved.append((name, parameter, parameter.clone(memory_format=torch.preserve_format)))
                    parameter.add_(delta)
        except BaseException:
            self._restore()
            raise
        self._versions = [parameter._version for _, parameter, _ in self._saved]
        return self.noise

    @_eager
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        now = zip(self._saved, self._versions, strict=True)
        written = [name for (name, parameter, _), version in now if parameter._version != version]
        self._restore()
        if written and kind is None:
            raise RuntimeError(
                f"{written[0]} was written to while it was noisy, and that is lost, for it is as clean as before: "
                "take the optimizer's step after the context"
            )

    def _hold(self) -> None:
        ids = {id(parameter) for parameter in self._parameters}
        with _lock:
            if not ids.isdisjoint(_held):
                names = (t.name for t, p in zip(self._tensors, self._parameters, strict=True) if id(p) in _held)
                raise RuntimeError(
                    f"{next(names)} is within a perturbed(...) already: leave that before entering another of its model"
                )
            _held.update(ids)

    def _restore(self) -> None:
        try:
            with torch.no_grad():
                for _, parameter, clean in self._saved:
                    parameter.copy_(clean)
        finally:
            self._saved.clear()
            with _lock:
                _held.difference_update(id(parameter) for parameter in self._parameters)


def perturbed(
    model: nn.Module,
    sigma: SupportsFloat,
    mode: str = "layer",
    *,
    step: SupportsIndex,
    seed: int = 0,
    groups: str = "tensor",
    distribution: str = "gaussian",
    scale: str = "absolute",
    order: str = "cyclic",
) -> Perturbation:
    """A context in which the weights of `model` have the noise of a step; forward and backward pass belong inside.

    sigma           standard deviation of the noise, from 0
    mode            `layer`: one group a step, sigma; `all`: every group, sigma / sqrt(M) with M groups; `model`: every
                    group, sigma; `none`
    step            the number of the step, from 0: another step, another noise
    seed            from 0 to 2^64 - 1; the same on every rank of data-parallel training
    groups          `tensor`: each parameter is a group; `module`: those of a module; `weights`: each parameter that is
                    neither bias nor normalisation, and no noise on those
    distribution    `gaussian`, `rademacher` or `uniform`, of unit variance
    scale           sigma is `absolute`, or in units of the L2 norm of each `filter`: a row of a weight, the whole of
                    a one-dimensional parameter
    order           the group of mode `layer`: `cyclic` is step mod M, `random` is drawn by seed and step
    """
    return Perturbation(model, Settings(mode, seed, groups, distribution, scale, order), sigma, step)


def deltas(
    model: nn.Module,
    sigma: SupportsFloat,
    mode: str = "layer",
    *,
    step: SupportsIndex,
    seed: int = 0,
    groups: str = "tensor",
    distribution: str = "gaussian",
    scale: str = "absolute",
    order: str = "cyclic",
) -> dict[str, Tensor]:
    """What `perturbed` adds to each parameter, by name, in float32: the tensors that `jostle noise` writes."""
    settings = Settings(mode, seed, groups, distribution, scale, order)
    tensors, parameters = numbered(model)
    noise = settings.at(tensors, sigma, step)
    with torch.no_grad():
        found = {t.name: torch.zeros(p.shape, device=p.device) for t, p in zip(tensors, parameters, strict=True)}
        for number, delta in _deltas(parameters, settings, noise):
            found[tensors[number].name].copy_(delta)
    return found


def _deltas(parameters: Sequence[nn.Parameter], settings: Settings, noise: StepNoise) -> Iterator[tuple[int, Tensor]]:
    """The number of each noisy parameter and what is added to it, in its shape and in float32."""
    by_device: dict[torch.device, list[int]] = {}
    for number in noise.tensors:
        by_device.setdefault(parameters[number].device, []).append(number)
    for device, numbers in by_device.items():
        sizes = [(number, parameters[number].numel()) for number in numbers]
        units = unit_noises(settings.distribution, settings.seed, noise.step, sizes, device)
        for number, unit in zip(numbers, units, strict=True):
            parameter = parameters[number]
            delta = unit.mul_(noise.sigma).view(parameter.shape)
            if settings.scale == "filter":
                delta.mul_(_filter_norms(parameter))
            yield number, delta


def _filter_norms(parameter: Tensor) -> Tensor:
    """The L2 norm of each filter: a row of a weight (all that feeds one output), the whole of a one-dimensional one."""
    # The engine's order of summation is its adapter's affair; float64, which Apple's GPUs have not, is near to each.
    wide = torch.float32 if parameter.device.type == "mps" else torch.float64
    dims = list(range(1, parameter.dim())) if parameter.dim() > 1 else None
    norms: Tensor = torch.linalg.vector_norm(parameter, dim=dims, keepdim=True, dtype=wide)
    return norms.to(torch.float32)
