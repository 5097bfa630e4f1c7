"""What the context does to weights, and that it undoes it."""

from __future__ import annotations

import math

import pytest
import torch
from networks import bits, mlp, network, same_bits
from torch import nn

import jostle_torch
from jostle_torch import perturbed

EVERY = [(mode, scale) for mode in jostle_torch.MODES for scale in jostle_torch.SCALES]


@pytest.mark.parametrize(("mode", "scale"), EVERY)
def test_weights_are_noisy_within_and_the_same_bits_after(mode, scale):
    model = network("cnn")
    before = bits(model)
    clean = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    expected = jostle_torch.deltas(model, 0.1, mode, step=4, scale=scale)
    with perturbed(model, 0.1, mode, step=4, scale=scale) as noise:
        for name, parameter in model.named_parameters():
            assert torch.equal(parameter, clean[name] + expected[name])
            assert (name in noise.names) == bool(expected[name].any())
    assert same_bits(model, before)


def test_odd_values_come_back_bit_for_bit():
    model = nn.Linear(8, 1, bias=False)
    odd = [math.nan, -0.0, 0.0, math.inf, -math.inf, 1e-45, 3e38, 1e-30]
    with torch.no_grad():
        model.weight.copy_(torch.tensor([odd]))
        model.weight.view(torch.int32)[0, 0] = 0x7FC0_1234  # a NaN with something to say
    before = bits(model)
    with perturbed(model, 1.0, step=0):
        assert not same_bits(model, before)
    assert same_bits(model, before)


def test_gradients_are_those_at_the_noisy_weights():
    model, twin = mlp(6, 5, 3), mlp(6, 5, 3)
    inputs = torch.randn(4, 6)
    with perturbed(model, 0.3, "model", step=2, seed=9):
        model(inputs).square().mean().backward()
    delta = jostle_torch.deltas(twin, 0.3, "model", step=2, seed=9)
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            parameter.add_(delta[name])
    twin(inputs).square().mean().backward()
    for parameter, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(parameter.grad, other.grad)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_weights_clean(error):
    model = mlp(6, 5, 3)
    before = bits(model)
    with pytest.raises(error), perturbed(model, 0.3, "all", step=2):
        raise error
    assert same_bits(model, before)
    with perturbed(model, 0.3, step=3):
        pass


def test_an_exception_amid_the_noise_leaves_the_weights_clean(monkeypatch):
    model = mlp(6, 5, 3)
    before = bits(model)
    real = torch.Tensor.add_
    calls = []

    def failing(self, *args, **kwargs):
        if isinstance(self, nn.Parameter):
            calls.append(self)
            if len(calls) == 3:
                raise MemoryError("no more")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(nn.Parameter, "add_", failing, raising=False)
    with pytest.raises(MemoryError), perturbed(model, 0.3, "all", step=2):
        pass
    assert len(calls) == 3
    monkeypatch.undo()
    assert same_bits(model, before)
    with perturbed(model, 0.3, "all", step=2):
        pass


def test_only_what_is_touched_is_copied():
    model = mlp(6, 5, 3)
    context = perturbed(model, 0.3, "layer", step=1)
    with context as noise:
        assert noise.names == ("fc1.bias",)
        assert [name for name, _, _ in context._saved] == ["fc1.bias"]
    assert context._saved == []


def test_a_nested_context_on_the_same_parameters_is_refused():
    model = mlp(6, 5, 3)
    before = bits(model)
    with perturbed(model, 0.3, step=0):
        with pytest.raises(RuntimeError, match=r"fc1\.weight is within a perturbed\(\.\.\.\) already"):
            perturbed(model, 0.3, step=1).__enter__()
        with pytest.raises(RuntimeError, match="already"), perturbed(nn.Sequential(model.fc2), 0.3, step=1):
            pass
        with perturbed(mlp(6, 5, 3), 0.3, step=0):  # another model's are its own
            pass
    assert same_bits(model, before)
    with perturbed(model, 0.3, step=0):
        pass


