"""Optimizers that torch.optim does not have, or has in bfloat16 alone, in PyTorch at the precision of their parameters, each written from the
source named at it. scripts/check_torch_rules.py holds them against packages.
"""

import torch

# Keller Jordan's coefficients of the quintic iteration, and its number, as torch.optim.Muon has them.
COEFFICIENTS, ITERATIONS, LEAST = (3.4445, -4.775, 2.0315), 5, 1e-7


class Lion(torch.optim.Optimizer):
    """Chen, Liang, Huang et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, program 1."""

    def __init__(self, parameters, lr, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(parameters, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            first, second = group["betas"]
            for value in group["params"]:
                state = self.state[value]
                moment = state.setdefault("exp_avg", torch.zeros_like(value))
                sign = (first * moment + (1 - first) * value.grad).sign()
                value.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * sign)
                moment.mul_(second).add_((1 - second) * value.grad)


def orthogonalised(matrix):
    """Five quintic Newton-Schulz iterations on a matrix over its norm: torch/optim/_muon.py, at the matrix's own precision."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=LEAST)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalised on hidden matrices, filters of convolutions being rows (Jordan et al., https://kellerjordan.github.io/posts/muon/,
    with the defaults of torch.optim.Muon); AdamW at the same learning rate and weight decay on all else."""

    def __init__(self, hidden, others, lr, momentum=0.95, weight_decay=0.1, nesterov=True, betas=(0.9, 0.999), eps=1e-8):
        self.rest = torch.optim.AdamW(others, lr=lr, betas=betas, weight_decay=weight_decay, eps=eps, foreach=False)
        about = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
        super().__init__(hidden, about)

    @torch.no_grad()
    def step(self):
        self.rest.step()
        for group in self.param_groups:
            for value in group["params"]:
                moment = self.state[value].setdefault("momentum_buffer", torch.zeros_like(value))
                moment.lerp_(value.grad, 1 - group["momentum"])
                update = value.grad.lerp(moment, group["momentum"]) if group["nesterov"] else moment
                update = orthogonalised(update.flatten(1))
                scale = max(1, update.shape[0] / update.shape[1]) ** 0.5
                value.mul_(1 - group["lr"] * group["weight_decay"])
                value.sub_(group["lr"] * scale * update.view_as(value))


class ScheduleFree(torch.optim.Optimizer):
    """SGD of Defazio, Yang, Mehta et al., "The Road Less Scheduled", NeurIPS 2024, at a constant learning rate: parameters are y, where
    gradients are taken; `averaged` gives x, the weights to use."""

    def __init__(self, parameters, lr, momentum=0.9, weight_decay=0.0):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.steps = 0

    @torch.no_grad()
    def step(self):
        self.steps += 1
        for group in self.param_groups:
            for y in group["params"]:
                state = self.state[y]
                x, z = state.setdefault("x", y.clone()), state.setdefault("z", y.clone())
                z.sub_(group["lr"] * (y.grad + group["weight_decay"] * y))
                x.lerp_(z, 1 / self.steps)
                y.copy_(group["momentum"] * x + (1 - group["momentum"]) * z)

    def averaged(self, parameter):
        return self.state[parameter].get("x", parameter)
