"""Unit noise as a pure function of (seed, step, tensor, element): the engine's arithmetic in the engine's order.

    counter = (element / 8, tensor, step, stream), key = seed; element % 8 picks one of its eight draws

Gaussians come from tables of every radius and every angle, computed on the CPU by operations that are kernels of their
own, so that no compiler fuses a product with a sum: the bits are the same on every device.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

# Which use of randomness a counter serves; the last word of Philox' counter.
STREAM_WEIGHTS = 0
STREAM_GROUP = 2

DRAWS = 8  # of one counter
# Counters at once: little enough for a CPU's caches, and on a GPU enough to fill it.
CPU_OCTETS, GPU_OCTETS = 1 << 14, 1 << 20

WORD = 0xFFFFFFFF
# Salmon et al., SC 2011. Less 2^32 the multipliers are below 2^30 in size, so that a product with a word fits in int64:
# M c = (M - 2^32) c + 2^32 c, hence its upper word is that of (M - 2^32) c, plus c.
MULTIPLIER_0 = 0xD2511F53 - (1 << 32)
MULTIPLIER_1 = 0xCD9E8D57 - (1 << 32)
WEYL_0, WEYL_1 = 0x9E3779B9, 0xBB67AE85

Word = int | Tensor
Words = tuple[Word, Word, Word, Word]


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Philox4x32-10 (Salmon et al., SC 2011): four words of random bits from four of a counter and two of a key.

    Words are whole numbers from 0 to 2^32 - 1: ints, int64 tensors whose shapes broadcast, or some of each.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * MULTIPLIER_0, c2 * MULTIPLIER_1
        c0, c1, c2, c3 = (p1 >> 32) + c2 ^ c1 ^ k0, p1 & WORD, (p0 >> 32) + c0 ^ c3 ^ k1, p0 & WORD
        k0, k1 = k0 + WEYL_0 & WORD, k1 + WEYL_1 & WORD
    return c0, c1, c2, c3


def key_of(seed: int) -> tuple[int, int]:
    """The two words of a seed, as Philox' key."""
    return seed & WORD, seed >> 32


def _log(x: Tensor) -> Tensor:
    """log(x) for x in (0, 1): a minimax polynomial on [sqrt(1/2), sqrt(2)), 0x3F3504F3 being sqrt(1/2)."""
    bits = x.view(torch.int32)
    exponent = (bits - 0x3F3504F3) >> 23
    m = (bits - exponent * (1 << 23)).view(torch.float32) - 1.0
    p = m * 9.14212689e-2 - 1.46817207e-1
    p = p * m + 1.49142042e-1
    p = p * m - 1.65032536e-1
    p = p * m + 1.99564770e-1
    p = p * m - 2.50057071e-1
    p = p * m + 3.33341986e-1
    p = p * m - 4.99999166e-1
    return (p * m) * m + m + exponent.to(torch.float32) * 6.9314718e-1


@functools.cache
def _radii(device: torch.device) -> Tensor:
    """Box and Muller's radius for each 20 bits, `[2^20]`; computed on the CPU, so that every device has the same."""
    uniform = (torch.arange(1 << 20, dtype=torch.float32, device="cpu") + 0.5) * 2.0**-20  # in (0, 1), exact
    return torch.sqrt(_log(uniform) * -2.0).to(device)


@functools.cache
def _circle(device: torch.device) -> Tensor:
    """Cosine and sine for each 12 bits, `[4096, 2]`: two of quadrant, ten within (-pi/4, pi/4), none on an axis."""
    angle = (torch.arange(-512, 512, dtype=torch.float32, device="cpu") + 0.5) * 1.5339808e-3
    z = angle * angle
    # Cephes' sinf and cosf.
    s = ((z * -1.9515295891e-4 + 8.3321608736e-3) * z - 1.6666654611e-1) * z * angle + angle
    c = ((z * 2.443315711809948e-5 - 1.388731625493765e-3) * z + 4.166664568298827e-2) * z * z - z * 0.5 + 1.0
    quadrants = [torch.stack(pair, dim=1) for pair in ((c, s), (-s, c), (-c, -s), (s, -c))]
    return torch.cat(quadrants).to(device)


