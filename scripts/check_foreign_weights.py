#!/usr/bin/env python3
"""Holds the logits of `jostle eval` against Hugging Face's GPT-2 and timm's ViT-Ti and ViT-S in float64, at full size: each library
initialises its model and writes its own safetensors file, which Jostle reads (--weights-format). Fails where they differ by more than
1e-4. GPT-2's window has 1,024 tokens and its vocabulary 50,257: 124 million parameters, and 206 MB of logits.

    cargo build --release
    python scripts/check_foreign_weights.py --jostle target/release/jostle      (needs torch, numpy, safetensors, timm, transformers)
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import timm
import torch
import transformers
from make_conv_parity import ROOT, samples
from safetensors.torch import load_file, save_file
from torch_transformers import hashed_tokens

CLOSE, SEED, IMAGES = 1e-4, 7, 8
# Of what each library initialises with zeros or ones, which a wrong order would not show.
SPREAD = 0.02
VIT = {"vit-tiny": {"embed_dim": 192, "num_heads": 3}, "vit-small": {"embed_dim": 384, "num_heads": 6}}


def spread(model):
    """Biases and scales of norms moved from 0 and 1."""
    for value in model.parameters():
        if value.ndim == 1:
            value.data.add_(SPREAD * torch.randn_like(value))
    return model.eval()


def gpt2(folder):
    config = transformers.GPT2Config()
    model = spread(transformers.GPT2LMHeadModel(config))
    model.save_pretrained(folder)
    # The last tenth of a text is for scores: here one window, and the token after it.
    scored = config.n_positions + 1
    tokens = hashed_tokens(SEED, 10 * scored, config.vocab_size)
    path = folder / "text.bin"
    path.write_bytes(tokens.numpy().astype("<u2").tobytes())
    logits = model.double()(tokens[None, -scored:-1]).logits
    return logits, ["--model", "gpt2", "--weights-format", "huggingface", "--data", f"tokens:{path}@{config.vocab_size}"]


def vit(name, folder):
    sizes = {"img_size": 32, "patch_size": 4, "depth": 12, "num_classes": 10, **VIT[name]}
    model = spread(timm.models.vision_transformer.VisionTransformer(**sizes))
    save_file(model.state_dict(), folder / "model.safetensors")
    images, labels = samples(SEED, IMAGES)
    pixels = (images.numpy().reshape(IMAGES, -1) * 255).round().astype(np.uint8)
    (folder / "test_batch.bin").write_bytes(np.hstack([labels.numpy().astype(np.uint8)[:, None], pixels]).tobytes())
    (folder / "data_batch_1.bin").write_bytes((folder / "test_batch.bin").read_bytes())
    data = ["--data", f"cifar:{folder}", "--normalise", "none"]
    return model.double()(images.double()), ["--model", name, "--weights-format", "timm", *data]


def apart(jostle, model):
    """The largest difference of two logits, and the largest logit."""
    torch.manual_seed(SEED)
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        folder = pathlib.Path(name)
        expected, options = gpt2(folder) if model == "gpt2" else vit(model, folder)
        written = folder / "logits.safetensors"
        command = [jostle, "eval", "--weights", str(folder / "model.safetensors"), "--logits", str(written), *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found = load_file(written)["logits"].double()
    return float((found - expected.reshape(found.shape)).abs().max()), float(expected.abs().max())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jostle", default=str(ROOT / "target" / "release" / "jostle"))
    jostle, failed = parser.parse_args().jostle, False
    transformers.utils.logging.disable_progress_bar()
    for model in ("gpt2", *VIT):
        difference, largest = apart(jostle, model)
        failed |= not difference <= CLOSE
        print(f"{model}: logits up to {largest:.2f}, apart by {difference:.1e} at most", flush=True)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
