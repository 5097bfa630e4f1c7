"""`adapters`, `evaluate`, `hessian` and `noise`."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _jostle
from ._data import arrays, flat_weights
from ._figure import Figure
from ._run import Run
from ._settings import Config, Settings, settings
from ._training import named

Weights = Mapping[str, Any] | str | os.PathLike[str] | None


def adapters() -> list[dict[str, Any]]:
    """The adapters of this machine, with their limits and features; `index` or a part of `name` chooses one.

    >>> adapters()[0]["index"]
    0
    """
    found: list[dict[str, Any]] = json.loads(_jostle.adapters())
    return found


def subject(
    config: Config | Run, weights: Weights, data: Any, keys: Mapping[str, Any]
) -> tuple[Settings, str | None, Any, Any]:
    """Configuration, weights (a file, or arrays) and own data; a run has all three."""
    own, keys = named(data, keys)
    if isinstance(config, Run):
        own = config.data if own is None and "data" not in keys else own
        weights = config.weights if weights is None else weights
        config = config.config
    given = settings(config, keys)
    if weights is None:
        return given, None, None, own
    if isinstance(weights, (str, os.PathLike)):
        return given, os.fspath(weights), None, own
    return given, None, flat_weights(weights), own


@dataclass(frozen=True)
class Evaluation:
    """Mean loss and accuracy over a part of the data."""

    part: str
    """test, train or validation; "given" or "alone" for arrays that were scored whole."""
    samples: int
    loss: float
    accuracy: float
    """NaN where the targets are vectors."""
    nll: float
    """Mean of -ln p(label); with `brier` and `ece` NaN where there are no probabilities of classes, as for loss mse."""
    brier: float
    """Brier score: mean of the sum over all classes of (p(class) - [class is the label]) ** 2."""
    ece: float
    """Expected calibration error over 15 bins, as torchmetrics has them."""
    outputs: npt.NDArray[np.float32] | None = field(default=None, repr=False)
    """[samples, classes] in the data's order, where they were asked for."""


def evaluate(
    config: Config | Run,
    weights: Weights = None,
    data: Any = None,
    *,
    part: str = "test",
    outputs: bool = False,
    adapter: str | int | None = None,
    **keys: Any,
) -> Evaluation:
    """Scores weights, those of a run or others, on a part of the data: test, train or validation.

    `(X, y)` given as `data` are scored whole, normalised as the run's training data where it had own ones.

    >>> from jostle import train
    >>> run = train(model="mlp:64-16-10", epochs=1, subset=200)
    >>> bool(evaluate(run).loss == run.metrics["test_loss"][-1])
    True
    """
    given, file, flat, own = subject(config, weights, data, keys)
    if data is not None and own is data and isinstance(own, (tuple, list)) and len(own) == 2:
        earlier = config.data if isinstance(config, Run) else None
        own, part = (*(earlier[:2] if earlier else own), *own), "given" if earlier else "alone"
    choice = None if adapter is None else str(adapter)
    said, values = _jostle.evaluate(given, file, flat, arrays(own), part, outputs, choice)
    found = json.loads(said)
    scored, quality = found["scored"], found["scored"].get("quality", {})
    numbers = [scored["loss"], scored["accuracy"], *(quality.get(name) for name in ("nll", "brier", "ece"))]
    return Evaluation(found["part"], found["samples"], *(nan if n is None else n for n in numbers), values)


@dataclass(frozen=True)
class Trace:
    """A trace by Hutchinson's estimator."""

    trace: float
    standard_error: float
    """Infinite where a single probe says nothing of it."""
    probes: int
    tensors: dict[str, float] = field(repr=False)
    """The share of each parameter."""

    @classmethod
    def read(cls, found: Mapping[str, Any], names: list[str]) -> Trace:
        error = found["standard_error"]
        tensors = dict(zip(names, found["tensors"], strict=True))
        return cls(found["trace"], float("inf") if error is None else error, found["probes"], tensors)


@dataclass(frozen=True)
class GroupTrace:
    """The traces of the curvature along the weights of a group, with their standard errors: infinite after a single probe."""

    name: str
    parts: list[str]
    """Its parameters; a projection of one as `attn.weight[q]`."""
    hessian: float
    hessian_error: float
    gauss_newton: float
    gauss_newton_error: float

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> GroupTrace:
        traces = [found["hessian"], found["gauss_newton"]]
        values = [(t["trace"], float("inf") if t["standard_error"] is None else t["standard_error"]) for t in traces]
        return cls(found["name"], found["parts"], *values[0], *values[1])


