"""The networks in PyTorch, built as jostle builds them."""

import itertools

import torch
from torch import nn

MLPS = {
    "mlp1": "784-500-500-500-10",
    "mlp2": "784-5000-5000-5000-10",
    "mlp3": "784-1000-1000-1000-1000-1000-10",
}
IMAGE = (3, 32, 32)
CLASSES = 10  # of an image network


class Block(nn.Module):
    """A residual block; an empty shortcut is the identity."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.main = nn.Sequential(
            *conv_norm(inputs, outputs, 3, stride), nn.ReLU(), *conv_norm(outputs, outputs, 3, 1)
        )
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Sequential(*(conv_norm(inputs, outputs, 1, stride) if changes else []))

    def forward(self, value):
        return nn.functional.relu(self.main(value) + self.shortcut(value))


def conv_norm(inputs, outputs, side, stride):
    return [nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False), nn.BatchNorm2d(outputs)]


def linear(*widths):
    """Layers with a ReLU after each but the last."""
    layers = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return layers[:-1]


def cnn1():
    layers = []
    for inputs, outputs in [(IMAGE[0], 6), (6, 16)]:
        layers += [nn.Conv2d(inputs, outputs, 5), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), *linear(400, 120, 84, CLASSES))


def cnn2():
    layers = []
    for inputs, outputs in itertools.pairwise([IMAGE[0], 32, 128, 128, 128]):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, CLASSES))


def resnet(width, stages):
    layers = [*conv_norm(IMAGE[0], width, 3, 1), nn.ReLU()]
    inputs = width
    for stage, blocks in enumerate(stages):
        for block in range(blocks):
            layers.append(Block(inputs, width << stage, 2 if stage > 0 and block == 0 else 1))
            inputs = width << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, CLASSES))


def vgg(stages):
    layers, inputs = [], IMAGE[0]
    for stage in stages:
        for outputs in stage:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    head = [[nn.Linear(width, 4096), nn.ReLU(), nn.Dropout()] for width in (inputs, 4096)]
    return nn.Sequential(*layers, nn.Flatten(), *itertools.chain(*head), nn.Linear(4096, CLASSES))


class TransformerBlock(nn.Module):
    """Attention and a perceptron, each behind a norm and beside a shortcut; attention by PyTorch's fastest for the device."""

    def __init__(self, channels, heads, causal, eps):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norms = nn.ModuleList(nn.LayerNorm(channels, eps=eps) for _ in range(2))
        self.packed, self.projection = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))

    def forward(self, value):
        shape = (*value.shape[:2], self.heads, value.shape[2] // self.heads)
        parts = self.packed(self.norms[0](value)).chunk(3, dim=2)
        q, k, v = (part.view(shape).transpose(1, 2) for part in parts)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        value = value + self.projection(mixed.transpose(1, 2).flatten(2))
        return value + self.mlp(self.norms[1](value))


class Gpt(nn.Module):
    """nanoGPT with biases, its head tied to the embedding: the logits of every position, [batch x length, vocabulary]."""

    def __init__(self, layers, heads, channels, length, vocabulary):
        super().__init__()
        self.embedding, self.positions = nn.Embedding(vocabulary, channels), nn.Embedding(length, channels)
        self.blocks = nn.Sequential(*(TransformerBlock(channels, heads, True, 1e-5) for _ in range(layers)))
        self.norm = nn.LayerNorm(channels)
        for table in (self.embedding, self.positions):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, tokens):
        value = self.embedding(tokens) + self.positions.weight
        return nn.functional.linear(self.norm(self.blocks(value)), self.embedding.weight).flatten(0, 1)


class ViT(nn.Module):
    """timm's vision transformer, with a class token."""

    def __init__(self, layers, heads, channels, patch):
        super().__init__()
        self.patches = nn.Conv2d(IMAGE[0], channels, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, channels))
        self.positions = nn.Parameter(torch.zeros(1, (IMAGE[1] // patch) ** 2 + 1, channels))
        self.blocks = nn.Sequential(*(TransformerBlock(channels, heads, False, 1e-6) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(channels, eps=1e-6), nn.Linear(channels, CLASSES)

    def forward(self, images):
        value = self.patches(images).flatten(2).transpose(1, 2)
        value = torch.cat([self.token.expand(len(value), -1, -1), value], 1) + self.positions
        return self.head(self.norm(self.blocks(value))[:, 0])


GPTS = {"gpt-mini": (4, 4, 128, 64, 65), "gpt-shakespeare": (6, 6, 384, 256, 65)}
NETWORKS = {
    "vit-tiny": lambda: ViT(12, 3, 192, 4),
    "cnn1": cnn1,
    "cnn2": cnn2,
    "resnet18": lambda: resnet(64, [2, 2, 2, 2]),
    "resnet20": lambda: resnet(16, [3, 3, 3]),
    "vgg11-bn": lambda: vgg([[64], [128], [256, 256], [512, 512], [512, 512]]),
}


def network(name):
    """The network of that name, the shape of its sample and its classes; ValueError if there is none. A text's sample is a
    row of tokens, whose every position has a class."""
    if name in GPTS:
        return Gpt(*GPTS[name]), GPTS[name][3:4], GPTS[name][4]
    if name in NETWORKS:
        return NETWORKS[name](), IMAGE, CLASSES
    try:
        widths = [int(width) for width in (MLPS.get(name) or name.removeprefix("mlp:")).split("-")]
    except ValueError:
        raise ValueError(f"unknown model {name!r}") from None
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"{name!r} has no layers, or a width of 0")
    return nn.Sequential(*linear(*widths)), widths[:1], widths[-1]
