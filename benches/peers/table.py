"""What was measured, its medians and ratios, and how they are written down. Nothing here runs a program."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Variant:
    """One way to do the work; `options` are those of its program that make it so."""

    program: str
    mode: str
    precision: str
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([self.program, *([self.mode] if self.program == "torch" else []), self.precision])


@dataclass(frozen=True)
class Work:
    """A training step of a model, or a square product where there is a side."""

    model: str
    batch: int
    noise: str
    side: int = 0

    def __str__(self) -> str:
        return f"{self.side}^3 product" if self.side else f"{self.model}, batch {self.batch}, noise {self.noise}"


@dataclass(frozen=True)
class Turn:
    """One run of one program: the median of its steps and the fastest of them.

    The noise's cost is in per cent of a step, where the program pairs steps with and without it.
    """

    ms: float
    least_ms: float = math.nan
    first_step_ms: float | None = None
    gflops: float | None = None
    noise_cost: float | None = None
    noise_cost_error: float | None = None
    parameters: int | None = None


@dataclass
class Row:
    """A variant's turns at some work, by round: a round lacks the turns that were left out."""

    work: Work
    variant: Variant
    turns: dict[int, Turn] = field(default_factory=dict)
    pilot: Turn | None = None

    def times(self) -> list[float]:
        return [turn.ms for turn in self.turns.values()]


@dataclass(frozen=True)
class Spread:
    """Of a value over the rounds."""

    median: float
    least: float
    most: float
    rounds: int


def spread(values: Iterable[float]) -> Spread | None:
    """Nothing where there are no values."""
    values = list(values)
    return Spread(statistics.median(values), min(values), max(values), len(values)) if values else None


def ratios(row: Row, base: Row) -> Spread | None:
    """How many times as long as the base a row takes, over the rounds that have both."""
    shared = [number for number in row.turns if number in base.turns]
    return spread(row.turns[number].ms / base.turns[number].ms for number in shared)


@dataclass(frozen=True)
class Cost:
    """Of noise, in per cent of the step without, with the mean's standard error where it can be told."""

    percent: float
    error: float | None
    paired: bool  # within a process, rather than between two


def mean_error(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def noise_cost(noisy: Row, clean: Row | None) -> Cost | None:
    """A program's own pairs of steps where it reports them, else its rounds with noise over those without.

    The error is the larger of what the turns say of themselves and what their scatter says.
    """
    own = [turn for turn in noisy.turns.values() if turn.noise_cost is not None]
    if own:
        costs = [turn.noise_cost for turn in own if turn.noise_cost is not None]
        # A single pair has no scatter and so reports an error of 0, which is none at all.
        errors = [turn.noise_cost_error for turn in own if turn.noise_cost_error]
        within = math.hypot(*errors) / len(errors) if len(errors) == len(own) else None
        found = [error for error in (within, mean_error(costs)) if error is not None]
        return Cost(statistics.mean(costs), max(found, default=None), paired=True)
    if clean is None:
        return None
    shared = [number for number in noisy.turns if number in clean.turns]
    costs = [100.0 * (noisy.turns[number].ms / clean.turns[number].ms - 1.0) for number in shared]
    return Cost(statistics.mean(costs), mean_error(costs), paired=False) if costs else None


def find(rows: Iterable[Row], work: Work, program: str, precision: str) -> Row | None:
    """The first row of that work, program and precision."""
    matches = (row for row in rows if row.work == work and row.variant.program == program)
    return next((row for row in matches if row.variant.precision == precision), None)


def significant(value: float, digits: int = 4) -> str:
    """Without exponents: 0.1234, 12.34, 1234, 12345."""
    if value == 0.0 or not math.isfinite(value):
        return f"{value:.0f}"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


NAMES = ["work", "program", "mode", "precision"]  # the first columns of every table


def names(row: Row) -> list[str]:
    return [str(row.work), row.variant.program, row.variant.mode, row.variant.precision]


def head(columns: Sequence[str]) -> str:
    """The head of a table in which numbers follow the names."""
    return f"{line(columns)}\n{line(['---'] * len(NAMES) + ['---:'] * (len(columns) - len(NAMES)))}"


class Table:
    """Rows as Markdown and as JSON, each with its ratios to Jostle's rows of the same work.

    `bases` are the precisions of Jostle that were run: a column of ratios each.
    """

    def __init__(self, bases: Sequence[str]) -> None:
        self.bases = list(bases)
        self.rows: list[Row] = []

    def head(self) -> str:
        columns = [*NAMES, "ms", "spread over rounds", "GFLOP/s"]
        return head([*columns, *(f"/ jostle {base}" for base in self.bases)])

    def ratio(self, row: Row, base: str) -> Spread | None:
        own = find(self.rows, row.work, "jostle", base)
        return ratios(row, own) if own else None

    def markdown(self, row: Row) -> str:
        """The row's line; an empty one has no times."""
        cells, times = names(row), spread(row.times())
        if times is None:
            return line([*cells, *[""] * (3 + len(self.bases))])
        flops = spread(turn.gflops for turn in row.turns.values() if turn.gflops is not None)
        several = times.rounds > 1
        cells.append(significant(times.median))
        cells.append(f"{significant(times.least)} to {significant(times.most)}" if several else "one round")
        cells.append(significant(flops.median) if flops else "")
        for base in self.bases:
            found = self.ratio(row, base)
            cells.append(f"{found.median:.2f}" if found else "")
        return line(cells)

    def cost(self, row: Row) -> Cost | None:
        """Of noise; nothing for rows without."""
        if row.work.noise == "none" or row.work.side:
            return None
        clean = Work(row.work.model, row.work.batch, "none")
        return noise_cost(row, next((r for r in self.rows if r.work == clean and r.variant == row.variant), None))

    def costs(self) -> str:
        """A table of what noise costs."""
        lines = [head([*NAMES, "noise costs, %", "standard error", "measured"])]
        for row in self.rows:
            if (cost := self.cost(row)) is not None:
                error = f"{cost.error:.2f}" if cost.error is not None else ""
                how = "pairs in a process" if cost.paired else "between rounds"
                lines.append(line([*names(row), f"{cost.percent:+.2f}", error, how]))
        return "\n".join(lines)

    def first_steps(self) -> str:
        """A table of first steps, for rows that have a pilot: it alone may find the caches on disk empty."""
        lines = [head([*NAMES, "first step of all, ms", "of later processes, ms"])]
        for row in self.rows:
            if row.pilot and row.pilot.first_step_ms is not None:
                later = spread(turn.first_step_ms for turn in row.turns.values() if turn.first_step_ms is not None)
                times = [significant(row.pilot.first_step_ms), significant(later.median) if later else ""]
                lines.append(line([*names(row), *times]))
        return "\n".join(lines)

    def record(self, row: Row) -> dict[str, object]:
        """A row as JSON."""
        work, variant, times, cost = row.work, row.variant, spread(row.times()), self.cost(row)
        step = {"model": work.model, "batch": work.batch, "noise": work.noise}
        subject = {"matmul": work.side} if work.side else step
        against = {f"jostle {base}": vars(found) for base in self.bases if (found := self.ratio(row, base))}
        return subject | {
            "program": variant.program,
            "mode": variant.mode,
            "precision": variant.precision,
            "ms": vars(times) if times else None,
            "turns": {str(number): vars(turn) for number, turn in row.turns.items()},
            "pilot": vars(row.pilot) if row.pilot else None,
            "ratios": against,
            "noise_cost": vars(cost) if cost else None,
        }
