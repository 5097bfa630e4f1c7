#!/usr/bin/env python3
"""Holds scripts/torch_rules.py against the code that was published with each rule, as scripts/check_torch_rules.py does against packages:
ten steps in float64, weights and running statistics within 1e-12. The code itself runs, of clones in a folder under their own names:
davda54/sam, SamsungLabs/ASAM, team-approx-bayes/bayesian-sam (needs jax), MarlonBecker/MSAM, VirtuosoResearch/Noise-stability-optimization,
devansh20la/LPF-SGD, nblt/mARWP, princeton-nlp/MeZO, wjmaddox/swa_gaussian. What the folder lacks is skipped.

    python scripts/check_published_rules.py FOLDER
"""

import ast
import collections
import contextlib
import copy
import logging
import math
import os
import pathlib
import sys
import time
import types
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest
import torch
import torch_rules as rules
from check_torch_rules import (BATCH, CLOSE, DECAY, LR, MOMENTUM, SGD, STEPS, Plain, assert_same, backward, batches, named, network,
                               normals, norms_move, our_asam, our_sam, ours, sam_of)
from torch import nn


def in_filter_norms(draw, weights, sigma):
    return {name: sigma * value * rules.filter_norms(weights[name]) for name, value in draw.items()}


def references():
    folder = os.environ.get("REFERENCES")
    if not folder:
        pytest.skip("needs REFERENCES, a folder of clones")
    return pathlib.Path(folder)


def published(path, *names, **known):
    """Some definitions of a source file, methods as Class.method, without the rest of it."""
    path, found = references() / path, {"torch": torch, "nn": nn, "np": np, **known}
    if not path.exists():
        pytest.skip(f"no {path}")
    tree = ast.parse(path.read_text())
    nodes = {node.name: node for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    for name in names:
        owner, _, method = name.partition(".")
        node = nodes[owner]
        if method:
            node = next(inner for inner in node.body if getattr(inner, "name", None) == method)
        exec(compile(ast.Module([node], []), str(path), "exec"), found)
    return types.SimpleNamespace(**found)


def our_msam(buffer, decay):
    def step(weights, evaluate, batch, _number, optimizer):
        states = [optimizer.state[value].get(buffer) for value in optimizer.param_groups[0]["params"]]
        momentum = None if states[0] is None else dict(zip(weights, states))
        return rules.msam(weights, evaluate, batch, 0.3, momentum, decay)[1]

    return step


def test_sam_is_as_published():
    code = published("sam/sam.py", "SAM")
    model = network()
    sam_of(code.SAM(model.parameters(), torch.optim.SGD, rho=0.1, **SGD), model)
    assert_same(ours(our_sam, ["clean"]), model)


def test_asam_is_as_published():
    code = published("ASAM/asam.py", "ASAM", defaultdict=collections.defaultdict)
    model = network()
    optimizer = code.ASAM(torch.optim.SGD(model.parameters(), **SGD), model, rho=0.7, eta=0.01)
    for batch in batches():
        backward(model, batch)
        optimizer.ascent_step()
        backward(model, batch)
        optimizer.descent_step()
    assert_same(ours(our_asam(0.01), ["clean", "perturbed"]), model)


def test_m_sam_is_as_published():
    """In JAX, with the parts' losses by its own means."""
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    jax.config.update("jax_enable_x64", True)
    known = {"jnp": jnp, "copy": copy, "NamedTuple": NamedTuple}
    with mock.patch.object(jax, "tree_map", jax.tree_util.tree_map, create=True):
        code = published("bayesian-sam/optim.py", "TrainState", "build_sam_optimizer", jax=jax, **known)

        def loss(weights, state, batch, is_training):
            logits = jnp.tanh(batch[0] @ weights["fc1.weight"].T) @ weights["fc2.weight"].T
            return (jax.scipy.special.logsumexp(logits, 1) - (logits * batch[1]).sum(1)).mean(), state

        init, step = code.build_sam_optimizer(jax.value_and_grad(loss, has_aux=True), LR, MOMENTUM, DECAY, 0.1, 4)
        state = init({name: jnp.array(value.numpy()) for name, value in named(network(Plain)).items()}, {}, None)
        for inputs, labels in batches():
            pair = (jnp.array(inputs.flatten(1).numpy()), jax.nn.one_hot(labels.numpy(), 10))
            state, _ = step(state, pair, 1.0)
    parts = lambda weights, evaluate, batch, _number, _optimizer: rules.m_sam(weights, evaluate, batch, 0.1, 4)[1]
    for name, value in named(ours(parts, ["clean"], Plain)).items():
        theirs = torch.from_numpy(np.array(state.optstate["w"][name]))
        torch.testing.assert_close(value, theirs, rtol=0, atol=CLOSE)


def test_msam_is_as_published():
    code = published("MSAM/optimizer/msam.py", "MSAM")
    model = network()
    optimizer = code.MSAM(model.parameters(), rho=0.3, **SGD)
    for batch in batches():
        backward(model, batch)
        optimizer.step()
        optimizer.zero_grad()
    optimizer.move_back_from_momentumAscent()
    assert_same(ours(our_msam("momentum_buffer", DECAY), ["perturbed"]), model)


def test_msam_with_adam_is_as_published():
    """Without weight decay: the published optimizer decays after the step, PyTorch's AdamW before it."""
    known = {"Tensor": torch.Tensor, "List": list, "Tuple": tuple, "math": math}
    code = published("MSAM/optimizer/adamW_msam.py", "AdamW_MSAM", "adamW_msam", **known)
    model = network()
    optimizer = code.AdamW_MSAM(model.parameters(), lr=1e-2, rho=0.3, weight_decay=0.0)
    for batch in batches():
        backward(model, batch)
        optimizer.step()
        optimizer.zero_grad()
    optimizer.move_back_from_momentumAscent()
    adam = lambda parameters: torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.0)
    assert_same(ours(our_msam("exp_avg", 0.0), ["perturbed"], optimizer=adam), model)


