#!/usr/bin/env python3
"""Times jostle and its peers in one run, taking turns, and prints a Markdown table.

What is missing is named and left out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
EXE = ".exe" if os.name == "nt" else ""
TENSORS = {
    **{"mlp1": 8, "mlp2": 8, "mlp3": 12},
    **{"cnn1": 10, "cnn2": 10, "resnet18": 62, "resnet20": 65, "vgg11-bn": 38},
}
BATCHES = {"resnet18": 32}  # 128 for all others
PEERS = ["jostle", "burn", "torch"]


def built(crate, name):
    """Where cargo puts the program of a crate."""
    return crate / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / (name + EXE)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=["mlp1"], help=f"{', '.join(TENSORS)}, mlp:784-500-10 [mlp1]")
    parser.add_argument("--noise", nargs="*", default=["none", "all", "layer"], choices=["none", "all", "layer"])
    parser.add_argument("--matmul", nargs="*", type=int, default=[1024], metavar="SIDE", help="square products [1024]")
    parser.add_argument("--batch", type=int, help="of all models [128; 32 for resnet18]")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each program [3]")
    parser.add_argument("--steps", type=int, default=20, help="timed steps a turn, rounded down to whole blocks [20]")
    parser.add_argument("--warmup", type=int, default=10, help="steps of a peer before, the first timed by itself [10]")
    parser.add_argument("--sync-every", type=int, default=1, help="steps from one synchronisation to the next [1]")
    parser.add_argument("--peers", nargs="*", default=PEERS[1:], choices=PEERS[1:])
    parser.add_argument("--jostle", type=Path, default=built(ROOT, "jostle"))
    parser.add_argument("--burn", type=Path, default=built(HERE / "burn", "jostle-peer-burn"))
    parser.add_argument("--python", default=sys.executable, help="a Python that has PyTorch [this one]")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="of PyTorch [cpu]")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of PyTorch [all cores]")
    args = parser.parse_args()
    counts = ["batch", "rounds", "steps", "warmup", "sync_every", "threads"]
    for name in counts:
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} has to be at least 1")
    return args


def available(args):
    """The programs that can run, in their order."""
    found = []
    for name, path, remedy in [
        ("jostle", args.jostle, f"cargo build --release in {ROOT}"),
        ("burn", args.burn, f"cargo build --release in {HERE / 'burn'}"),
    ]:
        if name != "jostle" and name not in args.peers:
            continue
        if path.is_file():
            found.append(name)
        else:
            print(f"run.py: no {name} at {path}: {remedy}", file=sys.stderr)
    if "torch" in args.peers:
        try:
            subprocess.run([args.python, "-c", "import torch"], capture_output=True, check=True)
            found.append("torch")
        except (OSError, subprocess.CalledProcessError):
            print(f"run.py: no PyTorch in {args.python}: pip install torch, or --python", file=sys.stderr)
    return found


def batch_of(args, model):
    return args.batch or BATCHES.get(model, 128)


def block_of(args, model, noise):
    """Steps from one synchronisation to the next; nothing where --steps are too few for a block."""
    if noise != "layer":
        return args.sync_every
    # jostle rounds a block of steps up so that mode `layer` meets every tensor equally often: so do the peers.
    tensors = TENSORS.get(model, 2 * model.count("-"))
    block = -(-args.sync_every // tensors) * tensors
    if block > args.steps:
        print(f"run.py: {model}, noise layer: left out, it needs --steps {block} at least", file=sys.stderr)
        return None
    if args.steps // block == 1:
        print(f"run.py: {model}, noise layer: a turn is the mean over one block of {block} steps", file=sys.stderr)
    return block


def step_commands(args, model, noise, block):
    """What times a training step; Burn has no noise."""
    blocks = max(args.steps // block, 1)
    work = ["--model", model, "--batch", str(batch_of(args, model))]
    peer = [*work, "--steps", str(blocks * block), "--warmup", str(args.warmup), "--sync-every", str(block)]
    commands = {
        "jostle": ["bench", *work, "--noise", noise, "--timed-steps", str(blocks * block), "--rounds", str(blocks)],
        "torch": [*peer, "--noise", noise],
    }
    return commands | ({"burn": peer} if noise == "none" else {})


def matmul_commands(args, side):
    peer = ["--matmul", str(side), "--steps", str(args.steps), "--warmup", str(args.warmup)]
    return {"jostle": ["bench", "--matmul", str(side), "--rounds", str(args.steps)], "burn": peer, "torch": peer}


def measure(args, name, command):
    """Runs a program once; its JSON object, or nothing after saying why."""
    program = {
        "jostle": [args.jostle.resolve()],
        "burn": [args.burn.resolve()],
        "torch": [args.python, HERE / "torch_step.py", "--device", args.device, "--threads", str(args.threads)],
    }[name]
    tail = ["--json"] if name == "jostle" else []
    done = subprocess.run([*program, *command, *tail], check=False, capture_output=True, text=True)
    try:
        if done.returncode == 0:
            return json.loads(done.stdout)
    except json.JSONDecodeError:
        pass
    reason = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
    print(f"run.py: {name} failed with status {done.returncode}: {reason}", file=sys.stderr)
    return None


def take_turns(args, names, commands):
    """The results of each program, round by round; a program that fails is left out."""
    results = {name: [] for name in names if name in commands}
    for _ in range(args.rounds):
        for name in list(results):
            result = measure(args, name, commands[name])
            if result is None:
                del results[name]
                continue
            results[name].append(result)
            fastest = result.get("p10_ms", result.get("min_ms", milliseconds(result)))
            if milliseconds(result) > 1.5 * fastest:
                spread = f"{fastest:.2f} ms at best, {milliseconds(result):.2f} ms in the median"
                print(f"run.py: {name} is unsteady, {spread}: a busy machine?", file=sys.stderr)
    return results


def row(title, results, names, value, digits):
    """Medians, and medians of the rounds' ratios of times, peer over jostle."""
    cells = [title]
    for name in names:
        cells.append(f"{statistics.median(map(value, results[name])):.{digits}f}" if name in results else "")
    for name in names:
        if name == "jostle":
            continue
        if name in results and "jostle" in results:
            ratios = [milliseconds(peer) / milliseconds(own) for peer, own in zip(results[name], results["jostle"])]
            cells.append(f"{statistics.median(ratios):.2f}")
        else:
            cells.append("")
    print(f"| {' | '.join(cells)} |", flush=True)


