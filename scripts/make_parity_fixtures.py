#!/usr/bin/env python3
"""Training runs in PyTorch, for tests/suite/train/parity.rs to hold Jostle against.

Each case trains a small network on the bundled digits in float32: noise of the step from `jostle noise`, gradient at
the noisy weights, clean weights restored bit for bit, then the step of torch.optim. Writes assets/parity/: the initial
weights per model, the final weights per case, logits of one network on the test data, and cases.json with every loss.

    cargo build --release
    python scripts/make_parity_fixtures.py --jostle target/release/jostle      (needs torch and safetensors)
"""

import argparse
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import torch
    from safetensors.torch import load_file, save_file
except ImportError as missing:
    sys.exit(f"{missing}: pip install torch safetensors")

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "assets" / "parity"
STEPS, BATCH, TEST_PER_CLASS = 24, 64, 50
MODEL = "mlp:64-32-24-10"
ACTIVATIONS = {"relu": torch.relu, "gelu": torch.nn.functional.gelu, "tanh": torch.tanh}

SGD = {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "weight-decay": 0.0}
NESTEROV = {**SGD, "nesterov": True, "weight-decay": 5e-4}
DAMPENING = {**SGD, "dampening": 0.3, "weight-decay": 5e-4}
ADAM = {"optimizer": "adam", "lr": 0.002, "weight-decay": 1e-3}
ADAMW = {"optimizer": "adamw", "lr": 0.002, "weight-decay": 0.01}


def cases():
    """Name and configuration of each case; keys are those of `jostle train`."""
    optimizers = {"momentum": SGD, "nesterov-decay": NESTEROV, "adam": ADAM, "adamw": ADAMW}
    for name, optimizer in optimizers.items():
        for mode in ("none", "all", "layer"):
            yield f"{name}-{mode}", {**optimizer, "noise": mode}
    layer = {**SGD, "noise": "layer"}
    yield "dampening-layer", {**DAMPENING, "noise": "layer"}
    yield "model", {**SGD, "noise": "model", "sigma": 0.02}
    yield "rademacher", {**layer, "noise-distribution": "rademacher"}
    yield "uniform", {**layer, "noise-distribution": "uniform"}
    yield "module", {**layer, "groups": "module"}
    yield "weights", {**SGD, "noise": "all", "groups": "weights"}
    yield "random-order", {**layer, "noise-order": "random"}
    yield "filter", {**SGD, "noise": "all", "noise-scale": "filter"}
    yield "gelu", {**layer, "model": MODEL + ":gelu"}
    yield "tanh", {**ADAM, "noise": "all", "model": MODEL + ":tanh"}
    yield "mse", {**layer, "loss": "mse"}


def digits():
    """Inputs in [0, 1] and labels, training and test: the last 50 of each class are for testing."""
    with gzip.open(ROOT / "assets" / "digits" / "digits.csv.gz", "rt") as file:
        rows = [[int(float(value)) for value in line.split(",")] for line in file if line.strip()]
    seen, test = {}, set()
    for index in reversed(range(len(rows))):
        label = rows[index][64]
        if seen.setdefault(label, 0) < TEST_PER_CLASS:
            seen[label] += 1
            test.add(index)
    parts = []
    for wanted in (False, True):
        chosen = [row for index, row in enumerate(rows) if (index in test) == wanted]
        inputs = torch.tensor([row[:64] for row in chosen], dtype=torch.float32) / 16
        parts.append((inputs, torch.tensor([row[64] for row in chosen])))
    return parts


def parse(model):
    widths, _, activation = model.removeprefix("mlp:").partition(":")
    return [int(width) for width in widths.split("-")], ACTIVATIONS[activation or "relu"]


def initial(model):
    """PyTorch's default initialisation under Jostle's names."""
    torch.manual_seed(1)
    widths, _ = parse(model)
    weights = {}
    for layer, (fan_in, fan_out) in enumerate(zip(widths, widths[1:]), start=1):
        linear = torch.nn.Linear(fan_in, fan_out)
        weights[f"fc{layer}.weight"] = linear.weight.detach().clone()
        weights[f"fc{layer}.bias"] = linear.bias.detach().clone()
    return weights