@pytest.mark.parametrize("pairs, mix", [(1, 0.0), (2, 0.3)])
def test_nso_is_as_published(pairs, mix):
    code = published("Noise-stability-optimization/exps_on_image_datasets/utils/nsm.py", "NSM", dist=torch.distributions)
    model = network()
    optimizer = code.NSM(model.parameters(), torch.optim.SGD, sigma=0.05, **SGD)
    for number, batch in enumerate(batches()):
        norms_move(model, True)
        backward(model, batch)
        optimizer.store_gradients(zero_grad=True, store_weights=True, update_weight=mix)
        norms_move(model, False)
        torch.manual_seed(number)
        for _ in range(pairs):
            for fresh in (True, False):
                optimizer.first_step(zero_grad=True, store_perturb=fresh)
                backward(model, batch)
                optimizer.store_gradients(zero_grad=True, update_weight=(1 - mix) / (2 * pairs))
        optimizer.second_step(zero_grad=True)

    def step(weights, evaluate, batch, number, _optimizer):
        torch.manual_seed(number)
        normal = torch.distributions.Normal(0, 1)
        draws = [{name: 0.05 * normal.sample(value.shape) for name, value in weights.items()} for _ in range(pairs)]
        return rules.nso(weights, evaluate, batch, draws, mix)[1]

    assert_same(ours(step, ["clean"]), model)


def test_lpf_is_as_published():
    meters = published("LPF-SGD/codes/resnets_nodataaug/utils/train_utils.py", "AverageMeter", "accuracy")
    known = {"logging": logging, "time": time, "AverageMeter": meters.AverageMeter, "accuracy": meters.accuracy}
    code = published("LPF-SGD/codes/resnets_nodataaug/lpf_train.py", "class_model_run", **known)
    model = network()
    args = types.SimpleNamespace(use_cuda=False, bs=BATCH, M=4, std=0.05, print_freq=1000)
    torch.manual_seed(0)
    code.class_model_run("train", batches_after(0), model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), **SGD), args)
    states = [None]

    def step(weights, evaluate, batch, number, _optimizer):
        draws = []
        torch.manual_seed(0) if number == 0 else torch.set_rng_state(states[0])
        for _ in range(4):
            draw = {name: torch.randn_like(value) for name, value in weights.items()}
            draws.append(in_filter_norms(draw, weights, 0.05))
        states[0] = torch.get_rng_state()
        return rules.lpf(weights, evaluate, batch, draws)[1]

    assert_same(ours(step, ["perturbed"]), model)


def batches_after(seed):
    """The batches, with the seed set anew after they are drawn."""
    drawn = batches()
    torch.manual_seed(seed)
    return drawn


def test_arwp_is_as_published():
    code = published("mARWP/utils.py", "ARWP")
    model = network()
    optimizer = code.ARWP(model.parameters(), torch.optim.SGD, std=0.05, eta=20.0, beta=0.9, **SGD)
    for number, batch in enumerate(batches()):
        torch.manual_seed(number)
        optimizer.first_step()
        backward(model, batch)
        optimizer.second_step()
    history = {}

    def step(weights, evaluate, batch, number, _optimizer):
        draw = in_filter_norms(normals(weights, number), weights, 0.05)
        return rules.arwp(weights, evaluate, batch, draw, history, 20.0, 0.9)[1]

    assert_same(ours(step, ["perturbed"]), model)


