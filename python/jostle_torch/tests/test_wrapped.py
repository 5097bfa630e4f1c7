"""Models that are compiled, and models that several processes train."""

from __future__ import annotations

import os
import shutil
import socket

import pytest
import torch
from networks import bits, mlp, same_bits
from torch import nn

from jostle_torch import Perturber, deltas, perturbed

COMPILER = os.environ.get("CXX") or next((name for name in ("g++", "clang++") if shutil.which(name)), None)
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="torch.compile needs a C++ compiler")


def gradients(model, forward, inputs, step):
    model.zero_grad()
    with perturbed(model, 0.3, "all", step=step):
        forward(inputs).square().mean().backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


@needs_compiler
def test_a_compiled_model_sees_the_noise_and_is_compiled_once():
    model = mlp(6, 5, 3)
    torch._dynamo.reset()
    counted = []

    def backend(graph, inputs):
        counted.append(graph)
        return torch._dynamo.lookup_backend("inductor")(graph, inputs)

    compiled = torch.compile(model, backend=backend)
    before = bits(model)
    inputs = torch.randn(4, 6)
    for step in range(3):
        plain = gradients(model, model, inputs, step)
        for own, other in zip(gradients(compiled, compiled, inputs, step), plain, strict=True):
            torch.testing.assert_close(own, other)
    assert same_bits(model, before)
    assert len(counted) == 1
    names = list(deltas(compiled, 0.3, step=0))
    assert names == [f"_orig_mod.{name}" for name, _ in model.named_parameters()]


@needs_compiler
def test_a_compiled_step_may_hold_the_context():
    model = mlp(6, 5, 3)
    torch._dynamo.reset()
    noise, plain_noise = Perturber(model, 0.3, "all"), Perturber(model, 0.3, "all")
    inputs = torch.randn(4, 6)

    def step(noise):
        model.zero_grad()
        with noise:
            loss = model(inputs).square().mean()
            loss.backward()
        return loss.detach()

    compiled = torch.compile(step)
    before = bits(model)
    for _ in range(3):
        loss, own = compiled(noise), [parameter.grad.clone() for parameter in model.parameters()]
        torch.testing.assert_close(loss, step(plain_noise))
        for gradient, parameter in zip(own, model.parameters(), strict=True):
            torch.testing.assert_close(gradient, parameter.grad)
    assert noise.step == 3
    assert same_bits(model, before)


def rank_of_two(rank, port, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    try:
        model = nn.parallel.DistributedDataParallel(mlp(6, 5, 3))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        noise = Perturber(model, 0.3, "layer", seed=8)
        inputs = torch.randn(5, 8, 6, generator=torch.Generator().manual_seed(1))
        for batch in inputs:
            before = bits(model)
            optimizer.zero_grad()
            with noise:
                model(batch[4 * rank : 4 * rank + 4]).square().mean().backward()
            assert same_bits(model, before)
            optimizer.step()
        torch.save(model.module.state_dict(), f"{folder}/{rank}.pt")
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this PyTorch has no torch.distributed")
def test_two_processes_train_as_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(rank_of_two, (port, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))

    model = mlp(6, 5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for step, batch in enumerate(torch.randn(5, 8, 6, generator=torch.Generator().manual_seed(1))):
        optimizer.zero_grad()
        with perturbed(model, 0.3, "layer", seed=8, step=step):
            model(batch).square().mean().backward()
        optimizer.step()
    for name, weight in model.state_dict().items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], weight)
