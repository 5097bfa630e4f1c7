"""The networks in PyTorch, built as jostle builds them."""

import itertools

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


NETWORKS = {
    "cnn1": cnn1,
    "cnn2": cnn2,
    "resnet18": lambda: resnet(64, [2, 2, 2, 2]),
    "resnet20": lambda: resnet(16, [3, 3, 3]),
    "vgg11-bn": lambda: vgg([[64], [128], [256, 256], [512, 512], [512, 512]]),
}


def network(name):
    """The network of that name, the shape of its sample and its classes; ValueError if there is none."""
    if name in NETWORKS:
        return NETWORKS[name](), IMAGE, CLASSES
    try:
        widths = [int(width) for width in (MLPS.get(name) or name.removeprefix("mlp:")).split("-")]
    except ValueError:
        raise ValueError(f"unknown model {name!r}") from None
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"{name!r} has no layers, or a width of 0")
    return nn.Sequential(*linear(*widths)), widths[:1], widths[-1]
