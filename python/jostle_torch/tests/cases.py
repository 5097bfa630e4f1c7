"""The cases in which the noise is held against the program `jostle`, and how that is asked; needs no PyTorch."""

from __future__ import annotations

import itertools
import json
import math
import pathlib
import struct
import subprocess
import tempfile
from typing import Any

CNN_FILE = pathlib.Path(__file__).with_name("cnn.toml")
# Name, and shape of each parameter in order.
MODELS: dict[str, dict[str, list[int]]] = {
    "mlp": {"fc1.weight": [3, 64], "fc1.bias": [3], "fc2.weight": [10, 3], "fc2.bias": [10]},
    "cnn": {
        "conv1.weight": [2, 1, 3, 3],
        "conv1.bias": [2],
        "bn1.weight": [2],
        "bn1.bias": [2],
        "conv2.weight": [4, 1, 3, 3],
        "ln1.weight": [4, 1, 1],
        "ln1.bias": [4, 1, 1],
        "fc1.weight": [10, 4],
        "fc1.bias": [10],
    },
}
STATISTICS = {"mlp": {}, "cnn": {"bn1.running_mean": [2], "bn1.running_var": [2]}}
SIGMA = 0.3
STEPS = (0, 12, 1_000_003, (1 << 32) + 5)
SEEDS = (7, 0x0123_4567_89AB_CDEF)

Case = dict[str, Any]
Tensors = dict[str, list[float]]


def committed() -> list[Case]:
    """Every choice at least twice: the cases whose values are committed."""
    choices = [
        ("none", "tensor", "gaussian", "absolute", "cyclic"),
        ("all", "tensor", "gaussian", "absolute", "cyclic"),
        ("all", "module", "rademacher", "filter", "cyclic"),
        ("all", "weights", "uniform", "filter", "cyclic"),
        ("model", "tensor", "uniform", "absolute", "cyclic"),
        ("model", "weights", "gaussian", "filter", "cyclic"),
        ("layer", "tensor", "gaussian", "absolute", "cyclic"),
        ("layer", "tensor", "gaussian", "absolute", "random"),
        ("layer", "module", "gaussian", "absolute", "cyclic"),
        ("layer", "module", "gaussian", "absolute", "random"),
        ("layer", "weights", "gaussian", "absolute", "cyclic"),
        ("layer", "weights", "gaussian", "absolute", "random"),
        ("layer", "tensor", "rademacher", "absolute", "random"),
        ("layer", "module", "uniform", "filter", "cyclic"),
        ("layer", "weights", "gaussian", "filter", "random"),
    ]
    return _cases(choices)


def every() -> list[Case]:
    """Every combination of choices; the order counts in mode layer alone."""
    modes = [("none", "cyclic"), ("all", "cyclic"), ("model", "cyclic"), ("layer", "cyclic"), ("layer", "random")]
    groups, distributions = ("tensor", "module", "weights"), ("gaussian", "rademacher", "uniform")
    choices = itertools.product(modes, groups, distributions, ("absolute", "filter"))
    return _cases([(mode, group, distribution, scale, order) for (mode, order), group, distribution, scale in choices])


def _cases(choices: list[tuple[str, str, str, str, str]]) -> list[Case]:
    cases = []
    for model in MODELS:
        for at, (mode, groups, distribution, scale, order) in enumerate(choices):
            step, seed = STEPS[(at + len(model)) % len(STEPS)], SEEDS[at % len(SEEDS)]
            case = {"model": model, "mode": mode, "groups": groups, "distribution": distribution, "scale": scale}
            cases.append({**case, "order": order, "seed": seed, "step": step, "sigma": SIGMA})
    return cases


def name(case: Case) -> str:
    return "-".join(str(case[key]) for key in ("model", "mode", "groups", "distribution", "scale", "order", "step"))


def weights(model: str) -> Tensors:
    """Clean weights: multiples of 1/64, which float32 has exactly."""
    shapes = {**MODELS[model], **STATISTICS[model]}
    numbers = itertools.count(1)
    return {
        tensor: [(next(numbers) * 37 % 101 - 50) / 64 for _ in range(math.prod(shape))]
        for tensor, shape in shapes.items()
    }


