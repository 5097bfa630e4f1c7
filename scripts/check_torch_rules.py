#!/usr/bin/env python3
"""Holds scripts/torch_rules.py and scripts/torch_optimizers.py against the packages ivon-opt and pytorch-optimizer and against torch.optim:
ten steps in float64 on a small network with batch norms; weights and running statistics have to agree to 1e-12.
scripts/check_published_rules.py does it for the rules that no package has.

    pip install torch ivon-opt pytorch-optimizer pytest
    python scripts/check_torch_rules.py
"""

import importlib.metadata
import sys
import unittest.mock

import ivon
import pytest
import pytorch_optimizer
import torch
import torch_optimizers as optimizers
import torch_rules as rules
from torch import nn

STEPS, BATCH, LR, MOMENTUM, DECAY = 10, 16, 0.05, 0.9, 5e-4
SGD = {"lr": LR, "momentum": MOMENTUM, "weight_decay": DECAY}
CLOSE = 1e-12
# pytorch-optimizer adds up the norm of SAM's ascent in float32.
IN_FLOAT32 = 1e-8


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.fc1 = nn.Linear(36, 10)

    def forward(self, x):
        return self.fc1(torch.tanh(self.bn1(self.conv1(x))).flatten(1))


class Plain(nn.Module):
    """Every tensor's name has "weight"."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(50, 12, bias=False), nn.Linear(12, 10, bias=False)

    def forward(self, x):
        return self.fc2(torch.tanh(self.fc1(x.flatten(1))))


def network(kind=Net):
    torch.manual_seed(3)
    return kind().double()


def batches(count=STEPS):
    torch.manual_seed(4)
    return [(torch.randn(BATCH, 2, 5, 5).double(), torch.randint(10, (BATCH,))) for _ in range(count)]


def backward(model, batch):
    loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
    loss.backward()
    return loss


def norms_move(model, moving):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1 if moving else 0.0


def named(model):
    return {name: value.data for name, value in model.named_parameters()}


def normals(weights, seed):
    """What a reference draws tensor by tensor after seeding."""
    torch.manual_seed(seed)
    return {name: torch.randn_like(value) for name, value in weights.items()}


def ours(step, moving, kind=Net, count=STEPS, optimizer=lambda parameters: torch.optim.SGD(parameters, **SGD)):
    """The model after `step(weights, evaluate, batch, number, optimizer)`, which gives a gradient for the optimizer or None."""
    model = network(kind)
    weights, evaluate = named(model), rules.Evaluator(model, moving)
    optimizer = optimizer(model.parameters())
    for number, batch in enumerate(batches(count)):
        gradient = step(weights, evaluate, batch, number, optimizer)
        if gradient is not None:
            for name, value in model.named_parameters():
                value.grad = gradient[name]
            optimizer.step()
    return model


def assert_same(model, reference, atol=CLOSE):
    theirs = reference.state_dict()
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, theirs[name], rtol=0, atol=atol, msg=lambda text, name=name: f"{name}: {text}")


def sam_of(optimizer, model):
    """SAM's loop as published: the first pass moves the statistics, the second does not."""
    for batch in batches():
        norms_move(model, True)
        backward(model, batch)
        optimizer.first_step(zero_grad=True)
        norms_move(model, False)
        backward(model, batch)
        optimizer.second_step(zero_grad=True)


def our_sam(weights, evaluate, batch, _number, _optimizer):
    return rules.sam(weights, evaluate, batch, 0.1)[1]


def our_asam(eta):
    return lambda weights, evaluate, batch, _number, _optimizer: rules.asam(weights, evaluate, batch, 0.7, eta)[1]


def test_sam_is_that_of_pytorch_optimizer():
    model = network()
    sam_of(pytorch_optimizer.SAM(model.parameters(), torch.optim.SGD, rho=0.1, **SGD), model)
    assert_same(ours(our_sam, ["clean"]), model, IN_FLOAT32)


