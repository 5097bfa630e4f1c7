#!/usr/bin/env python3
"""Times jostle and its peers in one run, taking turns, and prints Markdown tables with the ratios of their times.

What is missing is named and left out; nothing is installed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from programs import HERE, ROOT, Amount, Failure, Programs, say
from table import Row, Table, Turn, Variant, Work

EXE = ".exe" if os.name == "nt" else ""
TENSORS = {
    **{"mlp1": 8, "mlp2": 8, "mlp3": 12},
    **{"cnn1": 10, "cnn2": 10, "resnet18": 62, "resnet20": 65, "vgg11-bn": 38},
    "resnet18-plain": 42,
    **{"gpt-mini": 52, "gpt-shakespeare": 76, "vit-tiny": 152},
}
BATCHES = {"resnet18": 32, "resnet18-plain": 32, "gpt-mini": 12, "gpt-shakespeare": 8, "vit-tiny": 8}  # 128 for all others
NOISES = ["none", "all", "layer"]
PEERS = ["burn", "meganeura", "torch"]
PRECISIONS = ["f32", "tf32", "mixed"]
LEAST_STEPS = 2  # of a turn, timed, and before
PILOT = Amount(steps=3, block=1, warmup=LEAST_STEPS)
LONG_CYCLE = 3.0  # times --seconds: a longer cycle over a model's tensors is timed once only
FULL = {"models": ["mlp1", "mlp2", "cnn2", "resnet18", "resnet18-plain"], "noise": NOISES, "matmul": [1024], "rounds": 3}
FULL |= {"seconds": 10.0, "steps": 100, "warmup": 10}
QUICK = {"models": ["mlp1"], "noise": ["none", "layer"], "matmul": [], "rounds": 2}
QUICK |= {"seconds": 1.0, "steps": 16, "warmup": 4}


def built(crate: Path, name: str) -> Path:
    """Where cargo puts the program of a crate."""
    return crate / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / (name + EXE)


def parser() -> argparse.ArgumentParser:
    of = argparse.ArgumentParser(description=__doc__)
    of.add_argument("--quick", action="store_true", help="mlp1 alone, in few steps; other options still count")
    of.add_argument("--models", nargs="*", help=f"{', '.join(TENSORS)}, mlp:784-500-10 [{' '.join(FULL['models'])}]")
    of.add_argument("--noise", nargs="+", choices=NOISES, help="[all three]")
    of.add_argument("--matmul", nargs="*", type=int, metavar="SIDE", help="square products [1024]")
    of.add_argument("--batch", type=int, help="of all models [128; 32 for resnet18]")
    of.add_argument("--rounds", type=int, help="turns of each program [3]")
    of.add_argument("--steps", type=int, help="timed steps a turn, at the most [100]")
    of.add_argument("--seconds", type=float, help="that the timed steps of a turn may take, about [10]")
    of.add_argument("--warmup", type=int, help="a peer's steps before, at the most [10]")
    of.add_argument("--sync-every", type=int, default=1, help="steps from one synchronisation to the next [1]")
    of.add_argument("--timeout", type=float, default=3600.0, metavar="SECONDS", help="for one turn [3600]")
    of.add_argument("--noise-cost", action="store_true", help="a table of what noise costs each program")
    of.add_argument("--json", type=Path, metavar="FILE", help="write everything there too, after each model")
    of.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS)
    of.add_argument(
        "--precisions", nargs="*", default=PRECISIONS, choices=PRECISIONS,
        help="tf32: PyTorch on CUDA; mixed: jostle's f16, PyTorch's autocast [all]",
    )
    of.add_argument(
        "--torch-modes", nargs="*", default=["eager", "compile"], metavar="MODE",
        help="eager, compile, compile:reduce-overhead, compile:max-autotune [eager compile]",
    )
    of.add_argument("--channels-last", action="store_true", help="PyTorch's image networks in that format too")
    of.add_argument("--jostle", type=Path, default=built(ROOT, "jostle"))
    of.add_argument("--burn", type=Path, default=built(HERE / "burn", "jostle-peer-burn"))
    of.add_argument("--meganeura", type=Path, default=built(HERE / "meganeura", "jostle-peer-meganeura"))
    of.add_argument("--python", default=sys.executable, help="a Python that has PyTorch [this one]")
    of.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="of PyTorch [auto]")
    of.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of PyTorch on the CPU [all cores]")
    return of


def arguments() -> argparse.Namespace:
    options = parser()
    args = options.parse_args()
    for name, value in (QUICK if args.quick else FULL).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    for name in ["batch", "rounds", "steps", "warmup", "sync_every", "threads"]:
        if getattr(args, name) is not None and getattr(args, name) < 1:
            options.error(f"--{name.replace('_', '-')} has to be at least 1")
    for mode in args.torch_modes:
        if mode != "eager" and mode.partition(":")[0] != "compile":
            options.error(f"--torch-modes has eager, compile and compile:MODE, not {mode}")
    return args


def works(args: argparse.Namespace) -> Iterator[list[Work]]:
    """What is to be timed: of a model its noises together, so that their rounds are near each other."""
    for model in args.models:
        batch = args.batch or BATCHES.get(model, 128)
        yield [Work(model, batch, noise) for noise in args.noise]
    for side in args.matmul:
        yield [Work("", 0, "none", side)]


def amount_of(args: argparse.Namespace, work: Work, ms: float) -> tuple[Amount, int]:
    """How much of a program whose step takes so long makes a turn, and the number of its turns."""
    limit = max(LEAST_STEPS, min(args.steps, int(1e3 * args.seconds / ms)))
    warmup = max(LEAST_STEPS, min(args.warmup, limit))
    block, turns = 1 if work.side else min(args.sync_every, limit), args.rounds
    if work.noise == "layer":
        # Jostle rounds a block of steps up so that mode `layer` meets every tensor equally often: so do the peers.
        tensors = TENSORS.get(work.model, 2 * work.model.count("-"))
        block = -(-args.sync_every // tensors) * tensors
        if block > limit:
            block = tensors
        if block * ms > LONG_CYCLE * 1e3 * args.seconds:
            turns = 0 if args.quick else 1
    return Amount(max(limit // block, 1) * block, block, warmup), turns


def pilots(programs: Programs, work: Work) -> dict[Variant, Turn]:
    """A first short turn of each program: it fills caches on disk and tells how long a step takes."""
    found = {}
    for variant in programs.variants:
        if programs.supports(variant, work):
            try:
                found[variant] = programs.turn(variant, work, PILOT)
                say(f"{variant}, {work}: {found[variant].ms:.2f} ms in a first short turn")
            except Failure as failure:
                programs.lacks(f"{variant}, {work}: left out, {failure}")
    return found


def check_parameters(programs: Programs, model: str, found: dict[Variant, Turn]) -> None:
    """Ends the run if the programs' networks differ in size."""
    counts = {str(variant): turn.parameters for variant, turn in found.items() if turn.parameters is not None}
    if any(variant.program == "jostle" for variant in found):
        try:
            counts["jostle"] = programs.planned_parameters(model)
        except Failure as failure:
            programs.lacks(f"jostle's parameters of {model}: {failure}")
    if len(set(counts.values())) > 1:
        sys.exit(f"run.py: not the same {model}, these are the parameters: {counts}")


