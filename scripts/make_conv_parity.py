#!/usr/bin/env python3
"""Convolutional networks in PyTorch, for tests/suite/train/conv_parity.rs to hold Jostle against.

Five steps of SGD on one batch for every model by name and for assets/parity/net.toml, in float64 (the truth) and in float32 (how far
PyTorch itself is from it); net.toml's once more with every option of the training recipe and the noise of `jostle noise`.
resnet34 and vgg16-bn are trained narrow, and give logits as published: they are resnet18 and vgg11-bn with more layers, and those are
trained as published.
No weights are stored: both sides draw them from Philox, as shaders/init_uniform.wgsl does, and the dropout masks as
shaders/dropout.wgsl. Writes assets/parity/conv.json with names and shapes of the parameters, losses and logits in eval
mode before and after, and the state_dict of net.toml's network after them.

    cargo build --release
    python scripts/make_conv_parity.py --jostle target/release/jostle      (needs torch, numpy and safetensors)
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "assets" / "parity"
SEED, BATCH, STEPS, CLASSES, SIDE, DATA = 5, 8, 5, 10, 32, 91
SGD = {"momentum": 0.9, "weight-decay": 5e-4}
# Small where the net is deep: a rounding that flips a ReLU is amplified from step to step, in PyTorch as here.
LEARNING_RATES = {"cnn1": 0.05, "cnn2": 0.05, "cnn3": 0.05, "resnet18": 5e-5, "resnet20": 2e-4, "resnet34:16": 5e-6,
                  "resnet56": 1e-5, "vgg11-bn": 2e-3, "vgg16-bn:16": 2e-4}
# Half of the batch where a sample is most of the work.
BATCHES = {"resnet18": BATCH // 2, "vgg11-bn": BATCH // 2}
# Data on which float32 stays near float64: with others a ReLU of vgg16-bn flips and PyTorch itself misses the bar.
DATA_SEEDS = {"vgg16-bn:16": 95}
RECIPE = {"batch": BATCH // 2, "accumulate": 2, "label-smoothing": 0.1, "clip-norm": 0.5, "warmup-steps": 3,
          "schedule": "cosine", "ema": 0.9, "bn-recalibrate": True, "eval-noisy": 1, "noise": "all", "sigma": 0.02}
STREAM_INIT, STREAM_DROPOUT = 1, 3


def philox(x, y, z, w, seed):
    """Philox4x32-10 (Salmon et al., SC 2011) at counters (x, y, z, w): uint32 [len(x), 4]."""
    low = np.uint64(0xFFFFFFFF)
    counter = [np.asarray(x, np.uint64)] + [np.full(len(x), word, np.uint64) for word in (y, z, w)]
    key = [np.uint64(seed) & low, np.uint64(seed) >> np.uint64(32)]
    for _ in range(10):
        first, second = counter[0] * np.uint64(0xD2511F53), counter[2] * np.uint64(0xCD9E8D57)
        counter = [second >> np.uint64(32) ^ counter[1] ^ key[0], second & low,
                   first >> np.uint64(32) ^ counter[3] ^ key[1], first & low]
        key = [key[0] + np.uint64(0x9E3779B9) & low, key[1] + np.uint64(0xBB67AE85) & low]
    return np.stack(counter, 1).astype(np.uint32)


def hashed(seed, count):
    """SplitMix64 of (seed, i), as the tests' `hash`."""
    with np.errstate(over="ignore"):
        z = (np.uint64(seed << 32) ^ np.arange(count, dtype=np.uint64)) + np.uint64(1)
        z = z * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)


def samples(seed, count):
    pixels = (hashed(seed, count * 3 * SIDE * SIDE) % np.uint64(256)).astype(np.float64).reshape(-1, 3, SIDE, SIDE)
    labels = (hashed(seed + 1, count) % np.uint64(CLASSES)).astype(np.int64)
    return torch.from_numpy(pixels / 255), torch.from_numpy(labels)


