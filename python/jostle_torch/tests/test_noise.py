"""The noise against that of the program `jostle`: committed values, and the program itself where it has been built."""

from __future__ import annotations

import itertools
import os
import pathlib

import cases
import golden
import pytest
import torch
from networks import mlp, network

import jostle_torch

ROOT = pathlib.Path(__file__).resolve().parents[3]
GOLDEN = golden.load()


def own_noise(case: cases.Case) -> cases.Tensors:
    settings = {**case}
    found = jostle_torch.deltas(network(settings.pop("model")), settings.pop("sigma"), **settings)
    return {name: delta.flatten().tolist() for name, delta in found.items()}


@pytest.fixture(scope="module")
def program() -> str:
    """JOSTLE_BIN, else what was built in target/."""
    given = os.environ.get("JOSTLE_BIN")
    built = [given] if given else [str(ROOT / "target" / profile / "jostle") for profile in ("release", "debug")]
    found = next((path for path in built if os.access(path, os.X_OK)), None)
    if found is None:
        pytest.skip(f"no program at {' or '.join(built)}")
    try:
        cases.from_program(found, GOLDEN[0]["case"])
    except cases.NoAdapter as reason:
        pytest.skip(str(reason))
    return found


def test_committed_cases_cover_every_choice():
    committed = [entry["case"] for entry in GOLDEN]
    assert committed == cases.committed()
    for key, names in (
        ("mode", jostle_torch.MODES),
        ("groups", jostle_torch.GROUPINGS),
        ("distribution", jostle_torch.DISTRIBUTIONS),
        ("scale", jostle_torch.SCALES),
        ("order", jostle_torch.ORDERS),
    ):
        for model in cases.MODELS:
            assert {case[key] for case in committed if case["model"] == model} == set(names)


@pytest.mark.parametrize("entry", GOLDEN, ids=lambda entry: cases.name(entry["case"]))
def test_noise_is_that_of_the_committed_values(entry):
    assert cases.furthest(own_noise(entry["case"]), entry["noise"]) <= cases.tolerance(entry["case"])


@pytest.mark.parametrize("model", cases.MODELS)
def test_noise_is_that_of_the_program(program, model):
    worst = {}
    for case in cases.every():
        if case["model"] != model:
            continue
        found = cases.furthest(own_noise(case), cases.from_program(program, case))
        assert found <= cases.tolerance(case), cases.name(case)
        kind = (case["distribution"], case["scale"])
        worst[kind] = max(worst.get(kind, 0), found)
    print(f"{model}: at most, in ulp: {worst}")


@pytest.mark.parametrize("distribution", jostle_torch.DISTRIBUTIONS)
def test_a_million_draws_are_those_of_the_program(program, distribution):
    model = mlp(784, 1000, 300, 10)
    shapes = {name: list(parameter.shape) for name, parameter in model.named_parameters()}
    clean = {name: [0.0] * parameter.numel() for name, parameter in model.named_parameters()}
    case = {"mode": "model", "groups": "tensor", "distribution": distribution, "scale": "absolute", "order": "cyclic"}
    case |= {"seed": (1 << 63) + 11, "step": 77, "sigma": 1.0, "model": "mlp"}
    expected = cases.run(program, case, "mlp:784-1000-300-10", shapes, clean)
    worst = 0
    settings = {key: value for key, value in case.items() if key not in ("model", "sigma")}
    for name, delta in jostle_torch.deltas(model, 1.0, **settings).items():
        theirs = torch.tensor(expected[name])
        worst = max(worst, (delta.flatten().view(torch.int32) - theirs.view(torch.int32)).abs().max().item())
    print(f"{distribution}: {worst} ulp")
    assert worst <= (cases.GAUSSIAN_ULPS if distribution == "gaussian" else 0)


def residual_names() -> list[str]:
    """The program's names of resnet20's parameters, in their order."""
    modules = ["conv1", "bn1"]
    for stage, block in itertools.product((1, 2, 3), (0, 1, 2)):
        parts = ["conv1", "bn1", "conv2", "bn2", *(["shortcut.0", "shortcut.1"] if stage > 1 and block == 0 else [])]
        modules += [f"layer{stage}.{block}.{part}" for part in parts]
    has_bias = {module: module.split(".")[-1] in ("bn1", "bn2", "1") for module in modules}
    return [
        f"{module}.{kind}"
        for module in [*modules, "linear"]
        for kind in ("weight", "bias")
        if kind == "weight" or has_bias.get(module, True)
    ]


@pytest.mark.parametrize("groups", jostle_torch.GROUPINGS)
def test_a_residual_network_is_numbered_and_grouped_alike(program, groups, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benches" / "peers"))
    torch_models = pytest.importorskip("torch_models")
    monkeypatch.setattr(torch_models, "IMAGE", (1, 8, 8))  # as the bundled digits
    model, _, _ = torch_models.network("resnet20")
    names = residual_names()
    clean = {name: [0.0] * p.numel() for name, p in zip(names, model.parameters(), strict=True)}
    shapes = {name: list(p.shape) for name, p in zip(names, model.parameters(), strict=True)}
    for mode, step in (("all", 5), ("layer", 16)):  # a shortcut, in groups of a module
        case = {"mode": mode, "groups": groups, "distribution": "rademacher", "scale": "absolute", "order": "cyclic"}
        case |= {"seed": 9, "step": step}
        expected = cases.run(program, {**case, "sigma": 0.3}, "resnet20", shapes, clean)
        found = jostle_torch.deltas(model, 0.3, **case)
        own = {name: delta.flatten().tolist() for name, delta in zip(names, found.values(), strict=True)}
        assert cases.furthest(own, expected) == 0
