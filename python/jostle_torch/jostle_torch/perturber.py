"""Noise that counts its steps itself and is saved along with the optimizer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import TracebackType
from typing import Any, SupportsFloat, SupportsIndex

from torch import nn

from .model import numbered
from .perturb import Perturbation
from .scheme import Settings, StepNoise, checked_sigma, checked_step


class Perturber:
    """`perturbed` with a count of steps: `with perturber: criterion(model(inputs), labels).backward()`.

    A step counts once its context has been left without an exception. `sigma` may be set between steps, as a schedule
    of one's own has it; `step` likewise.
    """

    def __init__(
        self,
        model: nn.Module,
        sigma: SupportsFloat,
        mode: str = "layer",
        *,
        seed: int = 0,
        groups: str = "tensor",
        distribution: str = "gaussian",
        scale: str = "absolute",
        order: str = "cyclic",
        step: SupportsIndex = 0,
    ) -> None:
        self._model = model
        self.settings = Settings(mode, seed, groups, distribution, scale, order)
        self.sigma = checked_sigma(sigma)
        self.step = checked_step(step)
        self._current: Perturbation | None = None

    def __enter__(self) -> StepNoise:
        current = Perturbation(self._model, self.settings, self.sigma, self.step)
        noise = current.__enter__()
        self._current = current
        return noise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        current, self._current = self._current, None
        if current is None:
            raise RuntimeError("this Perturber was not entered")
        current.__exit__(kind, error, traceback)
        if kind is None:
            self.step += 1

    def state_dict(self) -> dict[str, Any]:
        """Everything that the noise to come depends on, in plain numbers and names."""
        tensors, _ = numbered(self._model)
        return {
            **dataclasses.asdict(self.settings),
            "sigma": float(self.sigma),
            "step": self.step,
            "tensors": len(tensors),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state_dict` was taken; nothing is changed if it does not fit."""
        own = self.state_dict()
        if state.keys() != own.keys():
            odd = ", ".join(sorted(state.keys() ^ own.keys()))
            raise ValueError(f"this is no state of a Perturber: {odd} is missing, or there without cause")
        if state["tensors"] != own["tensors"]:
            raise ValueError(
                f"the state is of a model of {state['tensors']} parameter tensors, and this model has {own['tensors']}"
            )
        settings = Settings(**{field.name: state[field.name] for field in dataclasses.fields(Settings)})
        sigma, step = checked_sigma(state["sigma"]), checked_step(state["step"])
        self.settings, self.sigma, self.step = settings, sigma, step