def rows_of(args: argparse.Namespace, programs: Programs, group: list[Work]) -> list[Row]:
    """Times the works of a group, all programs taking turns, round by round."""
    clean = replace(group[0], noise="none")
    found = pilots(programs, clean)
    if not found:
        programs.lacks(f"{clean}: no program for it in these modes and precisions")
    if not clean.side:
        check_parameters(programs, clean.model, found)
    rows = [
        Row(work, variant, pilot=pilot if work is group[0] else None)
        for work in group
        for variant, pilot in found.items()
        if programs.supports(variant, work)
    ]
    failed: list[Row] = []
    for number in range(args.rounds):
        for row in rows:
            # The fastest seen so far: a pilot may have met a busy machine, or a program that was still tuning.
            fastest = min(turn.least_ms for turn in [found[row.variant], *row.turns.values()])
            amount, turns = amount_of(args, row.work, fastest)
            if number == turns:
                cycle = f"a cycle over its tensors is {amount.block} steps"
                programs.lacks(f"{row.variant}, {row.work}: {turns or 'no'} turn of {args.rounds}, {cycle}")
            if number >= turns or row in failed:
                continue
            try:
                row.turns[number] = programs.turn(row.variant, row.work, amount)
                took = f"{row.turns[number].ms:.2f} ms, {amount.steps} steps"
                say(f"round {number + 1}, {row.variant}, {row.work}: {took}")
            except Failure as failure:
                programs.lacks(f"{row.variant}, {row.work}: left out in round {number + 1}, {failure}")
                failed.append(row)
    return [row for row in rows if row.turns]


def write_json(args: argparse.Namespace, programs: Programs, table: Table, started: str) -> None:
    """Everything so far; does nothing unless asked."""
    if args.json is None:
        return
    settings = {name: value for name, value in vars(args).items() if not isinstance(value, Path)}
    content = {
        "started": started,
        "host": {"system": platform.platform(), "machine": platform.machine(), "cores": os.cpu_count()},
        "settings": settings | {"device": programs.device},
        "programs": programs.used(),
        "missing": programs.missing,
        "rows": [table.record(row) for row in table.rows],
    }
    args.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def print_rest(args: argparse.Namespace, programs: Programs, table: Table) -> None:
    """All that follows the table of times."""
    rounds = "One round" if args.rounds == 1 else f"Medians of {args.rounds} rounds"
    print(f"\n{rounds}, the programs taking turns. Ratios are of times: above 1 jostle is faster.")
    if args.noise_cost:
        print(f"\n{table.costs()}")
    if any(row.pilot and row.pilot.first_step_ms is not None for row in table.rows):
        print(f"\n{table.first_steps()}")
    print()
    for entry in programs.used():
        print(f"- {entry['program']} {entry['version']}".rstrip() + f": {entry['adapter']}")
    if programs.missing:
        print("\nMissing or left out:\n")
    for text in programs.missing:
        print(f"- {text}")


def main() -> None:
    args = arguments()
    started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    programs = Programs(args)
    if not programs.variants:
        sys.exit("run.py: nothing to run")
    table = Table([variant.precision for variant in programs.variants if variant.program == "jostle"])
    print(table.head(), flush=True)
    status = 0
    try:
        for group in works(args):
            rows = rows_of(args, programs, group)
            table.rows += rows
            for row in rows:
                print(table.markdown(row), flush=True)
            write_json(args, programs, table, started)
    except KeyboardInterrupt:
        say("stopped: what follows lacks the model at hand and all after it")
        status = 130
    print_rest(args, programs, table)
    sys.exit(status)


if __name__ == "__main__":
    main()
