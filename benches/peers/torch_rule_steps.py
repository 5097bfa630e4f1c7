"""A training step by each rule on torch_step.py's networks: the loops of scripts/torch_rules.py with the published defaults.

Draws are made in the step. As in jostle a model without batch norms needs no pass for their statistics: nso then takes two gradients,
where its published trainer takes a third at the clean weights.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))

import torch_rules as rules

RULES = ["sam", "asam", "m-sam", "msam", "nso", "lpf", "arwp", "m-rwp", "ivon", "mezo", "fresh-labels"]
UPDATES = ("ivon", "mezo")  # the weights by themselves, without an optimizer
PARTS = 8
LR = 1e-3
SAMPLES = 512  # four batches, ivon's effective sample size


class RuleSteps:
    """A network's steps by a rule."""

    def __init__(self, rule: str, model: torch.nn.Module, optimizer: torch.optim.Optimizer, decay: float) -> None:
        self.rule, self.optimizer, self.decay = rule, optimizer, decay
        self.parameters = dict(model.named_parameters())
        self.weights = {name: parameter.data for name, parameter in self.parameters.items()}
        self.evaluate = rules.Evaluator(model, moving=("clean", "perturbed"))
        self.has_norms = bool(self.evaluate.norms)
        self.state: dict = {}  # of ivon; arwp's history

    def step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> float:
        """Takes a step; the loss of its first pass."""
        if self.rule in UPDATES:
            return self._update(batch)[0][1]
        passes, gradient = self._gradient(batch)
        for name, parameter in self.parameters.items():
            parameter.grad = gradient[name]
        self.optimizer.step()
        return passes[0][1]

    def _draw(self, sigma: float = 1.0, of_filters: bool = False) -> dict[str, torch.Tensor]:
        """A draw for each tensor, of this deviation or in units of filter norms."""
        draws = {name: torch.randn_like(value).mul_(sigma) for name, value in self.weights.items()}
        if of_filters:
            for name, value in self.weights.items():
                draws[name].mul_(rules.filter_norms(value))
        return draws

    def _momentum(self) -> dict[str, torch.Tensor] | None:
        found = {name: self.optimizer.state[value].get("momentum_buffer") for name, value in self.parameters.items()}
        return None if None in found.values() else found

    def _gradient(self, batch):
        common = (self.weights, self.evaluate, batch)
        match self.rule:
            case "sam":
                return rules.sam(*common, rho=0.05)
            case "asam":
                return rules.asam(*common, rho=0.5, eta=0.01)
            case "m-sam":
                return rules.m_sam(*common, rho=0.05, parts=PARTS)
            case "msam":
                return rules.msam(*common, rho=3.0, momentum=self._momentum(), decay=self.decay)
            case "nso":
                return self._nso(batch)
            case "lpf":
                return rules.lpf(*common, [self._draw(0.002, of_filters=True) for _ in range(PARTS)])
            case "arwp":
                return rules.arwp(*common, self._draw(0.01, of_filters=True), self.state, eta=0.1, beta=0.99)
            case "m-rwp":
                halves = rules.split(batch, 2)
                return rules.m_rwp(self.weights, self.evaluate, halves, self._draw(0.015, of_filters=True), mix=0.5)
            case "fresh-labels":
                return rules.fresh_labels(*common, torch.randint_like(batch[1], int(batch[1].max()) + 1))

    def _nso(self, batch):
        draw, common = self._draw(0.01), (self.weights, self.evaluate, batch)
        if self.has_norms:
            return rules.nso(*common, [draw], mix=0.0)
        mirrored = {name: -value for name, value in draw.items()}
        (passes, above), (more, below) = (rules.noise(*common, one) for one in (draw, mirrored))
        return passes + more, rules.mean([above, below])

    def _update(self, batch):
        if self.rule == "ivon":
            about = {"lr": LR, "beta1": 0.9, "beta2": 0.99999, "decay": 1e-4, "ess": SAMPLES, "hess_init": 1.0}
            return rules.ivon(self.weights, self.evaluate, batch, [self._draw()], self.state, **about)
        passes, _ = rules.mezo(self.weights, self.evaluate.loss, batch, self._draw(), lr=LR, eps=1e-3, decay=0.0, decayed=())
        return passes
