#!/usr/bin/env python3
"""Rules that perturb weights, in PyTorch, for Jostle to be held against: twenty steps of each on a small MLP and a small network with batch
norms (assets/parity/rules.toml), in float64 (the truth) and in float32 (how far PyTorch itself is from it).

The rules are those of scripts/torch_rules.py and the optimizers those of scripts/torch_optimizers.py, with their sources;
scripts/check_torch_rules.py holds them against the packages. The noise is that of `jostle noise --rule`, drawn for the weights of the
float64 run. No initial weights are stored: both sides draw them from Philox.
Writes assets/parity/rules.json (every pass's loss of each step, and which passes move the running statistics of batch norms) and the
weights and statistics after the steps to assets/parity/rules.safetensors.

    cargo build --release
    python scripts/make_rule_parity.py --jostle target/release/jostle      (needs torch, numpy and safetensors)
"""

import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import torch
import torch_optimizers as optimizers
import torch_rules as rules
from make_conv_parity import OUT, ROOT, SEED, initialise, samples, three
from make_parity_fixtures import digits, optimizer_of
from safetensors.torch import load_file, save_file
from torch import nn

sys.path.insert(0, str(ROOT / "python" / "jostle_torch"))
from jostle_torch.draw import key_of, philox  # noqa: E402

STEPS, IMAGES, IMAGE_SEED = 20, 64, 91
MLP, DEEP, NET = "mlp:64-24-10:tanh", "mlp:64-24-16-10:tanh", "rules.toml"
BATCH = {MLP: 32, DEEP: 32, NET: 16}
# For epochs of three steps.
EPOCHS_BATCH = 500
# Muon's matrices: neither the first layer's nor the last one's.
HIDDEN = {MLP: [], DEEP: ["fc2.weight"], NET: ["conv2.weight"]}
SGD = {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "weight-decay": 5e-4}
ADAMW = {"optimizer": "adamw", "lr": 2e-3, "weight-decay": 0.01}
IVON = {"lr": 0.2, "beta1": 0.9, "beta2": 0.99, "weight-decay": 2e-4, "ess": 1000.0, "hess-init": 0.5}
DIRECT = {"optimizer": "sgd", "lr": 2e-3, "momentum": 0.0, "weight-decay": 0.01}
LION = {"optimizer": "lion", "lr": 1e-3, "beta1": 0.9, "beta2": 0.95, "weight-decay": 0.1}
MUON = {"optimizer": "muon", "lr": 5e-3, "momentum": 0.95, "weight-decay": 0.1}
AVERAGED = {"optimizer": "schedule-free", "lr": 0.2, "momentum": 0.9, "weight-decay": 1e-2}
MOMENTS = {"swag-start": 0.2, "swag-every": 1, "swag-rank": 3}
# Large enough that a history which is wrong or missing shows.
HISTORY = {"arwp-eta": 20.0, "arwp-beta": 0.9}