def milliseconds(result):
    """Of a step or a product; jostle gives those of a product by layout, the plain one first."""
    return result["layouts"][0]["median_ms"] if "layouts" in result else result["median_ms"]


def check_parameters(args, model, results):
    """Ends the run if the programs' networks differ in size; jostle's plan counts its own."""
    plan = measure(args, "jostle", ["plan", "--model", model]) if "jostle" in results else None
    found = {name: rounds[0] for name, rounds in results.items() if rounds} | ({"jostle": plan} if plan else {})
    counts = {name: result["parameters"] for name, result in found.items() if "parameters" in result}
    if len(set(counts.values())) > 1:
        sys.exit(f"run.py: not the same {model}, these are the parameters: {counts}")


def first_steps(rows, names):
    """A table of first steps, the very first round apart: it alone may find the caches on disk empty."""
    print(f"\n| first step, ms: first round, later ones | {' | '.join(names)} |")
    print(f"| --- |{' ---: |' * len(names)}")
    for title, results in rows:
        cells = [title]
        for name in names:
            times = [result["first_step_ms"] for result in results.get(name, []) if "first_step_ms" in result]
            cold, warm = times[:1], times[1:]
            cells.append(", ".join(f"{time:.0f}" for time in [*cold, *([statistics.median(warm)] if warm else [])]))
        print(f"| {' | '.join(cells)} |")


def time_steps(args, names, seen):
    """A row for each model and noise, and the first steps of all; adds to what was seen of each program."""
    rows = []
    for model in args.models:
        for noise in args.noise:
            block = block_of(args, model, noise)
            if block is None:
                continue
            results = take_turns(args, names, step_commands(args, model, noise, block))
            check_parameters(args, model, results)
            title = f"{model}, batch {batch_of(args, model)}, noise {noise}"
            row(f"{title}, ms", results, names, milliseconds, 2)
            rows.append((title, results))
            seen |= {name: rounds[0] for name, rounds in results.items() if rounds}
    return rows


def main():
    args = arguments()
    names = available(args)
    if not names:
        sys.exit("run.py: nothing to run")
    ratios = [f"{name}/jostle" for name in names if name != "jostle"]
    print(f"| | {' | '.join([*names, *ratios])} |")
    print(f"| --- |{' ---: |' * len([*names, *ratios])}", flush=True)
    seen = {}
    rows = time_steps(args, names, seen)
    for side in args.matmul:
        results = take_turns(args, names, matmul_commands(args, side))
        row(f"{side}^3 product, GFLOP/s", results, names, lambda result: result["gflops"], 1)
        seen |= {name: rounds[0] for name, rounds in results.items() if rounds}
    if rows:
        first_steps(rows, names)
    print(f"\nMedians of {args.rounds} rounds, taken in turns. Ratios are of times: above 1 jostle is faster.\n")
    for name, result in seen.items():
        print(f"- {name} {result.get('version', '')}".rstrip() + f": {result['adapter']}")


if __name__ == "__main__":
    main()