@dataclass(frozen=True)
class Hessian:
    """The curvature of the loss at weights."""

    samples: int
    hessian: Trace
    gauss_newton: Trace
    eigenvalues: list[float]
    """The largest in size."""
    residuals: list[float] = field(repr=False)
    """An eigenvalue lies within this distance of each."""
    groups: list[GroupTrace] = field(repr=False)
    """The shares of the groups of the noise, which `groups` says: tensor, module, weights, projection or block."""
    density: npt.NDArray[np.float64] | None = field(repr=False)
    """[points, 2]: eigenvalue and density."""
    figure: Figure | None = field(repr=False)
    """The density."""

    @property
    def trace(self) -> float:
        """Of the Hessian."""
        return self.hessian.trace

    @property
    def standard_error(self) -> float:
        """Of that trace."""
        return self.hessian.standard_error

    def plot(self) -> Figure | None:
        """The density of the eigenvalues."""
        return self.figure

    def _repr_html_(self) -> str:
        row = "<tr><td>{}</td><td>{:.3f}</td><td>{:.3f}</td></tr>"
        rows = [row.format("all", self.hessian.trace, self.gauss_newton.trace)]
        rows += [row.format(html.escape(group.name), group.hessian, group.gauss_newton) for group in self.groups]
        caption = f"Traces over {self.samples} samples, standard error of the Hessian's {self.standard_error:.3f}"
        head = "<tr><th>group</th><th>Hessian</th><th>Gauss-Newton</th></tr>"
        table = f"<table><caption>{caption}</caption><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
        return table + (self.figure.svg if self.figure else "")


def hessian(
    config: Config | Run,
    weights: Weights = None,
    data: Any = None,
    *,
    part: str = "train",
    probes: int = 64,
    probe_seed: int | None = None,
    tolerance: float = 0.02,
    top: int = 5,
    lanczos_steps: int = 40,
    starts: int = 2,
    adapter: str | int | None = None,
    **keys: Any,
) -> Hessian:
    """Measures the curvature of the loss at weights, as `jostle hessian` does.

    Traces of the Hessian and of its Gauss-Newton part, largest eigenvalues, density of the spectrum; `lanczos_steps=0`
    leaves out the last two.

    >>> from jostle import train
    >>> run = train(model="mlp:64-16-10", epochs=1, subset=200)
    >>> found = hessian(run, probes=2, lanczos_steps=0)
    >>> found.samples, found.hessian.probes, list(found.hessian.tensors)[:2]
    (200, 2, ['fc1.weight', 'fc1.bias'])
    """
    given, file, flat, own = subject(config, weights, data, keys)
    probing = {
        "probes": probes,
        "probe_seed": probe_seed,
        "tolerance": tolerance,
        "top": top,
        "lanczos_steps": lanczos_steps,
        "starts": starts,
    }
    choice = None if adapter is None else str(adapter)
    said, svg = _jostle.hessian(given, file, flat, arrays(own), part, probing, choice)
    found = json.loads(said)
    report, names = found["report"], found["report"]["tensors"]
    return Hessian(
        samples=report["samples"],
        hessian=Trace.read(report["hessian"], names),
        gauss_newton=Trace.read(report["gauss_newton"], names),
        eigenvalues=[ritz["value"] for ritz in report["eigenvalues"]],
        residuals=[ritz["residual"] for ritz in report["eigenvalues"]],
        groups=[GroupTrace.read(group) for group in report["groups"]],
        density=None if found["density"] is None else np.array(found["density"]),
        figure=None if svg is None else Figure(svg),
    )


class Noise(dict[str, npt.NDArray[np.float32]]):
    """What is added to each parameter at a step.

    `sigma` is its standard deviation, `group` the noisy parameters in mode layer.
    """

    def __init__(self, tensors: Mapping[str, npt.NDArray[np.float32]], sigma: float, group: list[str] | None) -> None:
        super().__init__(tensors)
        self.sigma = sigma
        self.group = group


def noise(
    config: Config | Run = None,
    step: int = 0,
    epoch: int = 0,
    *,
    weights: Weights = None,
    data: Any = None,
    adapter: str | int | None = None,
    **keys: Any,
) -> Noise:
    """The noise that training adds at a step, exactly as it adds it: a function of seed, step, tensor and element.

    >>> drawn = noise(model="mlp:64-16-10", noise="layer", sigma=0.05, step=2)
    >>> drawn.group, drawn["fc2.weight"].shape, bool(drawn["fc1.weight"].any())
    (['fc2.weight'], (10, 16), False)
    """
    given, file, flat, own = subject(config, weights, data, keys)
    choice = None if adapter is None else str(adapter)
    said, tensors = _jostle.noise(given, step, epoch, file, flat, arrays(own), choice)
    drawn = json.loads(said)
    return Noise(tensors, drawn["sigma"], drawn["group"])