def forward(model, weights, inputs):
    widths, activation = parse(model)
    value = inputs
    for layer in range(1, len(widths)):
        value = torch.nn.functional.linear(value, weights[f"fc{layer}.weight"], weights[f"fc{layer}.bias"])
        if layer + 1 < len(widths):
            value = activation(value)
    return value


def optimizer_of(config, parameters):
    common = {"lr": config["lr"], "weight_decay": config["weight-decay"], "foreach": False}
    if config["optimizer"] == "sgd":
        more = {key: config[key] for key in ("momentum", "dampening", "nesterov") if key in config}
        return torch.optim.SGD(parameters, **common, **more)
    kind = torch.optim.Adam if config["optimizer"] == "adam" else torch.optim.AdamW
    return kind(parameters, **common)


def noise(jostle, config, step, weights, folder):
    """The tensors that Jostle adds at a step."""
    out, clean = folder / "eps.safetensors", folder / "clean.safetensors"
    keys = ("model", "noise", "sigma", "seed", "groups", "noise-distribution", "noise-order", "noise-scale")
    options = [text for key in keys if key in config for text in (f"--{key}", str(config[key]))]
    if config.get("noise-scale") == "filter":
        save_file({name: value.detach().clone() for name, value in weights.items()}, clean)
        options += ["--weights", str(clean)]
    subprocess.run([jostle, "noise", *options, "--step", str(step), "--out", str(out)], check=True, capture_output=True)
    return load_file(out)


def train(jostle, config, data, folder):
    inputs, labels = data
    weights = {name: value.requires_grad_() for name, value in initial(config["model"]).items()}
    optimizer = optimizer_of(config, list(weights.values()))
    losses, first = [], 0
    for step in range(STEPS):
        batch = slice(first, min(first + BATCH, len(labels)))
        first = batch.stop % len(labels)
        clean = {name: value.detach().clone() for name, value in weights.items()}
        if config["noise"] != "none":
            delta = noise(jostle, config, step, weights, folder)
            with torch.no_grad():
                for name, value in weights.items():
                    value.add_(delta[name])
        logits = forward(config["model"], weights, inputs[batch])
        if config.get("loss") == "mse":
            target = torch.nn.functional.one_hot(labels[batch], logits.shape[1]).float()
            loss = torch.nn.functional.mse_loss(logits, target)
        else:
            loss = torch.nn.functional.cross_entropy(logits, labels[batch])
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        with torch.no_grad():
            for name, value in weights.items():
                value.copy_(clean[name])
        optimizer.step()
    return losses, {name: value.detach().clone() for name, value in weights.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jostle", default=str(ROOT / "target" / "release" / "jostle"))
    jostle = parser.parse_args().jostle
    OUT.mkdir(parents=True, exist_ok=True)
    training, test = digits()
    manifest, models = [], set()
    with tempfile.TemporaryDirectory() as folder:
        for name, options in cases():
            config = {"model": MODEL, "sigma": 0.05, "seed": 11, "batch": BATCH, "batch-order": "sequential", **options}
            model_file = config["model"].replace(":", "-")
            if model_file not in models:
                models.add(model_file)
                save_file(initial(config["model"]), OUT / f"initial-{model_file}.safetensors")
            losses, weights = train(jostle, config, training, pathlib.Path(folder))
            save_file(weights, OUT / f"final-{name}.safetensors")
            manifest.append({"name": name, "initial": f"initial-{model_file}.safetensors",
                             "config": {**config, "steps": STEPS}, "losses": losses})
            print(f"{name}: {losses[0]:.4f} -> {losses[-1]:.4f}", flush=True)
            if name == "momentum-none":
                save_file({"logits": forward(MODEL, weights, test[0])}, OUT / "logits-momentum-none.safetensors")
    text = json.dumps({"torch": torch.__version__.split("+")[0], "cases": manifest}, indent=1)
    (OUT / "cases.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
