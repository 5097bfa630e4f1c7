"""Rules that perturb weights, each as one step in PyTorch, written from the sources named at each: see the scripts that use it.

Weights, gradients and draws are tensors by name. `evaluate(weights, batch, where)` is an Evaluator or the like: the mean loss of a batch
(inputs, labels) and its gradient at those weights; where is "clean" or "perturbed", for which of them moves batch norm's statistics.
Noise is given, never drawn here. A step gives its passes in order, (where, loss) each, and the gradient for the base optimizer, which
acts on the clean weights. IVON and MeZO are optimizers themselves and move the weights in place.
"""

import torch
from torch import nn
from torch.func import functional_call


class Evaluator:
    """Losses and gradients of a model at any weights, by cross-entropy.

    `moving` names the passes that move the running statistics of batch norms. Every pass normalises by its batch, moving or not, but for
    those of `loss`, which are in eval mode.
    """

    def __init__(self, model, moving):
        self.model, self.moving = model, moving
        self.norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        self.momenta = [norm.momentum for norm in self.norms]

    def __call__(self, weights, batch, where):
        for norm, momentum in zip(self.norms, self.momenta):
            norm.momentum = momentum if where in self.moving else 0.0
        leaves = {name: value.detach().requires_grad_() for name, value in weights.items()}
        loss = nn.functional.cross_entropy(functional_call(self.model.train(), leaves, batch[0]), batch[1])
        return loss.item(), dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()))))

    def loss(self, weights, batch):
        with torch.no_grad():
            return nn.functional.cross_entropy(functional_call(self.model.eval(), weights, batch[0]), batch[1]).item()


def plus(weights, direction, scale=1.0):
    """weights + scale * direction, as new tensors."""
    return {name: value + scale * direction[name] for name, value in weights.items()}


def total_norm(tensors):
    """The Euclidean norm over all tensors together."""
    return torch.linalg.vector_norm(torch.stack([value.norm() for value in tensors.values()]))


def mean(many):
    """The mean of several gradients."""
    return {name: sum(one[name] for one in many) / len(many) for name in many[0]}


def split(batch, count):
    """Contiguous parts of a batch, of len(batch) / count samples each; count has to divide it."""
    inputs, labels = batch
    size, rest = divmod(len(labels), count)
    assert rest == 0, "parts of a batch are of one size here"
    return list(zip(inputs.split(size), labels.split(size)))


def rows(value):
    """A filter a row: of matrices and kernels the leading dimension; a vector is one filter."""
    return value.flatten(1) if value.dim() > 1 else value[None]


def filter_norms(value):
    """The norm of each element's filter, in the value's shape."""
    return rows(value).norm(dim=1, keepdim=True).expand_as(rows(value)).reshape(value.shape)


def noise(weights, evaluate, batch, draw):
    """g(w + e)."""
    loss, gradient = evaluate(plus(weights, draw), batch, "perturbed")
    return [("perturbed", loss)], gradient


def sam(weights, evaluate, batch, rho):
    """g(w + rho g / (|g| + 1e-12)). Source: Foret et al., ICLR 2021; davda54/sam, sam.py."""
    clean, gradient = evaluate(weights, batch, "clean")
    ascended = plus(weights, gradient, rho / (total_norm(gradient) + 1e-12))
    loss, gradient = evaluate(ascended, batch, "perturbed")
    return [("clean", clean), ("perturbed", loss)], gradient


def asam(weights, evaluate, batch, rho, eta):
    """g(w + rho T^2 g / (|T g| + 1e-16)), T = |w| + eta where a tensor's name has "weight" (a batch norm's scale too), else 1.

    Source: Kwon et al., ICML 2021; SamsungLabs/ASAM, asam.py.
    """
    clean, gradient = evaluate(weights, batch, "clean")
    scales = {name: value.abs() + eta if "weight" in name else torch.ones_like(value) for name, value in weights.items()}
    scaled = {name: scales[name] * value for name, value in gradient.items()}
    ascent = {name: scales[name] * value for name, value in scaled.items()}
    loss, gradient = evaluate(plus(weights, ascent, rho / (total_norm(scaled) + 1e-16)), batch, "perturbed")
    return [("clean", clean), ("perturbed", loss)], gradient