# Case, rule, and its options: keys of `jostle train`.
CASES = [
    ("noise", "noise", {**SGD, "noise": "all", "sigma": 0.05}),
    ("sam", "sam", {**SGD, "rho": 0.1}),
    ("sam-adamw", "sam", {**ADAMW, "rho": 0.1}),
    ("asam", "asam", {**SGD, "rho": 0.5, "eta": 0.01}),
    ("m-sam", "m-sam", {**SGD, "rho": 0.1, "sam-parts": 4}),
    ("msam", "msam", {**SGD, "rho": 0.5}),
    ("msam-adamw", "msam", {**ADAMW, "rho": 0.5}),
    ("nso", "nso", {**SGD, "sigma": 0.05, "pairs": 1, "nso-lambda": 0.0}),
    ("nso-pairs", "nso", {**SGD, "sigma": 0.05, "pairs": 2, "nso-lambda": 0.3}),
    ("lpf", "lpf", {**SGD, "sigma": 0.05, "sub-batches": 4}),
    ("arwp", "arwp", {**SGD, "sigma": 0.05, **HISTORY}),
    ("m-rwp", "m-rwp", {**SGD, "sigma": 0.05, "rwp-lambda": 0.3}),
    ("ivon", "ivon", {**IVON, "mc-samples": 1}),
    ("ivon-samples", "ivon", {**IVON, "mc-samples": 3}),
    ("mezo", "mezo", {**DIRECT, "mezo-eps": 1e-2}),
    ("fresh-labels", "fresh-labels", {**SGD, "noise": "all", "sigma": 0.05, "fresh-label-noise": 0.4}),
    ("swag", "swag", {**SGD, "noise": "none", **MOMENTS}),
    ("lion", "noise", {**LION, "noise": "all", "sigma": 0.05}),
    ("sam-lion", "sam", {**LION, "rho": 0.1}),
    ("muon", "noise", {**MUON, "nesterov": True, "noise": "all", "sigma": 0.05}),
    ("muon-plain", "noise", {**MUON, "nesterov": False, "noise": "none"}),
    ("schedule-free", "noise", {**AVERAGED, "noise": "all", "sigma": 0.05}),
    ("sam-schedule-free", "sam", {**AVERAGED, "rho": 0.1}),
]
# The passes that move the running statistics of batch norms where each rule was published. MeZO's passes are in eval mode: none does. In
# m-SAM's code (JAX, all parts at once) only the first part's count; here the clean passes of all parts do, one after the other.
MOVING = {"noise": ["perturbed"], "sam": ["clean"], "asam": ["clean", "perturbed"], "m-sam": ["clean"], "msam": ["perturbed"],
          "nso": ["clean"], "lpf": ["perturbed"], "arwp": ["perturbed"], "m-rwp": ["clean"], "ivon": ["perturbed"], "mezo": [],
          "fresh-labels": ["perturbed"], "swag": ["perturbed"]}
DRAWS = {"nso": "pairs", "lpf": "sub-batches", "ivon": "mc-samples"}
NOISELESS = {"sam", "asam", "m-sam", "msam"}
# What the draws depend on, beside model, step and weights.
OF_NOISE = ["noise", "sigma", "pairs", "sub-batches", "mc-samples", "seed"]
IN_FILTER_NORMS, UNIT = {"lpf", "arwp", "m-rwp"}, {"ivon", "mezo"}


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(64, 24), nn.Linear(24, 10)

    def forward(self, x):
        return self.fc2(torch.tanh(self.fc1(x)))


class DeepMlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(64, 24), nn.Linear(24, 16), nn.Linear(16, 10)

    def forward(self, x):
        return self.fc3(torch.tanh(self.fc2(torch.tanh(self.fc1(x)))))


