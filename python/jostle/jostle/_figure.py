"""Figures and columns: what the engine's records look like in Python."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _jostle
from ._errors import wrong

Columns = dict[str, npt.NDArray[Any]]


class Figure:
    """A figure of the report, as SVG: a notebook shows it, `save` writes it.

    >>> Figure("<svg/>")._repr_svg_()
    '<svg/>'
    """

    def __init__(self, svg: str) -> None:
        self.svg = svg

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<Figure: {len(self.svg)} bytes of SVG>"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the SVG to a file."""
        Path(path).write_text(self.svg, encoding="utf-8")


def figure(
    panels: Mapping[str, Mapping[str, tuple[Any, Any]]], *, title: str = "", x_label: str = "", log: Iterable[str] = ()
) -> Figure:
    """Lines of one's own in the report's style: for each panel's title its lines, `(x, y)` by label.

    Panels in `log` are logarithmic. A line breaks where it is not finite.

    >>> figure({"Loss": {"none": ([1, 2, 3], [0.5, 0.4, 0.3])}}, x_label="epoch", log=["Loss"]).svg[:4]
    '<svg'
    """
    logarithmic = set(log)

    def line(label: str, x: Any, y: Any) -> tuple[str, list[float], list[float]]:
        xs, ys = (np.asarray(values, dtype=np.float64).tolist() for values in (x, y))
        if np.shape(x) != np.shape(y) or np.ndim(x) != 1:
            raise wrong(label, "x and y of one length", f"shapes {np.shape(x)} and {np.shape(y)}")
        return label, xs, ys

    drawn = [
        {
            "title": name,
            "x_label": x_label,
            "y_label": "",
            "log": name in logarithmic,
            "lines": [line(label, x, y) for label, (x, y) in lines.items()],
        }
        for name, lines in panels.items()
    ]
    return Figure(_jostle.draw(title, drawn))


def flattened(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record whose inner records' keys are put behind their own.

    >>> flattened({"step": 3, "noisy": {"test_loss": 0.5}})
    {'step': 3, 'noisy_test_loss': 0.5}
    """
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            flat.update({f"{key}_{inner}": item for inner, item in value.items()})
        else:
            flat[key] = value
    return flat


def columns(records: Iterable[Mapping[str, Any]]) -> Columns:
    """Records as columns; where a record has nothing, or a number that JSON has no word for, it is NaN.

    >>> columns([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": None}])
    {'epoch': array([1, 2]), 'loss': array([0.5, nan])}
    """
    rows = [flattened(record) for record in records]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: column([row.get(name) for row in rows]) for name in names}


def column(values: list[Any]) -> npt.NDArray[Any]:
    """Whole numbers as int64, others as float64, texts as they are."""
    if any(isinstance(value, str) for value in values):
        return np.array(values, dtype=object)
    if all(isinstance(value, int) for value in values):
        return np.array(values, dtype=np.int64)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def html_table(cells: Mapping[str, Any]) -> str:
    """One row with its headers; numbers short."""
    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in cells)
    body = "".join(f"<td>{short(value)}</td>" for value in cells.values())
    return f"<table><thead><tr>{head}</tr></thead><tbody><tr>{body}</tr></tbody></table>"


def short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
