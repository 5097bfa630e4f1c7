"""Noise on the weights before every gradient: Jostle's noise for training loops in PyTorch.

    for step, (inputs, labels) in enumerate(batches):
        optimizer.zero_grad()
        with perturbed(model, 0.05, step=step):
            criterion(model(inputs), labels).backward()
        optimizer.step()

Within the context the weights are noisy; after it they are what they were, bit for bit, and the gradients are those at
the noisy weights. The noise is that of the program `jostle`: a function of seed, step, tensor and element alone.
"""

from .draw import philox, unit_noise
from .perturb import Perturbation, deltas, perturbed
from .perturber import Perturber
from .scheme import DISTRIBUTIONS, GROUPINGS, MODES, ORDERS, SCALES, StepNoise

__all__ = [
    "DISTRIBUTIONS",
    "GROUPINGS",
    "MODES",
    "ORDERS",
    "SCALES",
    "Perturbation",
    "Perturber",
    "StepNoise",
    "deltas",
    "perturbed",
    "philox",
    "unit_noise",
]
__version__ = "0.1.0"