class Net(nn.Module):
    """assets/parity/rules.toml."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = three(3, 6, 2), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = three(6, 8, 2), nn.BatchNorm2d(8)
        self.fc1 = nn.Linear(32, 10)

    def forward(self, x):
        x = nn.functional.gelu(self.bn1(self.conv1(x)))
        x = torch.tanh(self.bn2(self.conv2(x)))
        return self.fc1(nn.functional.adaptive_avg_pool2d(x, 2).flatten(1))


BUILD = {MLP: Mlp, DEEP: DeepMlp, NET: Net}


class Noise:
    """The draws of a step, from `jostle noise` or, as a stand-in, from PyTorch."""

    def __init__(self, jostle, folder):
        self.jostle, self.folder = jostle, pathlib.Path(folder)

    def __call__(self, config, step, model):
        """One dictionary of tensors by name for each draw."""
        if config["rule"] in NOISELESS:
            return []
        if config.get("noise") == "none":
            return [{name: torch.zeros_like(value) for name, value in model.named_parameters()}]
        return self.stand_in(config, step, model) if self.jostle is None else self.drawn(config, step, model)

    def drawn(self, config, step, model):
        out, clean = self.folder / "draws.safetensors", self.folder / "clean.safetensors"
        data, name = ("cifar10", OUT / NET) if config["model"] == NET else ("digits", config["model"])
        # Of rules that take a mode of noise, the draws are the mode's.
        options = ["--rule", "noise" if config["rule"] in ("fresh-labels", "swag") else config["rule"]]
        options += [text for key in OF_NOISE if key in config for text in (f"--{key}", str(config[key]))]
        if config["rule"] in IN_FILTER_NORMS:
            state = model.state_dict().items()
            save_file({key: value.float() if value.is_floating_point() else value for key, value in state}, clean)
            options += ["--weights", str(clean)]
        command = [self.jostle, "noise", "--data", data, "--model", name, *options, "--step", str(step), "--out", out]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(done.args)}\n{done.stderr}")
        found = load_file(out)
        count = config.get(DRAWS.get(config["rule"]), 1)
        names = [name for name, _ in model.named_parameters()]
        return [{name: found[f"{name}@{at}" if count > 1 else name] for name in names} for at in range(count)]

    def stand_in(self, config, step, model):
        source, draws = torch.Generator().manual_seed(1000 * SEED + step), []
        for _ in range(config.get(DRAWS.get(config["rule"]), 1)):
            draw = {name: torch.randn(value.shape, generator=source) for name, value in model.named_parameters()}
            for name, value in model.named_parameters():
                if config["rule"] not in UNIT:
                    draw[name] *= config["sigma"]
                if config["rule"] in IN_FILTER_NORMS:
                    draw[name] *= rules.filter_norms(value.detach().float())
            draws.append(draw)
        return draws


CLASSES, STREAM_LABELS = 10, 8


def fresh_labels(labels, share, epoch):
    """Labels drawn anew in an epoch for a share of the samples: src/noise/labels.rs."""
    words = philox((torch.arange(len(labels)), epoch, 0, STREAM_LABELS), key_of(SEED))
    uniform = [(int(high) << 32) | int(low) for high, low in zip(words[1], words[2])]
    drawn = torch.tensor([number * CLASSES >> 64 for number in uniform])
    return torch.where(words[0] < share * 2**32, drawn, labels)


def check_labels(jostle, folder):
    """That these are the program's."""
    out, share = pathlib.Path(folder) / "labels.safetensors", 0.4
    for epoch in (0, 3):
        command = [jostle, "noise", "--rule", "fresh-labels", "--fresh-label-noise", share, "--data", "digits", "--model", MLP]
        command += ["--seed", SEED, "--epoch", epoch, "--out", out]
        subprocess.run([str(word) for word in command], check=True, capture_output=True)
        assert load_file(out)["labels"].long().equal(fresh_labels(digits()[0][1], share, epoch)), epoch


def epochs(config):
    """The epochs of a run in order, endlessly, as lists of batches; the last batch of one may be shorter."""
    inputs, labels = samples(IMAGE_SEED, IMAGES) if config["model"] == NET else digits()[0]
    epoch, size = 0, config["batch"]
    while True:
        share = config.get("fresh-label-noise")
        now = labels if share is None else fresh_labels(labels, share, epoch)
        yield list(zip(inputs.split(size), now.split(size)))
        epoch += 1


def optimizer_for(config, parameters):
    """What moves the clean weights, but where the rule does."""
    kind, about = config.get("optimizer"), {"lr": config["lr"], "weight_decay": config["weight-decay"]}
    betas = {"betas": (config.get("beta1", 0.9), config.get("beta2", 0.999))}
    if kind == "lion":
        return optimizers.Lion(list(parameters.values()), **about, **betas)
    if kind == "muon":
        hidden = HIDDEN[config["model"]]
        matrices, others = [[value for name, value in parameters.items() if (name in hidden) is own] for own in (True, False)]
        about |= {"momentum": config["momentum"], "nesterov": config["nesterov"]}
        return optimizers.Muon(matrices, others, **about, **betas)
    if kind == "schedule-free":
        return optimizers.ScheduleFree(list(parameters.values()), momentum=config["momentum"], **about)
    return optimizer_of(config, list(parameters.values()))


