"""evaluate, hessian, noise, compare, experiment and adapters, against the binary and against PyTorch."""

from __future__ import annotations

import doctest
import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Program

import jostle
from jostle import _jostle


def test_scores_are_the_binarys(small: dict, program: Program, tmp_path: Path) -> None:
    run = jostle.train(small, out=tmp_path)
    weights = str(tmp_path / "weights.safetensors")
    done = program("eval", "--json", "--config", str(tmp_path / "config.toml"), "--weights", weights)
    theirs = json.loads(done.stdout)
    for ours in (jostle.evaluate(run), jostle.evaluate(tmp_path / "config.toml", weights)):
        assert (ours.samples, ours.loss, ours.accuracy) == (theirs["samples"], theirs["loss"], theirs["accuracy"])
        assert {name: getattr(ours, name) for name in ("nll", "brier", "ece")} == theirs["quality"]
    scored = jostle.evaluate(run, outputs=True)
    assert scored.outputs is not None and scored.outputs.shape == (500, 10)
    assert scored.brier == run.metrics["quality_brier"][-1]
    assert np.isnan(jostle.evaluate(run, loss="mse").brier)
    assert jostle.evaluate(run, part="train").samples == 200
    with pytest.raises(jostle.ConfigError, match="the configuration has no validation part"):
        jostle.evaluate(run, part="validation")


def test_curvature_is_the_binarys(small: dict, program: Program, tmp_path: Path) -> None:
    run = jostle.train(small, out=tmp_path)
    words = ["--config", str(tmp_path / "config.toml"), "--weights", str(tmp_path / "weights.safetensors")]
    done = program("hessian", "--json", *words, "--probes", "4", "--lanczos-steps", "8", "--starts", "1")
    theirs = json.loads(done.stdout)
    ours = jostle.hessian(run, probes=4, lanczos_steps=8, starts=1)
    assert ours.trace == theirs["hessian"]["trace"] and ours.gauss_newton.trace == theirs["gauss_newton"]["trace"]
    assert ours.eigenvalues == [ritz["value"] for ritz in theirs["eigenvalues"]]
    assert sum(ours.hessian.tensors.values()) == pytest.approx(ours.trace)
    assert ours.density is not None and ours.density.shape == (400, 2)
    assert "<svg" in ours._repr_html_() and "fc1.weight" in ours._repr_html_()
    assert jostle.hessian(run, probes=1, lanczos_steps=0).plot() is None


def test_noise_is_the_binarys(program: Program, tmp_path: Path) -> None:
    words = ["--model", "mlp:64-16-10", "--noise", "all", "--sigma", "0.05", "--seed", "7", "--step", "12"]
    assert program("noise", *words, "--out", str(tmp_path / "eps.safetensors")).returncode == 0
    theirs = _jostle.weights(str(tmp_path / "eps.safetensors"))
    ours = jostle.noise(model="mlp:64-16-10", noise="all", sigma=0.05, seed=7, step=12)
    assert ours.keys() == theirs.keys() and all((ours[name] == theirs[name]).all() for name in ours)
    assert ours.sigma == pytest.approx(0.025) and ours.group is None
    with pytest.raises(jostle.ConfigError, match="filter needs the weights of the step"):
        jostle.noise(noise="all", noise_scale="filter")
    scaled = jostle.noise(model="mlp:64-16-10", noise="model", noise_scale="filter", weights=theirs)
    assert scaled["fc1.weight"].any()


def timeless(path: Path) -> list[list[str]]:
    """The cells of a table, but for the column of what was timed."""
    rows = [[cell.strip() for cell in line.split("|")] for line in path.read_text().splitlines()]
    timed = rows[0].index("ms a step")
    return [row[:timed] + row[timed + 1 :] for row in rows]


def test_arms_are_compared(small: dict, program: Program, tmp_path: Path) -> None:
    heard: list[dict] = []
    words = [f"--{key}={value}" for key, value in small.items()]
    grid = {"modes": ["none", "layer"], "sigmas": [0.05, 0.1], "seeds": 2, "hessian": 2}
    found = jostle.compare(small, callback=heard.append, out=tmp_path / "python", **grid)
    options = ["--modes=none,layer", "--sigmas=0.05,0.1", "--seeds=2", "--hessian=2", "--out", str(tmp_path / "binary")]
    assert program("compare", *words, *options).returncode == 0
    assert timeless(tmp_path / "python" / "table.md") == timeless(tmp_path / "binary" / "table.md")
    ours, theirs = (sorted(path.name for path in (tmp_path / side).iterdir()) for side in ("python", "binary"))
    assert ours == theirs
    assert found.table["arm"] == ["none", "layer \u03c3 0.05", "layer \u03c3 0.1"]
    assert found.runs["seed"].tolist() == [0, 1] * 3 and (found.runs["hessian_trace"] > 0).all()
    assert len(found.metrics["test_loss"]) == len(heard) == 12
    assert heard[0].keys() == {"arm", "seed", "record"}
    assert "<svg" in found._repr_html_() and len(found.differences) == 4
    with pytest.raises(jostle.ConfigError, match="modes: unknown"):
        jostle.compare(small, modes=["layers"])


def test_own_data_are_compared() -> None:
    X = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    found = jostle.compare({"model": "mlp:4-8-2", "epochs": 1}, data=(X, (X[:, 0] > 0).astype(int)), seeds=1)
    assert found.arms[0]["data"] == "arrays, 54 samples"


def test_an_experiment_leaves_its_report(tmp_path: Path) -> None:
    found = jostle.experiment("smoothed-loss", scale="short", out=tmp_path / "report")
    assert found.verdict in ("holds", "fails", "inconclusive", "does not apply")
    assert (tmp_path / "report" / "report.html").is_file() and found.figures and "<svg" in found._repr_html_()
    with pytest.raises(jostle.ConfigError, match='no experiment is called "l2"'):
        jostle.experiment("l2")


def test_adapters_are_listed(program: Program) -> None:
    assert jostle.adapters() == json.loads(program("adapters", "--json").stdout)


@pytest.mark.parametrize("model", ["mlp:64-16-10", "resnet20:4"])
def test_pytorch_computes_the_same_outputs(model: str, small: dict) -> None:
    torch = pytest.importorskip("torch")
    run = jostle.train(small, model=model, epochs=1, noise="layer")
    scored = jostle.evaluate(run, outputs=True)
    assert jostle.evaluate(run, run.state_dict()).loss == scored.loss
    if model != "mlp:64-16-10":
        return  # its outputs in PyTorch are held by the engine's own suite
    network = torch.nn.Sequential()
    network.add_module("fc1", torch.nn.Linear(64, 16))
    network.add_module("relu", torch.nn.ReLU())
    network.add_module("fc2", torch.nn.Linear(16, 10))
    network.load_state_dict(run.state_dict())
    again = jostle.evaluate(run, network.state_dict())
    assert again.loss == scored.loss
    with torch.no_grad():
        X = torch.rand(20, 64)
        theirs = network(X).numpy()
    ours = jostle.evaluate(run.config, run.weights, (X.numpy(), np.zeros(20, int)), outputs=True)
    np.testing.assert_allclose(ours.outputs, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("module", ["_settings", "_data", "_figure", "_training", "_measuring", "_comparing"])
def test_documentation_tells_the_truth(module: str) -> None:
    tested = doctest.testmod(importlib.import_module(f"jostle.{module}"))
    assert tested.attempted > 0 and tested.failed == 0
