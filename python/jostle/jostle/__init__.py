"""Jostle trains neural networks on any GPU, with noise on the weights, layer by layer, before every gradient.

    import jostle

    run = jostle.train(data="digits", model="mlp:64-256-256-10", noise="layer", sigma=0.2, epochs=20)
    run.metrics["test_accuracy"][-1], run.weights["fc1.weight"]
    jostle.hessian(run)

Everything is what the program of the same name does, which the package brings along.
"""

import os

# Mesa's device-select layer complains where a machine has no desktop; the engine chooses adapters itself.
if "XDG_RUNTIME_DIR" not in os.environ:
    os.environ.setdefault("NODEVICE_SELECT", "1")

from ._comparing import Comparison, Outcome, compare, experiment, experiments
from ._errors import AdapterError, ConfigError, DataError, DivergedError, Interrupted, JostleError
from ._figure import Figure, figure
from ._measuring import Evaluation, GroupTrace, Hessian, Noise, Trace, adapters, evaluate, hessian, noise
from ._run import Run
from ._training import train

__all__ = [
    "AdapterError",
    "Comparison",
    "ConfigError",
    "DataError",
    "DivergedError",
    "Evaluation",
    "Figure",
    "GroupTrace",
    "Hessian",
    "Interrupted",
    "JostleError",
    "Noise",
    "Outcome",
    "Run",
    "Trace",
    "adapters",
    "compare",
    "evaluate",
    "experiment",
    "experiments",
    "figure",
    "hessian",
    "noise",
    "train",
]
__version__ = "0.1.0"
