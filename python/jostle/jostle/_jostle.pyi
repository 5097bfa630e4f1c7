"""The engine, as the package calls it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ._data import Arrays
from ._settings import Settings

_Weights = Sequence[tuple[str, list[int], npt.NDArray[np.float32]]] | None
_Heard = Callable[[str], bool] | None

def adapters() -> str: ...
def program(words: list[str]) -> int: ...
def config_keys() -> list[str]: ...
def read_config(path: str) -> str: ...
def run_svg(metrics: str, title: str) -> str: ...
def draw(title: str, panels: Sequence[Mapping[str, Any]]) -> str: ...
def weights(path: str) -> dict[str, npt.NDArray[np.float32]]: ...
def train(
    settings: Settings,
    out: str,
    data: Arrays | None,
    callback: _Heard,
    notice: Callable[[str], Any],
    ways: Mapping[str, Any],
) -> tuple[str, BaseException | None]: ...
def evaluate(
    settings: Settings,
    file: str | None,
    weights: _Weights,
    data: Arrays | None,
    part_name: str,
    outputs: bool,
    choice: str | None,
) -> tuple[str, npt.NDArray[np.float32] | None]: ...
def hessian(
    settings: Settings,
    file: str | None,
    weights: _Weights,
    data: Arrays | None,
    part_name: str,
    probing: Mapping[str, Any],
    choice: str | None,
) -> tuple[str, str | None]: ...
def noise(
    settings: Settings,
    step: int,
    epoch: int,
    file: str | None,
    weights: _Weights,
    data: Arrays | None,
    choice: str | None,
) -> tuple[str, dict[str, npt.NDArray[np.float32]]]: ...
def compare(
    settings: Settings,
    grid: Mapping[str, Any],
    data: Arrays | None,
    out: str | None,
    callback: _Heard,
) -> tuple[str, BaseException | None]: ...
def experiment(name: str, subjects: Mapping[str, Any], out: str) -> str: ...
def experiments() -> str: ...
