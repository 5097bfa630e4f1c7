#!/usr/bin/env python3
"""Quality of predictions by PyTorch and torchmetrics, for tests/suite/train/quality.rs to hold Jostle against.

Each case is logits in float32 with labels, and what they score: negative log likelihood by torch.nn.functional.cross_entropy
and Brier score, both in float64, expected calibration error and accuracy by torchmetrics of the softmax in float64. The edges
of the calibration error's bins are torch.linspace's. Writes assets/parity/quality.json.

    python scripts/make_quality_fixture.py      (needs torch and torchmetrics)
"""

import json
import math
import pathlib
import sys

try:
    import torch
    import torchmetrics
    from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError
except ImportError as missing:
    sys.exit(f"{missing}: pip install torch torchmetrics")

OUT = pathlib.Path(__file__).resolve().parent.parent / "assets" / "parity" / "quality.json"
BINS = 15
# A logit whose probability is too small for float32.
NEVER = -200.0


def drawn(generator, rows, classes, scale, right):
    """Random logits; a share of the labels is that of the largest, others are any."""
    logits = (scale * torch.randn(rows, classes, generator=generator)).mul(1e3).round().div(1e3)
    labels = torch.randint(classes, (rows,), generator=generator)
    chosen = torch.rand(rows, generator=generator) < right
    return logits, torch.where(chosen, logits.argmax(1), labels)


def at_edges():
    """Largest probabilities of 1/m, and of i/15 beside others, at or a rounding beside the edges of bins; also equal ones."""
    logits = [[0.0] * m + [NEVER] * (15 - m) for m in range(1, 16)]
    for i in range(1, 15):
        rest = (15 - i) / 7
        logits.append([math.log(i)] + [math.log(rest)] * 7 + [NEVER] * 7)
        logits.append([math.log(15 - i), math.log(i)] + [NEVER] * 13)
    logits = torch.tensor(logits)
    labels = torch.arange(len(logits)) % 3
    return logits, labels


def beside_bins():
    """A probability of 1 wrong beside one near 1 right; one just below 0.8, above the edge there if that were rounded twice."""
    just_below = math.log(4) - 3 * 2.0**-23
    logits = [[0.0, NEVER], [3.0, 0.0], [just_below, 0.0], [1.5, 0.0], [1.2, 0.0]]
    return torch.tensor(logits), torch.tensor([1, 0, 0, 1, 0])


def cases():
    """Name, logits and labels of each case."""
    generator = torch.Generator().manual_seed(22)
    yield "ordinary", *drawn(generator, 160, 10, 1.5, 0.6)
    yield "confident", *drawn(generator, 80, 10, 30.0, 0.8)
    yield "vague", *drawn(generator, 60, 4, 0.2, 0.2)
    yield "two-classes", *drawn(generator, 60, 2, 2.0, 0.5)
    yield "edges", *at_edges()
    yield "beside-bins", *beside_bins()
    logits, labels = drawn(generator, 40, 5, 1.0, 0.0)
    yield "one-label", logits, torch.full_like(labels, 3)
    yield "one-sample", *drawn(generator, 1, 3, 1.0, 1.0)


def scores(logits, labels):
    exact, classes = logits.double(), logits.shape[1]
    probabilities = exact.softmax(1)
    one_hot = torch.nn.functional.one_hot(labels, classes)
    return {
        "nll": float(torch.nn.functional.cross_entropy(exact, labels)),
        "brier": float((probabilities - one_hot).square().sum(1).mean()),
        "ece": float(MulticlassCalibrationError(classes, n_bins=BINS, norm="l1")(probabilities, labels)),
        "accuracy": float(MulticlassAccuracy(classes, average="micro")(probabilities, labels)),
    }


def main():
    written = [
        {"name": name, **scores(logits, labels), "labels": labels.tolist(), "logits": logits.tolist()}
        for name, logits, labels in cases()
    ]
    for case in written:
        case["logits"] = [[float(f"{value:.9g}") for value in row] for row in case["logits"]]
    versions = {"torch": torch.__version__.split("+")[0], "torchmetrics": torchmetrics.__version__}
    head = json.dumps({**versions, "edges": torch.linspace(0, 1, BINS + 1).tolist()})
    lines = ",\n".join(json.dumps(case) for case in written)
    OUT.write_text(f'{head[:-1]}, "cases": [\n{lines}\n]}}\n')
    print(f"wrote {OUT.name}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
