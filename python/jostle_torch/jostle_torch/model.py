"""A model as the noise sees it: its parameters, numbered, with their modules and their roles."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from .scheme import NoiseTensor


def is_normalisation(module: nn.Module) -> bool:
    """PyTorch's normalisations, modules made from them, and modules of one's own that are called so."""
    return any("norm" in kind.__name__.lower() for kind in type(module).__mro__)


def numbered(model: nn.Module) -> tuple[list[NoiseTensor], list[nn.Parameter]]:
    """The parameters in the order of `named_parameters()`, one that has several names once, by the first."""
    tensors: list[NoiseTensor] = []
    parameters: list[nn.Parameter] = []
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        if type(module).__name__ == "FullyShardedDataParallel":
            raise ValueError("the model is sharded (FullyShardedDataParallel), and noise needs whole tensors")
        normalises = is_normalisation(module)
        for suffix, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            name = f"{prefix}.{suffix}" if prefix else suffix
            is_weight = not normalises and "bias" not in suffix
            tensors.append(NoiseTensor(name, prefix, is_weight, parameter.requires_grad))
            parameters.append(parameter)
    return tensors, parameters


def check_noisy(name: str, parameter: Tensor) -> None:
    """Refuses what the noise is not defined on."""
    if hasattr(parameter, "device_mesh"):
        raise ValueError(f"{name} is sharded (DTensor), and noise needs whole tensors")
    if not parameter.is_floating_point() or parameter.layout != torch.strided:
        raise TypeError(f"{name} is {parameter.dtype} and {parameter.layout}: noise is for dense real tensors")


def check_disjoint(named: list[tuple[str, nn.Parameter]]) -> None:
    """Refuses parameters that are different objects and share memory, to which noise would be added twice."""
    places = []
    for name, parameter in named:
        if parameter.numel() == 0 or parameter.is_meta:
            continue
        reach = sum((size - 1) * stride for size, stride in zip(parameter.shape, parameter.stride(), strict=True)) + 1
        start = parameter.data_ptr()
        places.append((str(parameter.device), start, start + reach * parameter.element_size(), name))
    places.sort()
    for (device, _, end, name), (other_device, start, _, other) in itertools.pairwise(places):
        if device == other_device and start < end:
            raise ValueError(
                f"{name} and {other} are two parameters in the same memory, to which noise would be added twice: "
                "tie them by assigning one parameter to both modules"
            )
