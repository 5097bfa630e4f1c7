"""The networks of the cases, in PyTorch under the program's names."""

from __future__ import annotations

import itertools
from collections import OrderedDict

import cases
import torch
from torch import nn


def network(name: str) -> nn.Module:
    """The network of a case at its clean weights."""
    if name == "mlp":
        layers = OrderedDict(fc1=nn.Linear(64, 3), fc2=nn.Linear(3, 10))
    else:
        layers = OrderedDict(
            conv1=nn.Conv2d(1, 2, 3),
            bn1=nn.BatchNorm2d(2),
            conv2=nn.Conv2d(2, 4, 3, groups=2, bias=False),
            ln1=nn.LayerNorm([4, 1, 1]),
            fc1=nn.Linear(4, 10),
        )
    model = nn.Sequential(layers)
    clean = cases.weights(name)
    with torch.no_grad():
        for tensor, parameter in model.named_parameters():
            parameter.copy_(torch.tensor(clean[tensor]).view(parameter.shape))
    return model


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers fc1, fc2, ... with a ReLU after each but the last, from a fixed seed."""
    torch.manual_seed(0)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for at, (inputs, outputs) in enumerate(itertools.pairwise(widths), start=1):
        layers[f"fc{at}"] = nn.Linear(inputs, outputs)
        layers[f"relu{at}"] = nn.ReLU()
    layers.popitem()
    return nn.Sequential(layers)


def bits(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of every parameter and buffer, as integers: equal only where all bits are."""
    copies = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    return {name: copy.contiguous().view(-1).view(torch.uint8) for name, copy in copies.items()}


def same_bits(model: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    now = bits(model)
    return now.keys() == before.keys() and all(torch.equal(now[name], before[name]) for name in before)