def m_sam(weights, evaluate, batch, rho, parts):
    """The mean over parts of the batch of SAM's gradient, each part with an ascent of its own.

    Source: Foret et al., ICLR 2021, section 4.1; team-approx-bayes/bayesian-sam, optim.py.
    """
    steps = [sam(weights, evaluate, part, rho) for part in split(batch, parts)]
    return [passed for passes, _ in steps for passed in passes], mean([gradient for _, gradient in steps])


def msam(weights, evaluate, batch, rho, momentum, decay=0.0):
    """g(w - rho v / (|v| + 1e-12)), v the optimizer's momentum before the step, none at the first step.

    The published optimizer keeps the weights moved, so that SGD's weight decay acts on the moved ones: what that adds to the decay of the
    clean weights is decay times the move, and is part of the gradient here. Source: Becker et al., 2024; MarlonBecker/MSAM,
    optimizer/msam.py.
    """
    move = {name: torch.zeros_like(value) for name, value in weights.items()}
    if momentum is not None:
        move = plus(move, momentum, -rho / (total_norm(momentum) + 1e-12))
    loss, gradient = evaluate(plus(weights, move), batch, "perturbed")
    return [("perturbed", loss)], plus(gradient, move, decay)


def nso(weights, evaluate, batch, draws, mix):
    """mix g(w) + (1 - mix) / 2k sum of [g(w + u) + g(w - u)] over the k draws.

    The clean pass is taken even where mix is 0: the published trainer takes it, and batch norm's statistics are its. Source: Zhang, Li
    and Ju, TMLR 2024; VirtuosoResearch/Noise-stability-optimization, exps_on_image_datasets/trainer/nsm_trainer.py.
    """
    clean, gradient = evaluate(weights, batch, "clean")
    passes, sides = [("clean", clean)], []
    for draw in draws:
        for sign in (1.0, -1.0):
            loss, side = evaluate(plus(weights, draw, sign), batch, "perturbed")
            passes.append(("perturbed", loss))
            sides.append(side)
    return passes, {name: mix * gradient[name] + (1 - mix) * value for name, value in mean(sides).items()}


def lpf(weights, evaluate, batch, draws):
    """The mean over parts of the batch of g(w + e), each part with a draw of its own in units of filter norms.

    Source: Bisla, Wang and Choromanska, AISTATS 2022; devansh20la/LPF-SGD, codes/resnets_nodataaug/lpf_train.py.
    """
    steps = [noise(weights, evaluate, part, draw) for part, draw in zip(split(batch, len(draws)), draws)]
    return [passed for passes, _ in steps for passed in passes], mean([gradient for _, gradient in steps])


def damped(draw, history, eta):
    """A draw over sqrt(1 + eta S), S the history summed over the filter; of a vector every element is a filter of its own here."""
    def factor(value):
        summed = value.flatten(1).sum(1).view(-1, *[1] * (value.dim() - 1)) if value.dim() > 1 else value
        return torch.sqrt(1 + eta * summed)

    return {name: value / factor(history[name]) for name, value in draw.items()} if history else draw


def arwp(weights, evaluate, batch, draw, history, eta, beta):
    """g(w + e / sqrt(1 + eta S)); then the history, empty at first, is decayed by beta and gains the square of that gradient.

    Source: Li et al., TMLR 2024; nblt/mARWP, utils.py, class ARWP.
    """
    passes, gradient = noise(weights, evaluate, batch, damped(draw, history, eta))
    history.update({name: history[name] * beta + value**2 if name in history else value**2 for name, value in gradient.items()})
    return passes, gradient


def m_rwp(weights, evaluate, batches, draw, mix):
    """(1 - mix) g(w; first batch) + mix g(w + e; second batch).

    Source: Li et al., TMLR 2024; nblt/mARWP, train_mrwp_parallel.py and train_marwp.py (whose noise is damped besides).
    """
    clean, gradient = evaluate(weights, batches[0], "clean")
    loss, noisy = evaluate(plus(weights, draw), batches[1], "perturbed")
    mixed = {name: (1 - mix) * value + mix * noisy[name] for name, value in gradient.items()}
    return [("clean", clean), ("perturbed", loss)], mixed