def command(case: Case, model: str, weights_file: str, out: str) -> list[str]:
    """Arguments of `jostle` for a case."""
    words = ["noise", "--model", model, "--noise", case["mode"], "--sigma", str(case["sigma"])]
    words += ["--groups", case["groups"], "--noise-distribution", case["distribution"]]
    words += ["--noise-scale", case["scale"], "--noise-order", case["order"]]
    words += ["--seed", str(case["seed"]), "--step", str(case["step"])]
    return [*words, *(["--weights", weights_file] if case["scale"] == "filter" else []), "--out", out]


def shown_command(case: Case) -> str:
    model = "mlp:64-3-10" if case["model"] == "mlp" else CNN_FILE.name
    return " ".join(["jostle", *command(case, model, "weights.safetensors", "eps.safetensors")])


class NoAdapter(Exception):
    """The program found nothing to compute on; the text is what it said."""


def from_program(program: str, case: Case) -> Tensors:
    """The noise of a case as the program writes it."""
    model = "mlp:64-3-10" if case["model"] == "mlp" else str(CNN_FILE)
    return run(program, case, model, {**MODELS[case["model"]], **STATISTICS[case["model"]]}, weights(case["model"]))


def run(program: str, case: Case, model: str, shapes: dict[str, list[int]], clean: Tensors) -> Tensors:
    with tempfile.TemporaryDirectory() as folder:
        weights_file, out = pathlib.Path(folder, "weights.safetensors"), pathlib.Path(folder, "eps.safetensors")
        weights_file.write_bytes(safetensors(shapes, clean))
        words = [program, *command(case, model, str(weights_file), str(out))]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = done.stderr.strip() or f"exit status {done.returncode}"
            raise NoAdapter(said) if "adapter" in said else RuntimeError(f"{' '.join(words)}: {said}")
        written = read_safetensors(out.read_bytes())
        return {tensor: written[tensor] for tensor in shapes if tensor in written}


def safetensors(shapes: dict[str, list[int]], tensors: Tensors) -> bytes:
    header, at = {}, 0
    for tensor, shape in shapes.items():
        end = at + 4 * math.prod(shape)
        header[tensor] = {"dtype": "F32", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    values = [value for tensor in shapes for value in tensors[tensor]]
    return struct.pack("<Q", len(text)) + text + struct.pack(f"<{len(values)}f", *values)


def read_safetensors(data: bytes) -> Tensors:
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for tensor, entry in header.items():
        start, end = entry["data_offsets"]
        tensors[tensor] = list(struct.unpack(f"<{(end - start) // 4}f", data[8 + length + start : 8 + length + end]))
    return tensors


def ulps(value: float, other: float) -> int:
    """How many float32 apart two float32 are."""

    def place(number: float) -> int:
        (bits,) = struct.unpack("<i", struct.pack("<f", number))
        return bits if bits >= 0 else -(bits & 0x7FFF_FFFF)

    if math.isnan(value) or math.isnan(other):
        return 1 << 32
    return abs(place(value) - place(other))


# A Gaussian draw on two adapters. A product may have half the spacing of its factor, and is rounded itself; a filter's
# norm is a root of sums in another order.
GAUSSIAN_ULPS, NORM_ULPS = 4, 2


def tolerance(case: Case) -> int:
    """How many ulp the noise of a case, which is a product, may differ between adapters."""
    gaussian = 2 * GAUSSIAN_ULPS + 1 if case["distribution"] == "gaussian" else 0
    return gaussian + (2 * NORM_ULPS if case["scale"] == "filter" else 0)


def furthest(found: Tensors, expected: Tensors) -> int:
    """The most ulp between two sets of tensors, which have to have the same names and lengths."""
    lengths = [{tensor: len(values) for tensor, values in tensors.items()} for tensors in (found, expected)]
    if lengths[0] != lengths[1]:
        raise AssertionError(f"tensors and lengths are {lengths[0]}, and should be {lengths[1]}")
    pairs = (pair for tensor in found for pair in zip(found[tensor], expected[tensor], strict=True))
    return max((ulps(value, other) for value, other in pairs), default=0)