def test_m_rwp_is_as_published():
    """train_marwp.py with eta 0, where its damping is by 1."""
    args = types.SimpleNamespace(sigma=0.05, eta=0.0, beta=0.9, lmbda=0.3, incstd=False, print_freq=1000, wandb=False)
    known = {"time": time, "_BatchNorm": nn.modules.batchnorm._BatchNorm, "args": args, "current_step": 0, "fisher_arr": [],
             "train_loss": [], "train_err": [], "arr_time": []}
    code = published("mARWP/train_marwp.py", "train", "enable_running_stats", "disable_running_stats", "get_model_grad_vec",
                        "update_grad", "AverageMeter", "accuracy", **known)
    model, drawn = network(), batches(2 * STEPS)

    class Loader(list):
        dataset = range(1)

    torch.manual_seed(0)
    with mock.patch.object(torch.Tensor, "cuda", lambda value: value):
        code.train(Loader(drawn), model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), **SGD), 0)
    states = [None]

    def step(weights, evaluate, batch, number, _optimizer):
        if number % 2 == 0:
            return None
        torch.manual_seed(0) if states[0] is None else torch.set_rng_state(states[0])
        draw = in_filter_norms({name: torch.randn_like(value) for name, value in weights.items()}, weights, 0.05)
        states[0] = torch.get_rng_state()
        return rules.m_rwp(weights, evaluate, [drawn[number - 1], batch], draw, 0.3)[1]

    assert_same(ours(step, ["clean"], count=2 * STEPS), model)


def test_mezo_is_as_published():
    methods = ["zo_perturb_parameters", "zo_forward", "zo_step", "zo_update"]
    code = published("MeZO/large_models/trainer.py", *(f"OurTrainer.{name}" for name in methods))
    model, drawn, seeds = network(), batches(), []
    options = {"zo_eps": 1e-3, "weight_decay": 0.01, "non_diff": False, "n_gpu": 1, "gradient_accumulation_steps": 1}
    trainer = types.SimpleNamespace(
        args=types.SimpleNamespace(**options), _get_learning_rate=lambda: 2e-3, _prepare_inputs=lambda inputs: inputs,
        compute_loss_context_manager=contextlib.nullcontext, lr_scheduler=types.SimpleNamespace(step=lambda: None),
        compute_loss=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]))
    for name in methods:
        setattr(trainer, name, types.MethodType(getattr(code, name), trainer))
    for batch in drawn:
        trainer.zo_step(model, batch)
        seeds.append(trainer.zo_random_seed)
        trainer.zo_update(model)

    def step(weights, evaluate, batch, number, _optimizer):
        # The source knows norms by names that this model has not.
        decayed = [name for name in weights if "bias" not in name]
        rules.mezo(weights, evaluate.loss, batch, normals(weights, seeds[number]), 2e-3, 1e-3, 0.01, decayed)

    assert_same(ours(step, []), model)


def test_swag_is_as_published():
    flat = published("swa_gaussian/swag/utils.py", "flatten", "unflatten_like")
    code = published("swa_gaussian/swag/posteriors/swag.py", "swag_parameters", "SWAG", flatten=flat.flatten,
                        unflatten_like=flat.unflatten_like)
    original = code.swag_parameters
    with mock.patch.dict(original.__globals__, {"swag_parameters": lambda module, params, no_cov_mat: original(module, params, no_cov_mat)}):
        swag = code.SWAG(lambda: network(Plain), no_cov_mat=False, max_num_models=4)
    found = rules.Swag(4)
    for number in range(7):
        model = network(Plain)
        for name, value in model.named_parameters():
            value.data.add_(normals(named(model), number)[name], alpha=0.1)
        swag.collect_model(model)
        found.collect(named(model))
    with mock.patch.object(torch.Tensor, "cuda", lambda value: value):
        swag.sample(scale=0.5, cov=True, seed=9)
    torch.manual_seed(9)
    sizes = [value.numel() for value in found.mean.values()]
    flat = torch.randn(sum(sizes), dtype=torch.float64)
    diagonal = {name: part.view_as(found.mean[name]) for name, part in zip(found.mean, flat.split(sizes))}
    drawn = found.sample(diagonal, torch.randn(4, dtype=torch.float64).tolist())
    for (module, name), value in zip(swag.params, drawn.values()):
        torch.testing.assert_close(getattr(module, name), value, rtol=0, atol=CLOSE)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    os.environ["REFERENCES"] = sys.argv[1]
    sys.exit(pytest.main(["-q", "-rs", "-p", "no:cacheprovider", __file__]))


if __name__ == "__main__":
    main()