class Run:
    """A model, its optimizer and the state of its rule."""

    def __init__(self, config, moving, dtype):
        model = BUILD[config["model"]]()
        initialise(model)
        self.config, self.model, self.dtype, self.state = config, model.to(dtype), dtype, {}
        self.parameters = dict(model.named_parameters())
        self.weights = {name: value.data for name, value in self.parameters.items()}
        self.evaluate = rules.Evaluator(model, moving)
        self.epochs, self.left, self.done = epochs(config), [], 0
        self.swag = rules.Swag(config["swag-rank"]) if config["rule"] == "swag" else None
        self.optimizer = None if config["rule"] == "ivon" else optimizer_for(config, self.parameters)

    def batch(self):
        if not self.left:
            self.left = next(self.epochs)
            self.length = len(self.left)
        inputs, labels = self.left.pop(0)
        return inputs.to(self.dtype), labels

    def end_epoch(self):
        """Takes the weights into SWAG's moments where they are due."""
        self.done += 1
        since = self.done - math.floor(self.config["swag-start"] * STEPS / self.length + 1e-9)
        if since > 0 and since % self.config["swag-every"] == 0:
            self.swag.collect({name: value.clone() for name, value in self.weights.items()})

    def momentum(self):
        states = {name: self.optimizer.state[value] for name, value in self.parameters.items()}
        found = {name: state.get("momentum_buffer", state.get("exp_avg")) for name, state in states.items()}
        return None if None in found.values() else found

    def step(self, draws):
        """One step; the passes in order, (where, loss) each."""
        draws = [{name: value.to(self.dtype) for name, value in draw.items()} for draw in draws]
        found = self.rule_step(draws)
        if self.config["rule"] in ("ivon", "mezo"):
            return found
        passes, gradient = found
        for name, value in self.parameters.items():
            value.grad = gradient[name]
        self.optimizer.step()
        if self.swag is not None and not self.left:
            self.end_epoch()
        return passes

    def rule_step(self, draws):
        config, rule = self.config, self.config["rule"]
        common = (self.weights, self.evaluate, self.batch())
        if rule == "sam":
            return rules.sam(*common, config["rho"])
        if rule == "asam":
            return rules.asam(*common, config["rho"], config["eta"])
        if rule == "m-sam":
            return rules.m_sam(*common, config["rho"], config["sam-parts"])
        if rule == "msam":
            decay = config["weight-decay"] if config["optimizer"] == "sgd" else 0.0
            return rules.msam(*common, config["rho"], self.momentum(), decay)
        if rule == "nso":
            return rules.nso(*common, draws, config["nso-lambda"])
        if rule == "lpf":
            return rules.lpf(*common, draws)
        if rule == "arwp":
            return rules.arwp(*common, draws[0], self.state, config["arwp-eta"], config["arwp-beta"])
        if rule == "m-rwp":
            return rules.m_rwp(*common[:2], [common[2], self.batch()], draws[0], config["rwp-lambda"])
        if rule == "ivon":
            about = [config[key] for key in ("lr", "beta1", "beta2", "weight-decay", "ess", "hess-init")]
            return rules.ivon(*common, draws, self.state, *about)
        if rule == "mezo":
            decayed = {name for name in self.weights if "bias" not in name and not name.startswith("bn")}
            about = (config["lr"], config["mezo-eps"], config["weight-decay"], decayed)
            return rules.mezo(self.weights, self.evaluate.loss, common[2], draws[0], *about)[0]
        return rules.noise(*common, draws[0])

    def result(self):
        """Weights, averaged where the optimizer does, running statistics, and moments of weights where the rule takes some."""
        found = {name: value for name, value in self.model.state_dict().items() if value.is_floating_point()}
        if isinstance(self.optimizer, optimizers.ScheduleFree):
            found |= {name: self.optimizer.averaged(value).detach() for name, value in self.parameters.items()}
        if self.swag is not None:
            for name in self.parameters:
                found |= {f"{name}/mean": self.swag.mean[name], f"{name}/second_moment": self.swag.square[name]}
                found[f"{name}/deviations"] = torch.stack([one[name] for one in self.swag.deviations])
        return found


