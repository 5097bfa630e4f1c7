#!/usr/bin/env python3
"""Products with the Hessian and its Gauss-Newton part of transformers, for the suite's analysis/transformer_curvature.rs.

Run from the project's folder, with torch, numpy, safetensors, timm and transformers installed:

    python scripts/make_transformer_curvature.py

Writes assets/parity/curvature_transformers.safetensors: for the GPT and the ViT of make_transformer_parity.py MODEL/hessian and
MODEL/gauss_newton, by double backward through attention written out, in float64; every 17th element of each parameter, in the model's
order, end to end. Weights, data and directions are not stored: both sides hash them.
"""

import torch
from make_conv_curvature import DIRECTION
from make_conv_parity import OUT, hashed, samples
from make_curvature_fixture import products
from make_transformer_parity import BUILD, EVERY, IMAGES, LENGTH, TEXT, TOKENS, VOCABULARY, WEIGHTS
from safetensors.torch import save_file
from torch.nn import functional as F
from torch_transformers import hashed_tokens, initialise, windows

COUNT = 3


def data(model, dtype):
    if model.startswith("gpt"):
        return windows(hashed_tokens(TEXT, TOKENS, VOCABULARY), LENGTH, 0, COUNT)
    images, labels = samples(IMAGES, COUNT)
    return images.to(dtype), labels


def flat_products(name, dtype):
    model, (inputs, labels) = BUILD[name](), data(name, dtype)
    initialise(dict(model.named_parameters()), WEIGHTS)
    names, params = zip(*model.to(dtype).named_parameters())
    signs = [(hashed(DIRECTION + place, p.numel()) & 1).astype(float) * 2 - 1
             for place, p in zip((sorted(names).index(name) for name in names), params)]
    direction = [torch.from_numpy(sign).to(dtype).reshape(p.shape) for sign, p in zip(signs, params)]
    forward = lambda *p: torch.func.functional_call(model, dict(zip(names, p)), (inputs,))
    results = products([p.detach() for p in params], direction, forward, lambda outputs: F.cross_entropy(outputs, labels))
    return [dict(zip(names, result)) for result in results]


def main():
    tensors = {}
    for name in BUILD:
        exact, single = (flat_products(name, dtype) for dtype in (torch.float64, torch.float32))
        for kind, truth, rounded in zip(["hessian", "gauss_newton"], exact, single):
            apart = max(float((rounded[key].double() - t).abs().max() / t.abs().max()) for key, t in truth.items())
            print(f"{name}/{kind}: float32 is {apart:.1e} apart; least of the largest entries "
                  f"{min(float(t.abs().max()) for t in truth.values()):.1e}")
            tensors |= {f"{name}/{kind}/{key}": t.flatten()[::EVERY].float().contiguous() for key, t in truth.items()}
    path = OUT / "curvature_transformers.safetensors"
    save_file(tensors, path, metadata={"torch": torch.__version__.split("+")[0]})
    print(f"wrote {path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
