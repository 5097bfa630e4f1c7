#!/usr/bin/env python3
"""Learning rates and momenta of torch.optim.lr_scheduler, for tests/suite/train/schedules.rs to hold Jostle against.

Each case is a configuration with Jostle's keys, PyTorch's schedulers for it, and the learning rate and the momentum (beta1
of Adam) at every step or epoch of the run. Two of them also train three weights on given gradients in float64, so that
what a moving momentum does to an update is PyTorch's too. Writes assets/parity/schedules.json.

    python scripts/make_schedule_fixture.py      (needs torch)
"""

import json
import math
import pathlib
import sys
import warnings

try:
    import torch
    from torch.optim import lr_scheduler as schedulers
except ImportError as missing:
    sys.exit(f"{missing}: pip install torch")

OUT = pathlib.Path(__file__).resolve().parent.parent / "assets" / "parity" / "schedules.json"
LR = 0.1
WEIGHTS = [0.5, -0.25, 1.0]


def cases():
    """Name, configuration, length and schedulers of each case."""
    yield "constant", {"schedule": "constant"}, 5, lambda o: [schedulers.ConstantLR(o, factor=1.0)]
    for total in (1, 7, 10):
        cosine = {"schedule": "cosine"}
        yield f"cosine-{total}", cosine, total, lambda o, t=total: [schedulers.CosineAnnealingLR(o, T_max=t)]
        linear = {"schedule": "linear"}
        yield f"linear-{total}", linear, total, lambda o, t=total: [
            schedulers.LinearLR(o, start_factor=1.0, end_factor=0.0, total_iters=t)
        ]
    step = {"schedule": "step", "milestones-every": 3, "gamma": 0.5}
    yield "step", step, 10, lambda o: [schedulers.StepLR(o, step_size=3, gamma=0.5)]
    multistep = {"schedule": "multistep", "milestones": [2, 5, 6], "gamma": 0.3}
    yield "multistep", multistep, 10, lambda o: [schedulers.MultiStepLR(o, milestones=[2, 5, 6], gamma=0.3)]
    for total in (1, 2, 3, 4, 10, 33):
        for optimizer in ("sgd", "adam"):
            cycle = {"schedule": "one-cycle", "optimizer": optimizer}
            yield f"one-cycle-{optimizer}-{total}", cycle, total, lambda o, t=total: [
                schedulers.OneCycleLR(o, max_lr=LR, total_steps=t)
            ]
    # Jostle's warm-up multiplies the schedule by min(1, (step + 1) / steps).
    warmup = {"schedule": "cosine", "schedule-unit": "step", "warmup-steps": 4}
    yield "warmup-cosine", warmup, 12, lambda o: [
        schedulers.LinearLR(o, start_factor=1 / 4, end_factor=1.0, total_iters=3),
        schedulers.CosineAnnealingLR(o, T_max=12),
    ]
    lowest = {"schedule": "cosine", "min-lr": 0.02}
    yield "cosine-lowest", lowest, 9, lambda o: [schedulers.CosineAnnealingLR(o, T_max=9, eta_min=0.02)]
    lowest = {"schedule": "linear", "min-lr": 0.02}
    yield "linear-lowest", lowest, 9, lambda o: [
        schedulers.LinearLR(o, start_factor=1.0, end_factor=0.2, total_iters=9)
    ]
    for warmup, total, low in ((4, 12, 0.01), (0, 5, 0.0), (3, 3, 0.05)):
        nanogpt = {"schedule": "warmup-cosine", "schedule-unit": "step", "warmup-steps": warmup, "min-lr": low}
        yield f"nanogpt-{warmup}-{total}", nanogpt, total, lambda o, w=warmup, t=total, m=low: [
            schedulers.LambdaLR(o, lambda it: get_lr(it, w, t, m) / LR)
        ]


def get_lr(it, warmup_iters, lr_decay_iters, min_lr):
    """The learning rate in nanoGPT's train.py, there of the variables LR and those given here."""
    if it < warmup_iters:
        return LR * (it + 1) / (warmup_iters + 1)
    if it > lr_decay_iters:
        return min_lr
    decay_ratio = (it - warmup_iters) / (lr_decay_iters - warmup_iters)
    coeff = 0.5 * (1.0 + math.cos(math.pi * decay_ratio))
    return min_lr + coeff * (LR - min_lr)


def optimizer_of(config, parameters):
    if config.get("optimizer") == "adam":
        return torch.optim.Adam(parameters, lr=LR, foreach=False)
    return torch.optim.SGD(parameters, lr=LR, momentum=0.9, foreach=False)


def gradients(step):
    return [math.sin(1.7 * step + i) for i in range(len(WEIGHTS))]


def course(config, total, make):
    """Learning rate, momentum and weights at every step."""
    weights = torch.tensor(WEIGHTS, dtype=torch.float64, requires_grad=True)
    optimizer = optimizer_of(config, [weights])
    made = make(optimizer)
    rates, momenta, updates = [], [], []
    for step in range(total):
        group = optimizer.param_groups[0]
        rates.append(group["lr"])
        momenta.append(group["betas"][0] if "betas" in group else group["momentum"])
        weights.grad = torch.tensor(gradients(step), dtype=torch.float64)
        optimizer.step()
        updates.append({"gradients": gradients(step), "weights": weights.tolist()})
        if step + 1 < total:
            for scheduler in made:
                scheduler.step()
    return rates, momenta, updates


def main():
    warnings.simplefilter("error")
    written = []
    for name, config, total, make in cases():
        rates, momenta, updates = course(config, total, make)
        case = {"name": name, "config": {"lr": LR, "momentum": 0.9, **config}, "total": total,
                "learning_rate": rates, "momentum": momenta}
        if name in ("one-cycle-sgd-10", "one-cycle-adam-10"):
            case["updates"] = updates
        written.append(case)
    head = json.dumps({"torch": torch.__version__.split("+")[0], "initial": WEIGHTS})
    lines = ",\n".join(json.dumps(case) for case in written)
    OUT.write_text(f'{head[:-1]}, "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