def ivon(weights, evaluate, batch, draws, state, lr, beta1, beta2, decay, ess, hess_init, radius=float("inf")):
    """A step of IVON, which moves the weights; a sample of the batch's gradient for each draw of unit normals.

    The state, empty at first: momentum m, Hessian h, steps t. Source: Shen et al., ICML 2024; team-approx-bayes/ivon, ivon/_ivon.py 0.1.3
    with its defaults (debias, rescale_lr, hess_approx="price").
    """
    if not state:
        state.update(t=0, m={name: torch.zeros_like(value) for name, value in weights.items()},
                     h={name: torch.full_like(value, hess_init) for name, value in weights.items()})
    state["t"] += 1
    samples = [{name: draw[name] / (ess * (state["h"][name] + decay)).sqrt() for name in weights} for draw in draws]
    taken = [evaluate(plus(weights, sample), batch, "perturbed") for sample in samples]
    gradient = mean([one for _, one in taken])
    products = mean([{name: sample[name] * one[name] for name in weights} for sample, (_, one) in zip(samples, taken)])
    for name, value in weights.items():
        h, m = state["h"][name], state["m"][name]
        found = products[name] * (h + decay) * ess
        m = state["m"][name] = beta1 * m + (1 - beta1) * gradient[name]
        h = state["h"][name] = beta2 * h + (1 - beta2) * found + 0.5 * (1 - beta2) ** 2 * (h - found) ** 2 / (h + decay)
        along = (m / (1 - beta1 ** state["t"]) + decay * value) / (h + decay)
        value.sub_(lr * (hess_init + decay) * along.clamp(-radius, radius))
    return [("perturbed", loss) for loss, _ in taken]


def mezo(weights, loss_of, batch, draw, lr, eps, decay, decayed):
    """A step of MeZO, which moves the weights: c = (L(w + eps z) - L(w - eps z)) / 2 eps; w <- w - lr (c z + decay w).

    `decayed` names the tensors with weight decay, in the source all but biases and norms; `loss_of` is in eval mode there. Gives the
    passes and c. Source: Malladi et al., NeurIPS 2023; princeton-nlp/MeZO, large_models/trainer.py.
    """
    above, below = (loss_of(plus(weights, draw, sign * eps), batch) for sign in (1, -1))
    slope = (above - below) / (2 * eps)
    for name, value in weights.items():
        value.sub_(lr * (slope * draw[name] + (decay * value if name in decayed else 0.0)))
    return [("perturbed", above), ("perturbed", below)], slope


def fresh_labels(weights, evaluate, batch, labels):
    """g(w) on labels drawn anew for the step. Source: Damian, Ma and Lee, NeurIPS 2021 (arXiv 2106.06530)."""
    loss, gradient = evaluate(weights, (batch[0], labels), "clean")
    return [("clean", loss)], gradient


class Swag:
    """Mean, second moment and the last `rank` deviations of collected weights.

    Source: Maddox et al., NeurIPS 2019; wjmaddox/swa_gaussian, swag/posteriors/swag.py.
    """

    def __init__(self, rank):
        self.rank, self.count, self.mean, self.square, self.deviations = rank, 0, {}, {}, []

    def collect(self, weights):
        """A deviation is from the mean with its own weights in it."""
        kept, self.count = self.count, self.count + 1
        for moment, power in ((self.mean, 1), (self.square, 2)):
            for name, value in weights.items():
                moment[name] = (moment.get(name, 0.0) * kept + value**power) / self.count
        self.deviations.append(plus(weights, self.mean, -1.0))
        del self.deviations[: -self.rank]

    def sample(self, diagonal, low_rank, scale=0.5, floor=1e-30):
        """mean + sqrt(scale) (sqrt(var) xi1 + D' xi2 / sqrt(rank - 1)); xi1 by name, a number of xi2 for each deviation kept."""
        drawn = {}
        for name, value in self.mean.items():
            variance = (self.square[name] - value**2).clamp(min=floor)
            part = sum(number * one[name] for number, one in zip(low_rank, self.deviations)) / (self.rank - 1) ** 0.5
            drawn[name] = value + scale**0.5 * (variance.sqrt() * diagonal[name] + part)
        return drawn
