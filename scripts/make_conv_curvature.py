#!/usr/bin/env python3
"""Products with the Hessian and its Gauss-Newton part of convolutional networks, for the suite's curvature_parity.rs.

Run from the project's folder, with torch, numpy and safetensors installed:

    python scripts/make_conv_curvature.py

Writes assets/parity/relu.safetensors, a state_dict of the network of relu.toml with running statistics that are not the
initial ones, and assets/parity/curvature_conv.safetensors: for each case CASE/hessian and CASE/gauss_newton, by autograd
in float64, all parameters in the model's order end to end. Images and directions are not stored: both sides hash them.
"""

import torch
from make_conv_parity import OUT, Net, hashed, initialise, samples, three
from make_curvature_fixture import loss_of, products
from safetensors.torch import load_file, save_file
from torch import nn

DATA, COUNT = 91, 8
DIRECTION = 200
# State, loss, label smoothing.
CASES = {
    "net-nll": ("net", "nll", 0.0),
    "net-mse": ("net", "mse", 0.0),
    "relu-nll": ("relu", "nll", 0.0),
    "relu-mse": ("relu", "mse", 0.0),
    "relu-nll-smoothed": ("relu", "nll", 0.2),
}


class Residual(nn.Module):
    """relu.toml's residual block."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = three(6, 10, 2), nn.BatchNorm2d(10)
        self.conv2, self.bn2 = three(10, 10), nn.BatchNorm2d(10)
        self.shortcut = nn.ModuleDict({"conv1": nn.Conv2d(6, 10, 1, 2, bias=False), "bn1": nn.BatchNorm2d(10)})

    def forward(self, x):
        main = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return main + self.shortcut["bn1"](self.shortcut["conv1"](x))


class Relu(nn.Module):
    """assets/parity/relu.toml."""

    def __init__(self):
        super().__init__()
        self.conv1, self.block1 = three(3, 6, bias=True), Residual()
        self.conv2, self.bn1 = nn.Conv2d(10, 10, 3, padding=1, groups=10, bias=False), nn.BatchNorm2d(10)
        self.fc1 = nn.Linear(10, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.relu(self.block1(x))
        return self.fc1(torch.relu(self.bn1(self.conv2(x))).mean((2, 3)))


def make_state(model):
    """Jostle's initial weights, norms that do something, and the running statistics of a few batches."""
    initialise(model)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for index, parameter in enumerate(parameter for norm in norms for parameter in (norm.weight, norm.bias)):
        parameter.data += torch.from_numpy(hashed(index, len(parameter)).astype(float) / 2**64 - 0.5)
    with torch.no_grad():
        for batch in range(4):
            model(samples(DATA + 2 + batch, COUNT)[0].float())
    kept = {name: value for name, value in model.state_dict().items() if not name.endswith("tracked")}
    save_file({name: value.contiguous() for name, value in kept.items()}, OUT / "relu.safetensors")


def load(name, dtype):
    model = {"net": Net, "relu": Relu}[name]()
    model.load_state_dict(load_file(OUT / f"{name}.safetensors"), strict=False)
    return model.to(dtype).eval()


def flat_products(case, dtype):
    name, loss, smoothing = CASES[case]
    model, (inputs, labels) = load(name, dtype), samples(DATA, COUNT)
    names, params = zip(*model.named_parameters())
    signs = [(hashed(DIRECTION + i, p.numel()) & 1).astype(float) * 2 - 1 for i, p in enumerate(params)]
    direction = [torch.from_numpy(sign).to(dtype).reshape(p.shape) for sign, p in zip(signs, params)]
    forward = lambda *p: torch.func.functional_call(model, dict(zip(names, p)), (inputs.to(dtype),))
    params = [p.detach() for p in params]
    return products(params, direction, forward, lambda outputs: loss_of(loss, outputs, labels, smoothing))


def main():
    make_state(Relu())
    tensors = {}
    for case in CASES:
        exact, single = (flat_products(case, dtype) for dtype in (torch.float64, torch.float32))
        for kind, truth, rounded in zip(["hessian", "gauss_newton"], exact, single):
            apart = max(float((r.double() - t).abs().max() / t.abs().max()) for t, r in zip(truth, rounded))
            least = min(float(t.abs().max()) for t in truth)
            print(f"{case}/{kind}: float32 is {apart:.1e} apart; largest entries from {least:.1e}")
            tensors[f"{case}/{kind}"] = torch.cat([t.flatten() for t in truth]).float()
    path = OUT / "curvature_conv.safetensors"
    save_file(tensors, path, metadata={"torch": torch.__version__.split("+")[0]})
    print(f"wrote {path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
