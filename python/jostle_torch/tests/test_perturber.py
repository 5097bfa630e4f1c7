"""The object that counts steps, and is saved along with the optimizer."""

from __future__ import annotations

import io

import pytest
import torch
from networks import bits, mlp, same_bits

from jostle_torch import Perturber, perturbed


def train(model, optimizer, noise, steps):
    generator = torch.Generator().manual_seed(noise.step)
    for _ in range(steps):
        inputs = torch.randn(8, 6, generator=generator)
        optimizer.zero_grad()
        with noise:
            model(inputs).square().mean().backward()
        optimizer.step()
        generator.manual_seed(noise.step)


def test_it_is_perturbed_with_a_count():
    model = mlp(6, 5, 3)
    noise = Perturber(model, 0.3, "layer", seed=5, order="random")
    for step in range(6):
        assert noise.step == step
        with noise as own:
            within = bits(model)
        with perturbed(model, 0.3, "layer", seed=5, order="random", step=step) as other:
            assert same_bits(model, within)
        assert own == other


def test_a_saved_run_goes_on_bit_for_bit():
    def parts():
        model = mlp(6, 5, 3)
        return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), Perturber(model, 0.2, "layer", seed=3)

    model, optimizer, noise = parts()
    train(model, optimizer, noise, 4)
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "noise": noise.state_dict()}, file)
    train(model, optimizer, noise, 5)

    other, other_optimizer, _ = parts()
    other_noise = Perturber(other, 0.9, "all", seed=1, groups="weights")
    file.seek(0)
    state = torch.load(file, weights_only=True)
    other.load_state_dict(state["model"])
    other_optimizer.load_state_dict(state["optimizer"])
    other_noise.load_state_dict(state["noise"])
    train(other, other_optimizer, other_noise, 5)
    assert same_bits(other, bits(model))
    assert other_noise.state_dict() == noise.state_dict()


def test_a_step_that_raised_does_not_count():
    model = mlp(6, 5, 3)
    before = bits(model)
    noise = Perturber(model, 0.3)
    with pytest.raises(ValueError), noise:
        raise ValueError
    assert noise.step == 0
    assert same_bits(model, before)
    with noise, pytest.raises(RuntimeError, match="already"):
        noise.__enter__()
    assert noise.step == 1
    assert same_bits(model, before)


def test_sigma_may_be_scheduled():
    model = mlp(6, 5, 3)
    noise = Perturber(model, 0.5)
    with noise as step:
        assert step.sigma == 0.5
    noise.sigma = 0.0
    before = bits(model)
    with noise as step:
        assert step.names == ()
        assert same_bits(model, before)
    noise.sigma = -1.0
    with pytest.raises(ValueError, match=r"sigma is -1\.0"):
        noise.__enter__()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tensors": 9}, "the state is of a model of 9 parameter tensors, and this model has 4"),
        ({"velocity": 1}, "this is no state of a Perturber: velocity"),
        ({"mode": "some"}, "mode is 'some'"),
        ({"step": -1}, "step is -1"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message):
    noise = Perturber(mlp(6, 5, 3), 0.3, seed=4)
    before = noise.state_dict()
    with pytest.raises(ValueError, match=message):
        noise.load_state_dict({**before, "sigma": 0.7, **change})
    assert noise.state_dict() == before
