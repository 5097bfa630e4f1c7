#!/usr/bin/env python3
"""Transformers in PyTorch, for tests/suite/train/transformer_parity.rs to hold Jostle against.

Twenty steps of a GPT and of a ViT of odd sizes (2 blocks, 3 heads of 20, 37 tokens, vocabulary 71) for each case, in float64 (the truth)
and float32 (how far PyTorch itself is from it), with the noise of `jostle noise`; then the logits of Hugging Face's GPT-2 and
timm's ViT-Ti with weights that both sides draw. No weights are stored: they are hashed, see torch_transformers.draw. Writes
assets/parity/transformers.json and, of the weights after the steps, every 17th element to assets/parity/transformers.safetensors.

    cargo build --release
    python scripts/make_transformer_parity.py --jostle target/release/jostle      (needs torch, numpy, safetensors, timm, transformers)
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy as np
import timm
import torch
import transformers
from make_conv_parity import OUT, ROOT, hashed, samples
from safetensors.torch import load_file, save_file
from torch import nn
from torch_transformers import Gpt, ViT, draw, hashed_tokens, initialise, is_norm_scale, windows

STEPS, BATCH, SEED, WEIGHTS, EVERY, EPS = 20, 4, 5, 400, 17, 1e-6
LENGTH, VOCABULARY, TOKENS, TEXT, IMAGES = 37, 71, 4000, 301, 91
BUILD = {"gpt:2x3x60@37": lambda: Gpt(2, 3, 60, LENGTH, VOCABULARY), "vit:2x3x60/5": lambda: ViT(2, 3, 60, 5)}
SGD = {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "weight-decay": 5e-4}
# A larger eps than the default, lest gradients that are rounding noise are taken for directions: PyTorch's own float32 is 1e-4 off with 1e-8.
ADAM = {"optimizer": "adam", "lr": 1e-3, "weight-decay": 0.0, "eps": EPS}
LANGUAGE = {"optimizer": "adamw", "lr": 1e-3, "eps": EPS, "weight-decay": 0.1, "decay": "matrices", "beta2": 0.99, "clip-norm": 1.0,
            "warmup-steps": 6}


def cases():
    """Name and configuration of each case; keys are those of `jostle train`."""
    for kind, model in zip(("gpt", "vit"), BUILD):
        for mode in ("none", "all", "layer", "model"):
            sigma = {} if mode == "none" else {"sigma": 0.02 if mode == "model" else 0.05}
            yield f"{kind}-sgd-{mode}", {"model": model, **SGD, "noise": mode, **sigma}
        yield f"{kind}-sgd-projection", {"model": model, **SGD, "noise": "layer", "sigma": 0.05, "groups": "projection"}
        yield f"{kind}-adam-layer", {"model": model, **ADAM, "noise": "layer", "sigma": 0.05}
        yield f"{kind}-adamw-all", {"model": model, **LANGUAGE, "noise": "all", "sigma": 0.05}


def text_file(folder):
    """The text as nanoGPT's files have it."""
    path = pathlib.Path(folder) / "text.bin"
    path.write_bytes(hashed_tokens(TEXT, TOKENS, VOCABULARY).numpy().astype("<u2").tobytes())
    return path


