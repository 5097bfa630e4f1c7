"""What can go wrong, each with the sentence that the program says."""

from __future__ import annotations

from typing import Any


class JostleError(Exception):
    """Any error of the engine."""


class ConfigError(JostleError, ValueError):
    """A key, a value or an argument that makes no sense; the sentence names it."""


class AdapterError(JostleError, RuntimeError):
    """No adapter that could be used; the sentence says which package brings one."""


class DataError(JostleError, ValueError):
    """Data that are not what was expected. `expected` and `found` say it apart, where both are known."""

    def __init__(self, sentence: str, expected: str | None = None, found: str | None = None) -> None:
        super().__init__(sentence)
        self.expected = expected
        self.found = found


def wrong(name: str, expected: str, found: str) -> DataError:
    """What is said of data."""
    return DataError(f"{name}: expected {expected}, found {found}", expected, found)


class DivergedError(JostleError, ArithmeticError):
    """Training met a loss, weights or gradients that are not finite; `run` has what was reached."""

    def __init__(self, sentence: str, run: Any = None) -> None:
        super().__init__(sentence)
        self.run = run


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, after everything was brought to a clean end; `reached` is the `Run` or `Comparison` so far."""

    def __init__(self, sentence: str, reached: Any = None) -> None:
        super().__init__(sentence)
        self.reached = reached
