"""`train`."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from . import _jostle
from ._data import arrays
from ._errors import ConfigError, DivergedError, Interrupted, JostleError
from ._run import METRICS, Run
from ._settings import Config, settings

Record = dict[str, Any]
Callback = Callable[[Record], Any]

log = logging.getLogger("jostle")


def hearing(callback: Callback | None) -> Callable[[str], bool] | None:
    """A callback as the engine calls it: with a record's JSON, and `False` ends the run."""
    if callback is None:
        return None
    return lambda record: callback(json.loads(record)) is not False


def named(data: Any, keys: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Own data, and the keys; data that are named are a key."""
    if isinstance(data, (str, os.PathLike)):
        return None, {**keys, "data": os.fspath(data)}
    return data, dict(keys)


def free_folder(out: str | os.PathLike[str] | None, marker: str, overwrite: bool) -> tuple[Path, Any]:
    """The folder to write to, and what removes it where it is a temporary one."""
    if out is None:
        temporary = TemporaryDirectory(prefix="jostle-")
        return Path(temporary.name), temporary
    folder = Path(out)
    if not overwrite and (folder / marker).exists():
        raise JostleError(f"{folder} holds a run already: give another out, or overwrite=True")
    return folder, None


def train(
    config: Config = None,
    data: Any = None,
    callback: Callback | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    resume: str | os.PathLike[str] | None = None,
    force: bool = False,
    hessian: int = 0,
    checkpoint_every: int | str | None = None,
    keep_checkpoints: int | None = None,
    on_device_lost: str = "stop",
    adapter: str | int | None = None,
    **keys: Any,
) -> Run:
    """Trains a network, as `jostle train` does, and returns its run.

    `config` is a dictionary or a TOML file, with the keys of `jostle train --help`; further keywords are keys too, and
    override it. Dashes of keys may be underscores.

    `data` are a name (`"digits"`, as the key) or arrays: `(X, y)` or `(X, y, X_test, y_test)`. X is uint8 or float32,
    [N, features], [N, height, width] or [N, channels, height, width]; y holds integer classes [N] or float32 vectors
    [N, width]. Without a test part a tenth of the samples is one, by class.

    `callback` is called with the record of each evaluation, a dictionary; the run ends if it returns `False`, and with
    what it raises. Ctrl-C ends the run after the step and raises `Interrupted`, a KeyboardInterrupt whose `reached` is
    the run.

    `out` keeps the run in a folder, from which `resume` goes on bit for bit; `hessian` is the number of probes of the
    Hessian's trace at the end.

    >>> run = train(model="mlp:64-16-10", epochs=2, noise="layer", sigma=0.05, subset=200)
    >>> run.status, run.metrics["epoch"].tolist(), run.weights["fc1.weight"].shape
    ('finished', [1, 2], (16, 64))
    """
    if resume is not None and (config is not None or out is not None):
        raise ConfigError("resume: the run has a configuration and a folder, expected neither config nor out beside it")
    if on_device_lost not in ("stop", "retry"):
        raise ConfigError(f"on_device_lost: expected stop or retry, found {on_device_lost!r}")
    own, keys = named(data, keys)
    given = settings(config.config if isinstance(config, Run) else config, keys)
    prepared = arrays(own)
    folder, temporary = (Path(resume), None) if resume is not None else free_folder(out, METRICS, overwrite)
    ways = {
        "adapter": None if adapter is None else str(adapter),
        "resume": resume is not None,
        "force": force,
        "hessian": hessian,
        "checkpoint_every": None if checkpoint_every is None else str(checkpoint_every),
        "keep_checkpoints": keep_checkpoints,
        "retry": on_device_lost == "retry",
    }
    said, raised = _jostle.train(given, str(folder), prepared, hearing(callback), log.info, ways)
    run = Run(folder, said=json.loads(said), data=own, temporary=temporary)
    return ended(run, raised, json.loads(said)["resumes_after"])


def ended(run: Run, raised: BaseException | None, step: int | None) -> Run:
    """The run, or what ended it before its time."""
    if run._temporary is None and step is not None:
        kept = f"what was reached is saved, jostle.train(resume={str(run.folder)!r}) resumes after step {step}"
    else:
        kept = "what was reached is with this exception"
    if isinstance(raised, KeyboardInterrupt):
        raise Interrupted(f"{run.sentence}; {kept}", run) from None
    if raised is not None:
        raise raised
    if run.status == "diverged":
        raise DivergedError(f"{run.sentence}; {kept}", run)
    return run
