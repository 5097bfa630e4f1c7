"""Philox against its published answers, and the draws against exact arithmetic."""

import math

import pytest
import torch

import jostle_torch
from jostle_torch import draw

# Random123's tests/kat_vectors, Philox4x32-10: counter, key, answer.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_gives_the_published_answers(counter, key, answer):
    assert jostle_torch.philox(counter, key) == answer


@pytest.mark.parametrize("key", [key for _, key, _ in KNOWN])
def test_philox_of_tensors_is_that_of_numbers(key):
    counters = torch.tensor([counter for counter, _, _ in KNOWN])
    words = torch.stack(jostle_torch.philox(tuple(counters.unbind(1)), key), dim=1)
    assert words.tolist() == [list(jostle_torch.philox(tuple(counter), key)) for counter in counters.tolist()]
    mixed = jostle_torch.philox((counters[:, 0], 3, 5, 0), key)
    assert torch.stack(mixed, dim=1).tolist() == [
        list(jostle_torch.philox((first, 3, 5, 0), key)) for first in counters[:, 0].tolist()
    ]


def ulps_from_exact(found, exact):
    """Distances in units of the last place of float32 at the exact value."""
    spacing = torch.from_numpy(exact.abs().float().numpy()).double()
    spacing = torch.nextafter(spacing.float(), torch.tensor(math.inf)).double() - spacing.float().double()
    return ((found.double() - exact) / spacing).abs().max().item()


def exact_pairs(word):
    """Box and Muller's method in float64."""
    radius = (-2.0 * (((word >> 12).double() + 0.5) * 2.0**-20).log()).sqrt()
    within = ((word & 0x3FF).double() - 511.5) / 1024 * (math.pi / 2)
    angle = within + (word >> 10 & 3).double() * (math.pi / 2)
    return torch.stack((radius * angle.cos(), radius * angle.sin()), dim=-1)


def test_gaussians_are_exact_to_four_ulp_for_every_radius_and_every_angle():
    radii = (torch.arange(1 << 20) << 12) | 0x155
    angles = torch.cat([(radius << 12) | torch.arange(1 << 12) for radius in (0, 1, 4711, 0x7FFFF, 0xFFFFF)])
    for word in (radii, angles):
        assert ulps_from_exact(draw._box_muller(word), exact_pairs(word)) <= 4.0


@pytest.mark.parametrize("distribution", jostle_torch.DISTRIBUTIONS)
def test_draws_have_zero_mean_unit_variance_and_no_correlation(distribution):
    noise = jostle_torch.unit_noise(distribution, 3, 9, 2, 1 << 20).double()
    error = 5 / math.sqrt(noise.numel())
    assert abs(noise.mean().item()) < error
    assert abs(noise.square().mean().item() - 1) < 2 * error
    assert abs((noise[1:] * noise[:-1]).mean().item()) < error


@pytest.mark.parametrize("distribution", jostle_torch.DISTRIBUTIONS)
def test_a_draw_depends_on_nothing_but_seed_step_tensor_and_element(distribution, monkeypatch):
    sizes = [(0, 5), (1, 8), (4, 1000), (7, 0), (9, 131), (2, 64)]
    alone = [jostle_torch.unit_noise(distribution, 1 << 40, 6, number, elements) for number, elements in sizes]
    for limit in (1, 16, 17, 1 << 14):  # tensors in pieces, some together, all together
        monkeypatch.setattr(draw, "CPU_OCTETS", limit)
        together = list(draw.unit_noises(distribution, 1 << 40, 6, sizes, torch.device("cpu")))
        assert all(torch.equal(noise, other) for noise, other in zip(together, alone, strict=True))
    longer = jostle_torch.unit_noise(distribution, 1 << 40, 6, 4, 3000)
    assert torch.equal(longer[:1000], alone[2])


def test_another_seed_step_or_tensor_gives_another_draw():
    places = [(1, 2, 3), (1 << 32, 2, 3), (1, 3, 3), (1, 2, 4), (2, 2, 3)]
    draws = {tuple(jostle_torch.unit_noise("rademacher", *place, 64).tolist()) for place in places}
    assert len(draws) == len(places)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("distribution", jostle_torch.DISTRIBUTIONS)
def test_cuda_draws_the_bits_of_the_cpu(distribution):
    sizes = [(0, 5), (3, 100_000)]
    on_cpu = draw.unit_noises(distribution, 5, 8, sizes, torch.device("cpu"))
    on_cuda = draw.unit_noises(distribution, 5, 8, sizes, torch.device("cuda"))
    for cpu, cuda in zip(on_cpu, on_cuda, strict=True):
        assert torch.equal(cpu, cuda.cpu())
