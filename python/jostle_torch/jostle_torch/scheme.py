"""From the settings to what one step does: which tensors are noisy, and how strong. No tensor is touched here."""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import SupportsFloat, SupportsIndex

from .draw import STREAM_GROUP, WORD, key_of, philox

MODES = ("none", "all", "layer", "model")
GROUPINGS = ("tensor", "module", "weights")
DISTRIBUTIONS = ("gaussian", "rademacher", "uniform")
SCALES = ("absolute", "filter")
ORDERS = ("cyclic", "random")


@dataclass(frozen=True)
class NoiseTensor:
    """What the noise has to know of a parameter; its number is its place in the order of `named_parameters()`."""

    name: str
    module: str
    is_weight: bool  # neither bias nor normalisation
    is_trained: bool


@dataclass(frozen=True)
class StepNoise:
    """What one step does."""

    step: int
    sigma: float  # standard deviation on each noisy weight, in the unit of the scale; 0 where there is none
    tensors: tuple[int, ...]  # the noisy ones, by their number
    names: tuple[str, ...]  # the same by their name
    group: int | None  # the noisy group in mode layer


@dataclass(frozen=True)
class Settings:
    """Everything about the noise but sigma and the step."""

    mode: str = "layer"
    seed: int = 0
    groups: str = "tensor"
    distribution: str = "gaussian"
    scale: str = "absolute"
    order: str = "cyclic"

    def __post_init__(self) -> None:
        for what, name, known in (
            ("mode", self.mode, MODES),
            ("groups", self.groups, GROUPINGS),
            ("distribution", self.distribution, DISTRIBUTIONS),
            ("scale", self.scale, SCALES),
            ("order", self.order, ORDERS),
        ):
            if name not in known:
                raise ValueError(f"{what} is {name!r}, and has to be one of {', '.join(known)}")
        if not 0 <= operator.index(self.seed) < 1 << 64:
            raise ValueError(f"seed is {self.seed}, and has to be from 0 to 2^64 - 1")

    def at(self, tensors: Sequence[NoiseTensor], sigma: SupportsFloat, step: SupportsIndex) -> StepNoise:
        """The noise of a step. One beyond 2^32 starts the counters anew."""
        sigma, step = checked_sigma(sigma), checked_step(step)
        groups = group(self.groups, tensors)
        if self.mode == "all":
            sigma /= math.sqrt(max(len(groups), 1))
        sigma = float32(sigma)
        if self.mode == "none" or sigma == 0.0 or not groups:
            return StepNoise(step, 0.0, (), (), None)
        chosen = self._group_at(step, len(groups)) if self.mode == "layer" else None
        noisy = tuple(number for members in groups for number in members) if chosen is None else groups[chosen]
        return StepNoise(step, sigma, noisy, tuple(tensors[number].name for number in noisy), chosen)

    def _group_at(self, step: int, count: int) -> int:
        if self.order == "cyclic":
            return step % count
        bits = philox((0, 0, step & WORD, STREAM_GROUP), key_of(self.seed))[0]
        return operator.index(bits) * count >> 32


def group(grouping: str, tensors: Sequence[NoiseTensor]) -> list[tuple[int, ...]]:
    """Tensors of each group; M is the number of groups. Frozen parameters keep their number and are in no group."""
    trained = [(number, tensor) for number, tensor in enumerate(tensors) if tensor.is_trained]
    if grouping == "module":
        modules: dict[str, tuple[int, ...]] = {}
        for number, tensor in trained:
            modules[tensor.module] = (*modules.get(tensor.module, ()), number)
        return list(modules.values())
    return [(number,) for number, tensor in trained if grouping == "tensor" or tensor.is_weight]


def float32(value: float) -> float:
    """The float32 next to a number: the engine's kernels take sigma so."""
    (rounded,) = struct.unpack("f", struct.pack("f", value))
    return float(rounded)


def checked_sigma(sigma: SupportsFloat) -> float:
    value = float(sigma)
    if not 0.0 <= value < 3.4e38:
        raise ValueError(f"sigma is {value}, and has to be a number of 0 or more")
    return value


def checked_step(step: SupportsIndex) -> int:
    number = operator.index(step)
    if not 0 <= number < 1 << 64:
        raise ValueError(f"step is {number}, and has to be from 0 to 2^64 - 1")
    return number
