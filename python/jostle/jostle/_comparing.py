"""`compare`, `experiment` and `experiments`."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from . import _jostle
from ._data import arrays
from ._errors import Interrupted
from ._figure import Columns, Figure, columns
from ._run import Run
from ._settings import Config, settings
from ._training import Callback, free_folder, hearing, named


class Comparison:
    """Arms over seeds: what `jostle compare` reports."""

    def __init__(self, found: Mapping[str, Any], folder: Path | None) -> None:
        report = found["report"]
        self.folder = folder
        self.adapter: str = report["adapter"]
        self.arms: list[dict[str, Any]] = report["arms"]
        self.interrupted: bool = found["interrupted"]
        self.figure = Figure(found["svg"])
        self._tables = (report["table"], found["differences"])
        self._html: list[str] = found["html"]

    @property
    def table(self) -> dict[str, list[str]]:
        """The report's table as columns of text: mean ± standard deviation over the seeds that did not diverge."""
        table = self._tables[0]
        return {name: [row[at] for row in table["rows"]] for at, name in enumerate(table["headers"])}

    @property
    def differences(self) -> list[list[str]]:
        """The other arms less the first, paired over seeds: what, how much, and whether it is told from 0."""
        rows: list[list[str]] = self._tables[1]["rows"]
        return rows

    def _runs(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        return [(arm, run) for arm in self.arms for run in arm["runs"]]

    @cached_property
    def metrics(self) -> Columns:
        """Columns of every evaluation of every run, with its arm and its seed."""
        runs = self._runs()
        return columns(
            {"arm": arm["label"], "seed": run["seed"], **record} for arm, run in runs for record in run["epochs"]
        )

    @cached_property
    def runs(self) -> Columns:
        """Columns of the runs at their end: arm, seed, status, scores, and traces where they were measured."""

        def row(arm: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
            traces = run["traces"] or {}
            found = {f"{name}_trace": trace["trace"] for name, trace in traces.items()}
            last = run["epochs"][-1] if run["epochs"] else {}
            return {"arm": arm["label"], "seed": run["seed"], "status": run["status"], **last, **found}

        return columns(row(arm, run) for arm, run in self._runs())

    def plot(self) -> Figure:
        """Curves of every arm, with bands of a standard deviation."""
        return self.figure

    def __repr__(self) -> str:
        return f"<Comparison: {', '.join(arm['label'] for arm in self.arms)}, {len(self._runs())} runs>"

    def _repr_html_(self) -> str:
        return "".join(self._html) + self.figure.svg


def compare(
    config: Config = None,
    data: Any = None,
    callback: Callback | None = None,
    *,
    modes: Sequence[str] = ("none", "all", "layer"),
    sigmas: Sequence[float] = (),
    lrs: Sequence[float] = (),
    seeds: int = 3,
    hessian: int = 0,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    adapter: str | int | None = None,
    **keys: Any,
) -> Comparison:
    """Trains arms, noise modes x sigmas x learning rates, over seeds and compares them, as `jostle compare` does.

    `config`, `data` and further keywords are as for `train`; `hessian` is the number of probes of the traces at the end
    of each run. `callback` is called with `arm`, `seed` and the `record` of each evaluation; `False` ends it all.

    >>> found = compare(model="mlp:64-16-10", epochs=1, subset=200, modes=["none", "layer"], seeds=2)
    >>> found.table["arm"], found.runs["seed"].tolist()
    (['none', 'layer'], [0, 1, 0, 1])
    """
    own, keys = named(data, keys)
    given = settings(config.config if isinstance(config, Run) else config, keys)
    folder = None if out is None else free_folder(out, "compare.json", overwrite)[0]
    grid = {
        "modes": [str(mode) for mode in modes],
        "sigmas": [float(sigma) for sigma in sigmas],
        "lrs": [float(lr) for lr in lrs],
        "seeds": seeds,
        "hessian": hessian,
        "adapter": None if adapter is None else str(adapter),
    }
    place = None if folder is None else str(folder)
    said, raised = _jostle.compare(given, grid, arrays(own), place, hearing(callback))
    found = Comparison(json.loads(said), folder)
    if isinstance(raised, KeyboardInterrupt):
        raise Interrupted("interrupted; what was reached is with this exception", found) from None
    if raised is not None:
        raise raised
    return found


class Outcome:
    """What an experiment found; its folder holds the report."""

    def __init__(self, found: Mapping[str, Any], folder: Path, temporary: TemporaryDirectory[str] | None) -> None:
        self.folder = folder
        self.name: str = found["name"]
        self.title: str = found["title"]
        self.verdict: str = found["verdict"]
        self.claims: list[dict[str, Any]] = found["claims"]
        self.summary: str = found["summary"]
        self.notes: list[str] = found["notes"]
        self.metrics: Any = found["metrics"]
        self.seconds: float = found["seconds"]
        self.figures = {stem: Figure(svg) for stem, svg in found["figures"]}
        self._table: str = found["html"]
        self._temporary = temporary

    def __repr__(self) -> str:
        return f"<Outcome: {self.name}, {self.verdict}>"

    def _repr_html_(self) -> str:
        title = f"<p><b>{html.escape(self.title)}</b></p><p>{html.escape(self.summary)}</p>"
        return title + self._table + "".join(figure.svg for figure in self.figures.values())


def experiments() -> list[dict[str, Any]]:
    """The paper's experiments: name, title, and their scales with the time that each takes on two cores.

    >>> "smoothed-loss" in [known["name"] for known in experiments()]
    True
    """
    known: list[dict[str, Any]] = json.loads(_jostle.experiments())
    return known


def experiment(
    name: str,
    *,
    scale: str | None = None,
    data: str | None = None,
    settings: Mapping[str, Any] | None = None,
    problem: str | os.PathLike[str] | None = None,
    run: Run | str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    adapter: str | int | None = None,
) -> Outcome:
    """Runs one of the paper's experiments, as `jostle experiment` does, and checks its claims against measurements.

    `settings` are others than the declared ones, such as `{"arms.steps": 1000}`; `run` is a network of yours for
    `smoothed-loss`, `problem` a file of yours for the convex ones. Ctrl-C ends it without
    a report.
    """
    overrides = [f"train.data={json.dumps(data)}"] if data is not None else []
    overrides += [f"{key}={json.dumps(value)}" for key, value in (settings or {}).items()]
    place = run.folder if isinstance(run, Run) else run
    chosen = {"scale": scale, "data": data, "settings": settings, "problem": problem, "run": place}
    told = "".join(f", {key}={value if key == 'settings' else str(value)!r}" for key, value in chosen.items() if value)
    folder, temporary = free_folder(out, "verdict.json", overwrite)
    subjects = {
        "scale": scale,
        "settings": overrides,
        "problem": None if problem is None else os.fspath(problem),
        "run": None if place is None else os.fspath(place),
        "adapter": None if adapter is None else str(adapter),
        "command": f"jostle.experiment({name!r}{told})",
    }
    return Outcome(json.loads(_jostle.experiment(name, subjects, str(folder))), folder, temporary)
