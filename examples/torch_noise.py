#!/usr/bin/env python3
"""Weight noise in a plain PyTorch loop, by three lines, and what it is worth where a network memorises.

    pip install ./python/jostle_torch
    python examples/torch_noise.py

`make demo` in PyTorch: 600 of the bundled digits, 30 % of their labels drawn at random, and a network that fits them
all. Images, labels and initial weights are PyTorch's draws, so the figures are another sample than the demo's.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import itertools
import pathlib
import platform
import statistics
import sys
import time

try:
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    from jostle_torch import perturbed  # 1
except ImportError as missing:
    sys.exit(f"torch_noise.py: {missing}: pip install ./python/jostle_torch")

DIGITS = pathlib.Path(__file__).resolve().parent.parent / "assets" / "digits" / "digits.csv.gz"
TEST_PER_CLASS, SAMPLES, LABEL_NOISE = 50, 600, 0.3
WIDTHS = (64, 128, 128, 128, 10)
SIGMA, EPOCHS, NOISE_OFF, BATCH = 0.2, 80, 72, 64


def digits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs in [0, 1] and labels, for training and for testing: the last 50 of each class in the order of the file."""
    with gzip.open(DIGITS, "rt", newline="") as file:
        rows = torch.tensor([[int(value) for value in row] for row in csv.reader(file)])
    inputs, labels = rows[:, :64] / 16, rows[:, 64]
    is_test = torch.zeros(len(rows), dtype=torch.bool)
    for digit in range(10):
        is_test[(labels == digit).nonzero()[-TEST_PER_CLASS:]] = True
    return inputs[~is_test], labels[~is_test], inputs[is_test], labels[is_test]


def training_part(
    inputs: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Some of the samples, a share of whose labels is drawn anew from all classes."""
    chosen = torch.randperm(len(inputs), generator=generator)[:SAMPLES]
    inputs, labels = inputs[chosen], labels[chosen]
    replaced = torch.randperm(SAMPLES, generator=generator)[: round(LABEL_NOISE * SAMPLES)]
    labels[replaced] = torch.randint(10, (len(replaced),), generator=generator)
    return inputs, labels


def network() -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(WIDTHS):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def train(mode: str, seed: int, inputs: torch.Tensor, labels: torch.Tensor) -> nn.Sequential:
    torch.manual_seed(seed)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    step = 0
    for epoch in range(EPOCHS):
        sigma = SIGMA if epoch < NOISE_OFF else 0.0
        for batch in torch.randperm(len(inputs)).split(BATCH):
            optimizer.zero_grad()
            with perturbed(model, sigma, mode, seed=seed, step=step):  # 2
                cross_entropy(model(inputs[batch]), labels[batch]).backward()
            optimizer.step()
            step += 1  # 3
        schedule.step()
    return model


def scores(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Accuracy in per cent, and the mean loss, at the clean weights."""
    with torch.no_grad():
        logits = model(inputs)
    accuracy = (logits.argmax(dim=1) == labels).double().mean().item()
    return 100 * accuracy, cross_entropy(logits, labels).item()


def spread(values: tuple[float, ...], digits: int) -> str:
    """Mean ± sample standard deviation, which one value has not."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modes", default="none,layer", help="noise modes, a list of none, all, layer, model")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each mode")
    args = parser.parse_args()
    if args.seeds < 1:
        parser.error("--seeds has to be at least 1")
    torch.set_num_threads(1)  # matrices this small gain nothing from a second
    train_inputs, train_labels, test_inputs, test_labels = digits()
    inputs, labels = training_part(train_inputs, train_labels, torch.Generator().manual_seed(0))

    started = time.perf_counter()
    print("| noise | test accuracy % | test loss |")
    print("|---|---:|---:|")
    for mode in args.modes.split(","):
        runs = [scores(train(mode, seed, inputs, labels), test_inputs, test_labels) for seed in range(args.seeds)]
        accuracies, losses = zip(*runs, strict=True)
        print(f"| {mode} | {spread(accuracies, 2)} | {spread(losses, 4)} |", flush=True)
    seconds = time.perf_counter() - started
    count = f"mean ± sd over {args.seeds} seeds" if args.seeds > 1 else "one seed"
    print(f"\n{count}; PyTorch {torch.__version__}, {processor()}, one thread; {seconds:.0f} s")


if __name__ == "__main__":
    main()
