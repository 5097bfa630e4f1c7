"""A run: what training leaves."""

from __future__ import annotations

import html
import json
import os
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _jostle
from ._errors import JostleError
from ._figure import Columns, Figure, columns, html_table, read_lines

METRICS = "metrics.jsonl"


def read_weights(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """The tensors of a safetensors file, which keeps no order, by name."""
    return dict(sorted(_jostle.weights(str(path)).items()))


class Run:
    """A run in its folder, of `jostle.train` or of the program.

    `metrics` are columns, a row an evaluation, `steps` those of the logged steps; `pandas.DataFrame` takes both.
    `weights` are arrays under PyTorch's names and in its layouts; `state_dict()` has them as tensors.
    """

    folder: Path
    """Where its files are. Without `out` it is a temporary one, which goes when the run does."""
    status: str
    """finished, interrupted, or diverged; "saved" for a run that was read from its folder."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        said: dict[str, Any] | None = None,
        data: Any = None,
        temporary: TemporaryDirectory[str] | None = None,
    ) -> None:
        self.folder = Path(folder)
        said = said or {}
        self.status = said.get("status", "saved")
        self.sentence: str = said.get("sentence", "saved")
        self.adapter: str | None = said.get("adapter")
        self.training_data: str | None = said.get("training_data")
        self.label_noise: dict[str, int] | None = said.get("label_noise")
        self.best: dict[str, Any] | None = said.get("best")
        self.stopped_early: bool = said.get("stopped_early", False)
        self.hessian_trace: dict[str, Any] | None = said.get("hessian_trace")
        self.data = data
        self._temporary = temporary
        if not (self.folder / METRICS).is_file():
            raise JostleError(f"{self.folder}: expected a run's folder with {METRICS}, found none")

    @classmethod
    def load(cls, folder: str | os.PathLike[str], data: Any = None) -> Run:
        """The run in a folder that `jostle train --out` or `jostle.train(out=...)` wrote, with its own data, if any."""
        return cls(folder, data=data)

    @cached_property
    def config(self) -> dict[str, Any]:
        """What was run, with every key."""
        config: dict[str, Any] = json.loads(_jostle.read_config(str(self.folder / "config.toml")))
        return config

    @cached_property
    def _records(self) -> list[dict[str, Any]]:
        return read_lines(self.folder / METRICS)

    def _kind(self, kind: str) -> Columns:
        records = (record for record in self._records if record["kind"] == kind)
        return columns({key: value for key, value in record.items() if key != "kind"} for record in records)

    @cached_property
    def metrics(self) -> Columns:
        """Columns of the evaluations: epoch, step, losses and accuracies at the clean weights, norms, speed."""
        return self._kind("epoch")

    @cached_property
    def steps(self) -> Columns:
        """Columns of the logged steps: step, epoch, lr, sigma, group, loss of the batch at the noisy weights."""
        return self._kind("step")

    @cached_property
    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """The trained weights, and running statistics of batch norms, by PyTorch's names."""
        return read_weights(self.folder / "weights.safetensors")

    @cached_property
    def average_weights(self) -> dict[str, npt.NDArray[np.float32]] | None:
        """Their moving average, with key `ema`."""
        path = self.folder / "weights-average.safetensors"
        return read_weights(path) if path.is_file() else None

    def state_dict(self) -> dict[str, Any]:
        """The weights as PyTorch's tensors, which `load_state_dict` takes. Needs PyTorch."""
        import torch  # type: ignore[import-not-found, unused-ignore]

        return {name: torch.from_numpy(values.copy()) for name, values in self.weights.items()}

    @property
    def title(self) -> str:
        """Model, data and noise in a line."""
        return f"{self.config['model']} on {self.config['data']}, noise {self.config['noise']}"

    def plot(self) -> Figure:
        """Losses, accuracies and the norm of the weights over the run, as in its folder."""
        return Figure(_jostle.run_svg(str(self.folder / METRICS), self.title))

    def __repr__(self) -> str:
        scored = ("train_loss", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy")
        last = {name: self.metrics[name][-1] for name in scored if name in self.metrics}
        scores = ", ".join(f"{name} {value:.4f}" for name, value in last.items())
        return f"<Run: {self.title}, {self.sentence}: {scores or 'no step was taken'}>"

    def _repr_html_(self) -> str:
        last = {name: values[-1] for name, values in self.metrics.items() if len(values)}
        last = {name: float(value) if isinstance(value, np.floating) else value for name, value in last.items()}
        heading = f"<p><b>{html.escape(self.title)}</b>: {html.escape(self.sentence)}</p>"
        return heading + html_table(last) + self.plot().svg