class Dropout(nn.Module):
    """Jostle's masks: layers counted from 0 over the network, one mask a step."""

    layers, step = 0, 0

    def __init__(self, probability):
        super().__init__()
        self.probability, self.layer = probability, Dropout.layers
        Dropout.layers += 1

    def forward(self, x):
        if not self.training:
            return x
        bits = philox(np.arange((x.numel() + 3) // 4), self.layer, Dropout.step, STREAM_DROPOUT, SEED)
        kept = bits.reshape(-1)[: x.numel()] >= np.uint32(int(self.probability * 2**32))
        return x * torch.from_numpy(kept.reshape(x.shape)).to(x) / (1 - self.probability)


def three(inputs, outputs, stride=1, bias=False):
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=bias)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = three(inputs, outputs, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = three(outputs, outputs), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, width, stages):
        super().__init__()
        self.conv1, self.bn1 = three(3, width), nn.BatchNorm2d(width)
        inputs, self.stages = width, len(stages)
        for stage, blocks in enumerate(stages):
            outputs, parts = width << stage, []
            for block in range(blocks):
                parts.append(Block(inputs, outputs, 2 if stage > 0 and block == 0 else 1))
                inputs = outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*parts))
        self.linear = nn.Linear(inputs, CLASSES)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.linear(x.mean((2, 3)))


class Vgg(nn.Module):
    def __init__(self, width, stages):
        super().__init__()
        layers, inputs = [], 3
        for stage in stages:
            for outputs in (width * factor for factor in stage):
                layers += [three(inputs, outputs, bias=True), nn.BatchNorm2d(outputs), nn.ReLU()]
                inputs = outputs
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(inputs, 64 * width), nn.ReLU(), Dropout(0.5),
            nn.Linear(64 * width, 64 * width), nn.ReLU(), Dropout(0.5), nn.Linear(64 * width, CLASSES))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class Cnn1(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, CLASSES)

    def forward(self, x):
        for conv in (self.conv1, self.conv2):
            x = nn.functional.max_pool2d(torch.relu(conv(x)), 2)
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x.flatten(1))))))


class Cnn(nn.Module):
    def __init__(self, hidden=None):
        super().__init__()
        self.conv1, self.conv2 = three(3, 32, bias=True), three(32, 128, bias=True)
        self.conv3, self.conv4 = three(128, 128, bias=True), three(128, 128, bias=True)
        if hidden:
            self.fc1, self.fc2 = nn.Linear(128, hidden), nn.Linear(hidden, CLASSES)
        else:
            self.fc = nn.Linear(128, CLASSES)

    def forward(self, x):
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = nn.functional.max_pool2d(torch.relu(conv(x)), 2)
        x = x.mean((2, 3))
        return self.fc(x) if hasattr(self, "fc") else self.fc2(torch.relu(self.fc1(x)))