class Tied(nn.Module):
    """An embedding that is the output's weight as well, as in language models."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.hidden = nn.Linear(4, 4)
        self.output = nn.Linear(4, 7)
        self.output.weight = self.embedding.weight


def test_a_parameter_of_two_names_counts_once():
    model = Tied()
    before = bits(model)
    once = jostle_torch.deltas(model, 0.3, "model", step=0)
    assert list(once) == ["embedding.weight", "hidden.weight", "hidden.bias", "output.bias"]
    clean = model.output.weight.detach().clone()
    with perturbed(model, 0.3, "model", step=0) as noise:
        assert noise.names == tuple(once)
        assert torch.equal(model.output.weight, clean + once["embedding.weight"])
    assert same_bits(model, before)
    with perturbed(model, 0.3, step=3) as noise:
        assert noise.names == ("output.bias",)  # M is 4


def test_two_parameters_in_the_same_memory_are_refused():
    model = mlp(4, 4, 4)
    model.fc2.weight.data = model.fc1.weight.data
    before = bits(model)
    for mode, step in (("all", 0), ("layer", 1)):
        with pytest.raises(ValueError, match=r"fc1\.weight and fc2\.weight are two parameters in the same memory"):
            perturbed(model, 0.3, mode, step=step).__enter__()
    assert same_bits(model, before)
    halves = mlp(4, 4, 4)
    storage = torch.zeros(32)
    halves.fc1.weight.data, halves.fc2.weight.data = storage[:16].view(4, 4), storage[16:].view(4, 4)
    with perturbed(halves, 0.3, "all", step=0):  # beside each other is well
        pass


def test_writing_within_the_context_is_told():
    model = mlp(6, 5, 3)
    before = bits(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(RuntimeError, match=r"fc1\.weight was written to while it was noisy"):
        with perturbed(model, 0.3, step=0):
            model(torch.ones(2, 6)).sum().backward()
            optimizer.step()
    with torch.no_grad():
        assert torch.equal(bits(model)["fc1.weight"], before["fc1.weight"])


def test_backward_after_the_context_is_refused_by_autograd():
    model = mlp(6, 5, 3)
    with perturbed(model, 0.3, "all", step=0):
        loss = model(torch.ones(2, 6)).sum()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "layers"}, "mode is 'layers', and has to be one of none, all, layer, model"),
        ({"groups": "layer"}, "groups is 'layer', and has to be one of tensor, module, weights"),
        ({"distribution": "normal"}, "distribution is 'normal'"),
        ({"scale": "relative"}, "scale is 'relative'"),
        ({"order": "shuffled"}, "order is 'shuffled'"),
        ({"seed": -1}, "seed is -1, and has to be from 0 to"),
        ({"seed": 1 << 64}, "seed is 18446744073709551616"),
        ({"step": -1}, "step is -1, and has to be from 0 to"),
        ({"sigma": -0.1}, "sigma is -0.1, and has to be a number of 0 or more"),
        ({"sigma": math.nan}, "sigma is nan"),
        ({"sigma": math.inf}, "sigma is inf"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        perturbed(mlp(2, 2), **{"sigma": 0.1, "step": 0, **arguments})


def test_frozen_parameters_keep_their_number_and_stay_clean():
    model, frozen = mlp(6, 5, 3), mlp(6, 5, 3)
    frozen.fc1.requires_grad_(False)
    whole = jostle_torch.deltas(model, 0.3, "model", step=0)
    part = jostle_torch.deltas(frozen, 0.3, "model", step=0)
    assert not part["fc1.weight"].any()
    assert torch.equal(part["fc2.weight"], whole["fc2.weight"])
    with perturbed(frozen, 0.3, step=0) as noise:
        assert noise.names == ("fc2.weight",)


def test_weights_are_neither_biases_nor_normalisations():
    class OwnNorm(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(4))

    model = nn.ModuleDict(
        {
            "linear": nn.Linear(4, 4),
            "batch": nn.BatchNorm1d(4),
            "layer": nn.LayerNorm([2, 2]),
            "own": OwnNorm(),
            "attention": nn.MultiheadAttention(4, 2),
            "recurrent": nn.LSTM(4, 2),
        }
    )
    with perturbed(model, 0.1, "all", step=0, groups="weights") as noise:
        assert noise.names == (
            "linear.weight",
            "attention.in_proj_weight",
            "attention.out_proj.weight",
            "recurrent.weight_ih_l0",
            "recurrent.weight_hh_l0",
        )
        assert noise.sigma == pytest.approx(0.1 / math.sqrt(5), rel=1e-7)


@pytest.mark.parametrize("model", [network("cnn"), Tied(), nn.TransformerEncoderLayer(4, 2, 8)])
def test_parameters_are_numbered_as_pytorch_names_them(model):
    assert list(jostle_torch.deltas(model, 0.1, step=0)) == [name for name, _ in model.named_parameters()]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_take_the_same_noise_rounded_once(dtype):
    model = mlp(6, 5, 3)
    delta = jostle_torch.deltas(model, 0.3, "all", step=5)
    model = model.to(dtype)
    before = bits(model)
    clean = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    with perturbed(model, 0.3, "all", step=5):
        for name, parameter in model.named_parameters():
            wide = clean[name] if dtype == torch.float64 else clean[name].float()
            assert torch.equal(parameter, (wide + delta[name]).to(dtype))
    assert same_bits(model, before)


def test_memory_format_does_not_matter():
    plain, last = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
    assert not last.weight.is_contiguous()
    with torch.no_grad():
        last.weight.copy_(plain.weight)
        last.bias.copy_(plain.bias)
    stride = last.weight.stride()
    before = bits(last)
    with perturbed(plain, 0.3, "all", step=5, scale="filter"), perturbed(last, 0.3, "all", step=5, scale="filter"):
        assert torch.equal(plain.weight, last.weight)
    assert same_bits(last, before)
    assert last.weight.stride() == stride


def test_complex_parameters_are_refused():
    model = nn.Linear(3, 3, dtype=torch.complex64)
    with pytest.raises(TypeError, match=r"weight is torch\.complex64"), perturbed(model, 0.1, step=0):
        pass


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("mode", "scale"), EVERY)
def test_on_cuda_the_same(mode, scale):
    expected = jostle_torch.deltas(network("cnn"), 0.1, mode, step=4, scale=scale)
    model = network("cnn").cuda()
    before = bits(model)
    with perturbed(model, 0.1, mode, step=4, scale=scale):
        pass
    assert same_bits(model, before)
    for name, delta in jostle_torch.deltas(model, 0.1, mode, step=4, scale=scale).items():
        torch.testing.assert_close(delta.cpu(), expected[name], rtol=2.0**-22 if scale == "filter" else 0.0, atol=0.0)
