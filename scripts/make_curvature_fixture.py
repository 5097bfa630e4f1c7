#!/usr/bin/env python3
"""Writes assets/parity/curvature.safetensors: products with the Hessian and its Gauss-Newton part, by PyTorch's autograd.

Run from the project's folder, with torch, numpy and safetensors installed:

    python scripts/make_curvature_fixture.py

Every case is a network of linear layers on 24 samples of 12 byte pixels (stored as f32); per case NAME the file has
NAME/weight.I and NAME/bias.I, NAME/direction.weight.I and so on, NAME/hessian.weight.I, NAME/gauss_newton.weight.I.
tests/suite/analysis/curvature_parity.rs has the same list of cases.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

WIDTHS = [12, 16, 14, 5]
SAMPLES = 24
ACTIVATIONS = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "gelu": F.gelu, "relu": torch.relu}


def network(params, inputs, activation):
    value = inputs
    layers = list(zip(params[::2], params[1::2]))
    for index, (weight, bias) in enumerate(layers):
        value = F.linear(value, weight, bias)
        if index + 1 < len(layers):
            value = activation(value)
    return value


def loss_of(name, outputs, labels, smoothing=0.0):
    if name == "nll":
        return F.cross_entropy(outputs, labels, label_smoothing=smoothing)
    return F.mse_loss(outputs, F.one_hot(labels, outputs.shape[-1]).to(outputs))


def products(params, direction, forward, criterion):
    """Of criterion(forward(*params)) along direction: with its Hessian, and with the Gauss-Newton part of that."""
    total = lambda *p: criterion(forward(*p))
    _, hessian = torch.autograd.functional.vhp(total, tuple(params), tuple(direction))
    outputs, tangent = torch.autograd.functional.jvp(forward, tuple(params), tuple(direction))
    _, curved = torch.autograd.functional.vhp(criterion, outputs, tangent)
    _, gauss_newton = torch.autograd.functional.vjp(forward, tuple(params), curved)
    return hessian, gauss_newton


def main():
    generator = torch.Generator().manual_seed(20261124)
    pixels = torch.randint(0, 256, (SAMPLES, WIDTHS[0]), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, WIDTHS[-1], (SAMPLES,), generator=generator)
    tensors = {"pixels": pixels.float(), "labels": labels.float()}
    inputs = pixels.double() / 255
    for name, activation in ACTIVATIONS.items():
        for loss in ["nll", "mse"]:
            draw = lambda: [
                torch.randn(shape, generator=generator) / fan_in**0.5
                for fan_in, out in zip(WIDTHS, WIDTHS[1:])
                for shape in [(out, fan_in), (out,)]
            ]
            params, direction = draw(), draw()
            wide = [[tensor.double() for tensor in tensors] for tensors in (params, direction)]
            forward = lambda *p: network(p, inputs, activation)
            results = products(*wide, forward, lambda outputs: loss_of(loss, outputs, labels))
            for kind, values in zip(["", "direction.", "hessian.", "gauss_newton."], [params, direction, *results]):
                for index, value in enumerate(values):
                    part = ["weight", "bias"][index % 2]
                    tensors[f"{name}-{loss}/{kind}{part}.{index // 2}"] = value.float().contiguous()
    path = Path(__file__).resolve().parent.parent / "assets" / "parity" / "curvature.safetensors"
    save_file(tensors, path, metadata={"torch": torch.__version__})
    print(f"wrote {path.name}: {len(tensors)} tensors, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