def test_adaptive_sam_of_pytorch_optimizer_is_asam_without_eta_where_all_are_weights():
    model = network(Plain)
    sam_of(pytorch_optimizer.SAM(model.parameters(), torch.optim.SGD, rho=0.7, adaptive=True, **SGD), model)
    assert_same(ours(our_asam(0.0), ["clean"], Plain), model, IN_FLOAT32)


@pytest.mark.parametrize("samples, radius", [(1, float("inf")), (3, float("inf")), (1, 0.01)])
def test_ivon_is_that_of_ivon_opt(samples, radius):
    model = network()
    about = {"beta1": 0.9, "beta2": 0.98, "hess_init": 0.25}
    optimizer = ivon.IVON(model.parameters(), lr=0.2, ess=500.0, weight_decay=2e-3, clip_radius=radius, **about)
    for number, batch in enumerate(batches()):
        torch.manual_seed(number)
        for _ in range(samples):
            with optimizer.sampled_params(train=True):
                optimizer.zero_grad()
                backward(model, batch)
        optimizer.step()
    state = {}

    def step(weights, evaluate, batch, number, _optimizer):
        torch.manual_seed(number)
        sizes = [value.numel() for value in weights.values()]
        flat = [torch.randn(sum(sizes), dtype=torch.float64) for _ in range(samples)]
        draws = [{name: part.view_as(weights[name]) for name, part in zip(weights, one.split(sizes))} for one in flat]
        rules.ivon(weights, evaluate, batch, draws, state, lr=0.2, decay=2e-3, ess=500.0, radius=radius, **about)

    assert_same(ours(step, ["perturbed"]), model)


def test_swag_mean_is_that_of_torch_swa_utils():
    found, model = rules.Swag(4), network()
    average = torch.optim.swa_utils.AveragedModel(model)
    for number in range(5):
        for name, value in model.named_parameters():
            value.data.add_(normals(named(model), number)[name], alpha=0.1)
        average.update_parameters(model)
        found.collect(named(model))
    for name, value in average.module.named_parameters():
        torch.testing.assert_close(found.mean[name], value.data, rtol=0, atol=CLOSE)


def plain_run(optimizer, kind=Net):
    """The model after plain steps of what `optimizer` makes of it."""
    model = network(kind)
    optimizer = optimizer(model)
    for batch in batches():
        optimizer.zero_grad()
        backward(model, batch)
        optimizer.step()
    return model, optimizer


def test_lion_is_that_of_pytorch_optimizer():
    about = {"lr": 1e-3, "betas": (0.8, 0.95), "weight_decay": 0.1}
    theirs, _ = plain_run(lambda model: pytorch_optimizer.Lion(model.parameters(), weight_decouple=True, foreach=False, **about))
    assert_same(plain_run(lambda model: optimizers.Lion(model.parameters(), **about))[0], theirs)


@pytest.mark.parametrize("nesterov", [True, False])
def test_muon_is_that_of_torch_but_for_its_bfloat16(nesterov):
    about = {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1, "nesterov": nesterov}
    as_it_is = torch.Tensor.to

    def to(self, *args, **more):
        return self.clone() if more.get("dtype") == torch.bfloat16 else as_it_is(self, *args, **more)

    with unittest.mock.patch.object(torch.Tensor, "to", to):
        theirs, _ = plain_run(lambda model: torch.optim.Muon(model.parameters(), **about), Plain)
    assert_same(plain_run(lambda model: optimizers.Muon(model.parameters(), [torch.zeros(1)], **about), Plain)[0], theirs)


def test_schedule_free_is_that_of_pytorch_optimizer():
    about = {"lr": 0.5, "momentum": 0.8, "weight_decay": 1e-2}
    theirs, switch = plain_run(lambda model: pytorch_optimizer.ScheduleFreeSGD(model.parameters(), foreach=False, **about))
    model, optimizer = plain_run(lambda model: optimizers.ScheduleFree(model.parameters(), **about))
    assert_same(model, theirs)
    switch.eval()
    for value in model.parameters():
        value.data.copy_(optimizer.averaged(value))
    assert_same(model, theirs)


def main():
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "ivon-opt", "pytorch-optimizer")))
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", __file__]))


if __name__ == "__main__":
    main()