def train(config, moving, dtype, draws=None, noise=None):
    """The passes of each step, what is left after them, and the draws, which are made where none are given."""
    run, passes, made = Run(config, moving, dtype), [], []
    for step in range(STEPS):
        made.append(noise(config, step, run.model) if draws is None else draws[step])
        passes.append(run.step(made[-1]))
    return passes, run.result(), made


def apart(ours, theirs):
    return max(float((ours[name].double() - value.double()).abs().max()) for name, value in theirs.items())


def case(name, config, noise):
    """A case for the manifest, and its tensors."""
    moving = MOVING[config["rule"]]
    passes, weights, draws = train(config, moving, torch.float64, noise=noise)
    single, rounded, _ = train(config, moving, torch.float32, draws)
    losses = [[loss for _, loss in step] for step in passes]
    off = max(abs(loss - other) for step, others in zip(losses, single) for loss, (_, other) in zip(step, others))
    float32 = {"losses": off, "weights": apart(rounded, weights)}
    plain, moved = {**config, "rule": "sam", "rho": 0.0}, math.nan
    plain.pop("fresh-label-noise", None)
    if config["rule"] not in ("ivon", "mezo"):
        unmoved = train(plain, ["clean"], torch.float64, noise=noise)[1]
        moved = apart({name: weights[name] for name in unmoved}, unmoved)
    print(f"{name}: {losses[0][0]:.4f} -> {losses[-1][0]:.4f}, float32 {float32}, from a plain run {moved:.1e}", flush=True)
    about = {"name": name, "config": config, "moving": moving, "passes": [where for where, _ in passes[0]], "losses": losses,
             "float32": float32}
    return about, {f"{name}/{key}": value.float().contiguous() for key, value in weights.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jostle", default=str(ROOT / "target" / "release" / "jostle"))
    parser.add_argument("--stand-in", action="store_true", help="noise from PyTorch in place of Jostle's, to try the script")
    parser.add_argument("--out", type=pathlib.Path, default=OUT)
    parser.add_argument("--only", help="only cases whose names have this in them; what is written has only them")
    args = parser.parse_args()
    shared, cases, tensors = {"seed": SEED, "steps": STEPS, "batch-order": "sequential"}, [], {}
    with tempfile.TemporaryDirectory() as folder:
        noise = Noise(None if args.stand_in else args.jostle, folder)
        if not args.stand_in:
            check_labels(args.jostle, folder)
        for kind, family in (("mlp", MLP), ("net", NET)):
            for name, rule, options in CASES:
                if args.only and args.only not in name:
                    continue
                model = DEEP if name.startswith("muon") and kind == "mlp" else family
                batch = EPOCHS_BATCH if rule == "swag" and kind == "mlp" else BATCH[model]
                config = {"rule": rule, "model": model, "batch": batch, **options, "seed": SEED}
                about, found = case(f"{kind}-{name}", config, noise)
                cases.append(about)
                tensors |= found
    parameters = {model: [[name, list(value.shape)] for name, value in build().named_parameters()] for model, build in BUILD.items()}
    head = {"torch": torch.__version__.split("+")[0], "images": [IMAGE_SEED, IMAGES], "config": shared, "parameters": parameters}
    lines = ",\n".join(json.dumps(about) for about in cases)
    (args.out / "rules.json").write_text(f'{json.dumps(head)[:-1]}, "cases": [\n{lines}\n]}}\n')
    save_file(tensors, args.out / "rules.safetensors")


if __name__ == "__main__":
    main()