class Residual(nn.Module):
    """net.toml's residual block."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(12, 12, 3, padding=2, dilation=2, groups=12)
        self.gn1, self.conv2 = nn.GroupNorm(3, 12), nn.Conv2d(12, 16, 1, groups=4)
        self.shortcut = nn.ModuleDict({"conv1": nn.Conv2d(12, 16, 1, bias=False)})

    def forward(self, x):
        return self.conv2(nn.functional.gelu(self.gn1(self.conv1(x)))) + self.shortcut["conv1"](x)


class Net(nn.Module):
    """assets/parity/net.toml."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = three(3, 12), nn.BatchNorm2d(12)
        self.block1, self.ln1 = Residual(), nn.LayerNorm([16, 8, 8])
        self.conv2 = nn.Conv2d(16, 10, (3, 2), stride=(1, 2), padding=(1, 0))
        self.dropout = Dropout(0.25)
        self.fc1, self.bn2, self.fc2 = nn.Linear(60, 21), nn.BatchNorm1d(21), nn.Linear(21, CLASSES)

    def forward(self, x):
        f = nn.functional
        x = f.max_pool2d(f.silu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.conv2(self.ln1(f.avg_pool2d(self.block1(x), 3, 2, 1)))
        x = f.avg_pool2d(x, (3, 2), (2, 1), (1, 1), count_include_pad=False)
        x = torch.tanh(f.adaptive_avg_pool2d(x, (3, 2))).flatten(1)
        return self.fc2(torch.sigmoid(self.bn2(self.fc1(self.dropout(x)))))


VGG16 = [[1, 1], [2, 2], [4] * 3, [8] * 3, [8] * 3]
MODELS = {
    "cnn1": Cnn1,
    "cnn2": Cnn,
    "cnn3": lambda: Cnn(5000),
    "resnet18": lambda: ResNet(64, [2, 2, 2, 2]),
    "resnet34:16": lambda: ResNet(16, [3, 4, 6, 3]),
    "resnet20": lambda: ResNet(16, [3, 3, 3]),
    "resnet56": lambda: ResNet(16, [9, 9, 9]),
    "vgg11-bn": lambda: Vgg(64, [[1], [2], [4, 4], [8, 8], [8, 8]]),
    "vgg16-bn:16": lambda: Vgg(16, VGG16),
    "net.toml": Net,
}
# Not trained: names, shapes and the logits of two images.
WIDE = {"resnet34": lambda: ResNet(64, [3, 4, 6, 3]), "vgg16-bn": lambda: Vgg(64, VGG16)}


def initialise(model):
    """Jostle's initial weights: the distribution of PyTorch's, from Philox by (seed, tensor, element)."""
    modules = dict(model.named_modules())
    for tensor, (name, param) in enumerate(model.named_parameters()):
        weight = getattr(modules[name.rpartition(".")[0]], "weight")
        if isinstance(modules[name.rpartition(".")[0]], (nn.Linear, nn.Conv2d)):
            bound = np.float32(1) / np.sqrt(np.float32(weight[0].numel()))
            bits = philox(np.arange((param.numel() + 3) // 4), tensor, 0, STREAM_INIT, SEED).reshape(-1)
            drawn = (bits[: param.numel()] >> np.uint32(8)).astype(np.float32) * np.float32(2**-23) - np.float32(1)
            param.data.copy_(torch.from_numpy((drawn * bound).reshape(param.shape)))


def logits(model, inputs):
    model.eval()
    with torch.no_grad():
        found = model(inputs)
    model.train()
    return found.double().flatten().tolist()


def noise(jostle, options, step):
    """The tensors that Jostle adds at a step."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "eps.safetensors"
        command = [jostle, "noise", "--data", "cifar10", "--model", OUT / options["model"], "--noise", options["noise"], "--sigma",
                   str(options["sigma"]), "--seed", str(SEED), "--step", str(step), "--out", out]
        subprocess.run(command, check=True, capture_output=True)
        return load_file(out)


def perturb(parameters, jostle, options, step):
    for name, delta in noise(jostle, options, step).items():
        parameters[name].data.add_(delta.to(parameters[name].dtype))


def loss_of(model, inputs, labels):
    """The mean loss in eval mode."""
    return nn.functional.cross_entropy(torch.tensor(logits(model, inputs)).reshape(len(labels), CLASSES), labels).item()


def rate_at(options, step):
    """Cosine by epochs, of one step each, and a linear warm-up."""
    rate = options["lr"]
    if options.get("schedule") == "cosine":
        rate *= 0.5 * (1 + np.cos(np.pi * step / STEPS))
    return rate * min(1, (step + 1) / options.get("warmup-steps", 1))


def recalibrate(model, inputs, batch):
    """torch.optim.swa_utils.update_bn with dropout off."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for part in inputs.split(batch):
            model(part)
    for norm in norms:
        norm.momentum = 0.1
    model.train()


def step_loss(model, inputs, labels, options, step):
    """The mean loss, its gradient left in the parameters, batch by batch."""
    parts = options.get("accumulate", 1)
    total = 0.0
    for part, (x, y) in enumerate(zip(inputs.chunk(parts), labels.chunk(parts))):
        Dropout.step = step * parts + part
        smoothing = options.get("label-smoothing", 0.0)
        loss = nn.functional.cross_entropy(model(x), y, reduction="sum", label_smoothing=smoothing) / len(labels)
        loss.backward()
        total += loss.item()
    return total


def train(build, options, dtype, jostle):
    Dropout.layers = 0
    model = build()
    initialise(model)
    model = model.to(dtype)
    data = DATA_SEEDS.get(options["model"], DATA)
    count = options.get("batch", BATCH) * options.get("accumulate", 1)
    inputs, labels = samples(data, count)
    inputs, (test, _) = inputs.to(dtype), samples(data + 2, count)
    before = logits(model, test.to(dtype))
    parameters = dict(model.named_parameters())
    optimizer = torch.optim.SGD(parameters.values(), lr=1, momentum=SGD["momentum"], weight_decay=SGD["weight-decay"])
    averaging = get_ema_multi_avg_fn(options.get("ema", 0.0))
    average = AveragedModel(model, multi_avg_fn=averaging)
    losses = []
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = rate_at(options, step)
        optimizer.zero_grad()
        clean = {name: value.detach().clone() for name, value in parameters.items()}
        if "noise" in options:
            perturb(parameters, jostle, options, step)
        losses.append(step_loss(model, inputs, labels, options, step))
        for name, value in clean.items():
            parameters[name].data.copy_(value)
        if "clip-norm" in options:
            nn.utils.clip_grad_norm_(parameters.values(), options["clip-norm"])
        optimizer.step()
        average.update_parameters(model)
        if options.get("bn-recalibrate"):
            recalibrate(model, inputs, options["batch"])
    after = logits(model, test.to(dtype))
    results = {"losses": losses, "before": before, "after": after}
    if "ema" in options:
        perturb(parameters, jostle, options, STEPS)
        noisy = loss_of(model, inputs, labels)
        model.load_state_dict(dict(average.module.named_parameters()), strict=False)
        results["noisy_and_average"] = [noisy, loss_of(model, inputs, labels)]
    return model, results


def shapes(model):
    return [[key, list(value.shape)] for key, value in model.named_parameters()]


def untrained(name, build):
    Dropout.layers = 0
    model = build()
    initialise(model)
    images, _ = samples(DATA + 2, 2)
    return {"model": name, "parameters": shapes(model), "logits": logits(model.double(), images.double())}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jostle", default=str(ROOT / "target" / "release" / "jostle"))
    jostle = parser.parse_args().jostle
    cases = []
    for name, build in [*MODELS.items(), ("net.toml", Net)]:
        options = {"model": name, "lr": LEARNING_RATES.get(name, 0.01)}
        if name in BATCHES:
            options["batch"] = BATCHES[name]
        if any(case["options"]["model"] == name for case in cases):
            options |= RECIPE
        model, truth = train(build, options, torch.float64, jostle)
        _, single = train(build, options, torch.float32, jostle)
        distance = {key: float(np.abs(np.subtract(truth[key], single[key])).max()) for key in truth}
        parameters = shapes(model)
        data = DATA_SEEDS.get(name, DATA)
        cases.append({"options": options, "data": data, "parameters": parameters, **truth, "float32": distance})
        print(name, truth["losses"], distance, flush=True)
        if options == {"model": "net.toml", "lr": 0.01}:
            save_file({key: value if key.endswith("tracked") else value.float().contiguous()
                       for key, value in model.state_dict().items()}, OUT / "net.safetensors")
    config = {**SGD, "seed": SEED, "batch": BATCH, "steps": STEPS, "batch-order": "sequential", "noise": "none"}
    wide = [untrained(name, build) for name, build in WIDE.items()]
    head = {"torch": torch.__version__.split("+")[0], "config": config, "wide": wide}
    lines = ",\n".join(json.dumps(case) for case in cases)
    (OUT / "conv.json").write_text(json.dumps(head)[:-1] + ', "cases": [\n' + lines + "\n]}\n")


if __name__ == "__main__":
    main()
