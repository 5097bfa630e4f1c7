"""Transformers in PyTorch with Jostle's names and layouts, and what both sides draw by the same formulas: see the scripts that use it.

Attention is written out (the MATH form), for only that has second derivatives.
"""

import numpy as np
import torch
from make_conv_parity import hashed
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    """softmax(q k' / sqrt(d)) v of packed q, k, v, each [channels], heads contiguous in each."""

    def __init__(self, channels, heads, causal, names, bias=True):
        super().__init__()
        self.heads, self.causal, self.names = heads, causal, names
        setattr(self, names[0], nn.Linear(channels, 3 * channels, bias=bias))
        setattr(self, names[1], nn.Linear(channels, channels, bias=bias))

    def forward(self, x):
        batch, length, channels = x.shape
        heads = lambda part: part.view(batch, length, self.heads, channels // self.heads).transpose(1, 2)
        q, k, v = (heads(part) for part in getattr(self, self.names[0])(x).split(channels, dim=2))
        scores = q @ k.transpose(-2, -1) / (channels // self.heads) ** 0.5
        if self.causal:
            above = torch.ones(length, length, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(above, -torch.inf)
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, channels)
        return getattr(self, self.names[1])(mixed)


class Mlp(nn.Module):
    def __init__(self, channels, names, bias=True):
        super().__init__()
        self.names = names
        setattr(self, names[0], nn.Linear(channels, 4 * channels, bias=bias))
        setattr(self, names[1], nn.Linear(4 * channels, channels, bias=bias))

    def forward(self, x):
        return getattr(self, self.names[1])(F.gelu(getattr(self, self.names[0])(x)))


class GptBlock(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(channels), Attention(channels, heads, True, ("c_attn", "c_proj"))
        self.ln_2, self.mlp = nn.LayerNorm(channels), Mlp(channels, ("c_fc", "c_proj"))

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Gpt(nn.Module):
    """nanoGPT's model with biases, its head tied to the embedding."""

    def __init__(self, layers, heads, channels, block, vocabulary):
        super().__init__()
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(vocabulary, channels),
            "wpe": nn.Embedding(block, channels),
            "h": nn.ModuleList([GptBlock(channels, heads) for _ in range(layers)]),
            "ln_f": nn.LayerNorm(channels),
        })

    def forward(self, tokens):
        parts = self.transformer
        x = parts["wte"](tokens) + parts["wpe"].weight[: tokens.shape[1]]
        for block in parts["h"]:
            x = block(x)
        return F.linear(parts["ln_f"](x), parts["wte"].weight).flatten(0, 1)


class ViTBlock(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = Attention(channels, heads, False, ("qkv", "proj"))
        self.norm2, self.mlp = nn.LayerNorm(channels, eps=1e-6), Mlp(channels, ("fc1", "fc2"))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """timm's VisionTransformer: a class token, learned positions, layer norms before and at the end, a linear head."""

    def __init__(self, layers, heads, channels, patch, side=32, classes=10):
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, channels, patch, patch)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, channels))
        self.pos_embed = nn.Parameter(torch.zeros(1, (side // patch) ** 2 + 1, channels))
        self.blocks = nn.ModuleList([ViTBlock(channels, heads) for _ in range(layers)])
        self.norm, self.head = nn.LayerNorm(channels, eps=1e-6), nn.Linear(channels, classes)

    def forward(self, images):
        x = self.patch_embed["proj"](images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


def hashed_tokens(seed, count, vocabulary):
    return torch.from_numpy((hashed(seed, count) % np.uint64(vocabulary)).astype(np.int64))


def windows(tokens, length, first, count):
    """Windows `first` on, each from where the one before it ends, and the token after each of theirs."""
    starts = range(first * length, (first + count) * length, length)
    inputs = torch.stack([tokens[start : start + length] for start in starts])
    return inputs, torch.cat([tokens[start + 1 : start + length + 1] for start in starts])


def draw(seed, shape, is_norm_scale, bound=0.1):
    """Uniform in +-bound, around 1 for the scales of norms, as float32: (hash / 2^64 - 1/2) 2 bound."""
    count = int(np.prod(shape))
    values = (hashed(seed, count).astype(np.float64) * 2.0**-64 - 0.5) * (2 * bound)
    return torch.from_numpy((values + float(is_norm_scale)).astype(np.float32).reshape(shape))


def is_norm_scale(name):
    parts = name.split(".")
    return parts[-1] == "weight" and any(part.startswith(("ln_", "norm")) for part in parts[-2:-1])


def initialise(named, seed):
    """Every tensor by its name's place in the sorted list of names."""
    for place, (name, value) in enumerate(sorted(named.items())):
        value.data.copy_(draw(seed + place, tuple(value.shape), is_norm_scale(name)))