def noise(jostle, config, step, folder):
    """The tensors that Jostle adds at a step."""
    data = f"tokens:{text_file(folder)}@{VOCABULARY}" if config["model"].startswith("gpt") else "cifar10"
    out = pathlib.Path(folder) / "eps.safetensors"
    keys = ("model", "noise", "sigma", "groups")
    options = [text for key in keys if key in config for text in (f"--{key}", str(config[key]))]
    command = [jostle, "noise", "--data", data, *options, "--seed", str(SEED), "--step", str(step), "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    return load_file(out)


def batch(config, step):
    if config["model"].startswith("gpt"):
        return windows(hashed_tokens(TEXT, TOKENS, VOCABULARY), LENGTH, step * BATCH, BATCH)
    images, labels = samples(IMAGES, 2 * BATCH)
    part = slice(step % 2 * BATCH, (step % 2 + 1) * BATCH)
    return images[part], labels[part]


def optimizer_of(config, parameters):
    if config["optimizer"] == "sgd":
        return torch.optim.SGD(parameters, lr=config["lr"], momentum=0.9, weight_decay=config["weight-decay"])
    kind = torch.optim.Adam if config["optimizer"] == "adam" else torch.optim.AdamW
    common = {"lr": config["lr"], "betas": (0.9, config.get("beta2", 0.999)), "eps": config["eps"]}
    if config.get("decay") != "matrices":
        return kind(parameters, weight_decay=config["weight-decay"], **common)
    matrices = [value for value in parameters if value.dim() >= 2]
    others = [value for value in parameters if value.dim() < 2]
    groups = [{"params": matrices, "weight_decay": config["weight-decay"]}, {"params": others, "weight_decay": 0.0}]
    return kind(groups, **common)


def train(config, dtype, deltas):
    model = BUILD[config["model"]]()
    named = dict(model.named_parameters())
    initialise(named, WEIGHTS)
    model.to(dtype)
    optimizer, losses = optimizer_of(config, list(named.values())), []
    for step in range(STEPS):
        inputs, labels = batch(config, step)
        inputs = inputs.to(dtype) if inputs.is_floating_point() else inputs
        clean = {name: value.detach().clone() for name, value in named.items()}
        for name, delta in deltas[step].items():
            named[name].data.add_(delta.to(dtype))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        losses.append(loss.item())
        for name, value in clean.items():
            named[name].data.copy_(value)
        if "clip-norm" in config:
            nn.utils.clip_grad_norm_(named.values(), config["clip-norm"])
        for group in optimizer.param_groups:
            group["lr"] = config["lr"] * min(1, (step + 1) / config.get("warmup-steps", 1))
        optimizer.step()
    return losses, {name: value.detach() for name, value in named.items()}


def shapes(named):
    return [[name, list(value.shape)] for name, value in named]


def foreign(library, inputs, **about):
    """A library's model at hashed weights: names and shapes of its file, in the file's order, and its logits."""
    state = {name: value for name, value in library.state_dict().items() if name != "lm_head.weight"}
    for place, (name, value) in enumerate(sorted(state.items())):
        if value.is_floating_point():
            value.data.copy_(draw(WEIGHTS + place, tuple(value.shape), is_norm_scale(name)))
    library.double().eval()
    with torch.no_grad():
        found = library(inputs)
    logits = getattr(found, "logits", found).flatten()
    return {**about, "tensors": shapes(sorted(state.items())), "every": 1 + len(logits) // 2000,
            "logits": logits[:: 1 + len(logits) // 2000].tolist()}


def foreign_models():
    tokens = windows(hashed_tokens(TEXT, TOKENS, VOCABULARY), LENGTH, 0, 2)[0]
    config = transformers.GPT2Config(n_layer=2, n_head=3, n_embd=60, n_positions=LENGTH, vocab_size=VOCABULARY,
                                     bos_token_id=0, eos_token_id=0)
    yield foreign(transformers.GPT2LMHeadModel(config), tokens, format="huggingface", model="gpt:2x3x60@37:gelu_tanh")
    vit = timm.models.vision_transformer.VisionTransformer(
        img_size=32, patch_size=4, embed_dim=192, depth=12, num_heads=3, num_classes=10)
    images, _ = samples(IMAGES, 2)
    yield foreign(vit, images.double(), format="timm", model="vit-tiny")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jostle", default=str(ROOT / "target" / "release" / "jostle"))
    jostle, runs, tensors = parser.parse_args().jostle, [], {}
    for name, config in cases():
        with tempfile.TemporaryDirectory() as folder:
            noisy = config["noise"] != "none"
            deltas = [noise(jostle, config, step, folder) if noisy else {} for step in range(STEPS)]
        losses, weights = train(config, torch.float64, deltas)
        single, rounded = train(config, torch.float32, deltas)
        apart = {"losses": float(np.abs(np.subtract(losses, single)).max()),
                 "weights": max(float((rounded[key].double() - value).abs().max()) for key, value in weights.items())}
        runs.append({"name": name, "config": {**config, "seed": SEED, "batch": BATCH, "steps": STEPS}, "losses": losses,
                     "float32": apart})
        tensors |= {f"{name}/{key}": value.flatten()[::EVERY].float().contiguous() for key, value in weights.items()}
        print(f"{name}: {losses[0]:.4f} -> {losses[-1]:.4f}, float32 {apart}", flush=True)
    parameters = {model: shapes(build().named_parameters()) for model, build in BUILD.items()}
    versions = {"torch": torch.__version__.split("+")[0], "timm": timm.__version__, "transformers": transformers.__version__}
    head = {**versions, "parameters": parameters}
    lines = lambda items: ",\n".join(json.dumps(item) for item in items)
    text = f'{json.dumps(head)[:-1]}, "foreign": [\n{lines(foreign_models())}\n], "cases": [\n{lines(runs)}\n]}}\n'
    (OUT / "transformers.json").write_text(text)
    save_file(tensors, OUT / "transformers.safetensors")


if __name__ == "__main__":
    main()
