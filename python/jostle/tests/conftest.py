"""What the tests share: the program, small configurations."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SMALL: dict[str, Any] = {"model": "mlp:64-16-10", "subset": 200, "batch": 32, "epochs": 2, "lr": 0.1, "log-every": 1}
"""A configuration that takes no time."""

Program = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def small() -> dict[str, Any]:
    return dict(SMALL)


@pytest.fixture(scope="session")
def program() -> Program:
    """Runs the binary that JOSTLE_BIN names, else the program of the wheel."""
    beside = Path(sys.executable).parent / "jostle"
    binary = os.environ.get("JOSTLE_BIN") or (str(beside) if beside.exists() else shutil.which("jostle"))
    assert binary, "there is no program beside the package"

    def run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run([binary, *words], capture_output=True, text=True, check=False, **options)

    return run