def _box_muller(word: Tensor) -> Tensor:
    """Two standard normals of each word, in a last dimension of 2: 20 bits of radius, 12 of angle."""
    bits = word.reshape(-1)
    radius = _radii(word.device).index_select(0, bits >> 12)
    pairs = _circle(word.device).index_select(0, bits & 0xFFF).mul_(radius.unsqueeze(1))
    return pairs.view(*word.shape, 2)


def _unit(distribution: str, word: Tensor) -> Tensor:
    """Two draws of zero mean and unit variance of each word, in a last dimension of 2."""
    if distribution == "gaussian":
        return _box_muller(word)
    if distribution == "rademacher":
        top = torch.stack(((word >> 15 & 1).to(torch.float32), (word >> 31).to(torch.float32)), dim=-1)
        return top.mul_(-2.0).add_(1.0)
    half = torch.stack(((word & 0xFFFF).to(torch.float32), (word >> 16).to(torch.float32)), dim=-1)
    # An odd integer below 2^16 in size, exact in float32, times sqrt(3) / 2^16.
    return half.mul_(2.0).sub_(65535.0).mul_(2.6428997e-5)


def _octets(distribution: str, seed: int, step: int, tensor: int | Tensor, octet: Tensor) -> Tensor:
    """The eight draws of each counter, `[octets, 8]`."""
    words = philox((octet, tensor, step & WORD, STREAM_WEIGHTS), key_of(seed))
    whole = torch.stack([word for word in words if isinstance(word, Tensor)], dim=-1)  # as all four are
    return _unit(distribution, whole).view(-1, DRAWS)


def unit_noises(
    distribution: str, seed: int, step: int, tensors: Iterable[tuple[int, int]], device: torch.device
) -> Iterator[Tensor]:
    """Unit noise of each of some tensors, given as (number, elements): float32, flat, in order of the elements.

    Small tensors are drawn together: on a GPU a draw costs its launches.
    """
    limit = CPU_OCTETS if device.type == "cpu" else GPU_OCTETS
    batch: list[tuple[int, int]] = []
    held = 0
    for number, elements in tensors:
        octets = math.ceil(elements / DRAWS)
        if batch and held + octets > limit:
            yield from _together(distribution, seed, step, batch, device)
            batch, held = [], 0
        if octets > limit:
            yield _alone(distribution, seed, step, number, elements, device, limit)
        else:
            batch.append((number, elements))
            held += octets
    if batch:
        yield from _together(distribution, seed, step, batch, device)


def _alone(
    distribution: str, seed: int, step: int, number: int, elements: int, device: torch.device, limit: int
) -> Tensor:
    """A tensor of more counters than are drawn at once."""
    octets = math.ceil(elements / DRAWS)
    noise = torch.empty(octets, DRAWS, device=device)
    for start in range(0, octets, limit):
        octet = torch.arange(start, min(start + limit, octets), device=device)
        noise[start : start + limit] = _octets(distribution, seed, step, number, octet)
    return noise.view(-1)[:elements]


def _together(
    distribution: str, seed: int, step: int, batch: Sequence[tuple[int, int]], device: torch.device
) -> Iterator[Tensor]:
    """Tensors whose counters are drawn at once."""
    counts = [math.ceil(elements / DRAWS) for _, elements in batch]
    total = sum(counts)
    octet = torch.arange(total, device=device)
    if len(batch) == 1:
        noise = _octets(distribution, seed, step, batch[0][0], octet)
    else:
        starts = [0, *itertools.accumulate(counts[:-1])]
        table = torch.tensor([counts, starts, [number for number, _ in batch]], device=device)
        first, number = torch.repeat_interleave(table[1:], table[0], dim=1, output_size=total)
        noise = _octets(distribution, seed, step, number, octet - first)
    end = 0
    for count, (_, elements) in zip(counts, batch, strict=True):
        start, end = end, end + count
        yield noise[start:end].view(-1)[:elements]


def unit_noise(
    distribution: str, seed: int, step: int, tensor: int, elements: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Unit noise of the first `elements` elements of tensor number `tensor`: zero mean, unit variance, float32."""
    (noise,) = unit_noises(distribution, seed, step, [(tensor, elements)], torch.device(device))
    return noise
