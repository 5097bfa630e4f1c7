"""Training: the binary's bits, metrics, callbacks, folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Program

import jostle
from jostle import _jostle

MODES = [
    {"noise": "layer", "sigma": 0.1},
    {"noise": "all", "sigma": 0.1, "optimizer": "adam", "lr": 0.003, "ema": 0.9, "eval-noisy": 2},
    {"noise": "none", "label-noise": 0.3, "validation": 0.2, "schedule": "multistep", "milestones": [1]},
    {"noise": "model", "model": "resnet20:4", "epochs": 1, "flip": True, "noise-scale": "filter"},
]


def words(config: dict[str, Any]) -> list[str]:
    """A configuration as options of the program."""
    text = {True: "true", False: "false"}
    lists = {key: ",".join(map(str, value)) if isinstance(value, list) else value for key, value in config.items()}
    return [f"--{key}={text.get(value, value) if isinstance(value, bool) else value}" for key, value in lists.items()]


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode["noise"])
def test_a_run_is_the_binarys_bit_for_bit(mode: dict, small: dict, program: Program, tmp_path: Path) -> None:
    config = {**small, **mode}
    done = program("train", *words(config), "--out", str(tmp_path / "binary"))
    assert done.returncode == 0, done.stderr
    run = jostle.train(config, out=tmp_path / "python")
    for name in ("weights.safetensors", "config.toml"):
        assert (tmp_path / "python" / name).read_bytes() == (tmp_path / "binary" / name).read_bytes(), name
    theirs = jostle.Run.load(tmp_path / "binary")
    assert run.weights.keys() == theirs.weights.keys()
    assert all((run.weights[name] == theirs.weights[name]).all() for name in run.weights)
    for name, values in run.metrics.items():
        if name != "samples_per_second":
            np.testing.assert_array_equal(values, theirs.metrics[name], err_msg=name)
    assert all(np.array_equal(values, theirs.steps[name]) for name, values in run.steps.items())
    assert ("ema" in mode) == (run.average_weights is not None)


def test_a_file_a_dictionary_and_keywords_say_the_same(small: dict, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in small.items()), encoding="utf-8")
    snake = {key.replace("-", "_"): value for key, value in small.items()}
    runs = [
        jostle.train(path),
        jostle.train(small),
        jostle.train(**snake),
        jostle.train({**small, "epochs": 9}, epochs=2),
    ]
    assert all(run.config == runs[0].config for run in runs)
    assert all((run.weights["fc1.weight"] == runs[0].weights["fc1.weight"]).all() for run in runs)


def test_numpys_numbers_and_paths_are_values(small: dict, tmp_path: Path) -> None:
    first = jostle.train(small, out=tmp_path / "first")
    again = {**small, "lr": np.float64(0.1), "epochs": np.int64(1), "init": tmp_path / "first" / "weights.safetensors"}
    run = jostle.train(again, milestones=np.array([2, 3]))
    assert run.config["milestones"] == [2, 3]
    assert first.metrics["train_loss"][-1] > run.metrics["train_loss"][-1]


def test_metrics_are_columns_of_one_length(small: dict) -> None:
    run = jostle.train(small, noise="layer", eval_noisy=1)
    assert run.metrics["epoch"].tolist() == [1, 2]
    assert run.metrics["epoch"].dtype == np.int64 and run.metrics["test_loss"].dtype == np.float64
    assert run.metrics["noisy_test_loss"][-1] != run.metrics["test_loss"][-1]
    assert len({len(values) for values in run.metrics.values()}) == 1
    assert run.steps["group"].tolist() == [0, 1, 2, 3] * 3 + [0, 1]
    assert "finished" in repr(run)


def test_metrics_make_a_data_frame(small: dict) -> None:
    pandas = pytest.importorskip("pandas")
    run = jostle.train(small)
    frame = pandas.DataFrame(run.metrics).set_index("epoch")
    assert frame.loc[2, "test_accuracy"] == run.metrics["test_accuracy"][-1]
    assert len(pandas.DataFrame(run.steps)) == 14


def test_a_run_shows_its_figure(small: dict, tmp_path: Path) -> None:
    run = jostle.train(small, out=tmp_path / "run")
    run.plot().save(tmp_path / "own.svg")
    assert (tmp_path / "own.svg").read_text("utf-8") == (tmp_path / "run" / "curves.svg").read_text("utf-8")
    shown = run._repr_html_()
    assert "<svg" in shown and "test accuracy" in shown and run.title in shown


def test_callbacks_hear_of_evaluations_and_stop(small: dict) -> None:
    heard: list[dict[str, Any]] = []

    def callback(record: dict[str, Any]) -> bool:
        heard.append(record)
        return len(heard) < 3

    run = jostle.train(small, callback=callback, epochs=50)
    assert [record["epoch"] for record in heard] == [1, 2, 3]
    assert run.status == "interrupted" and run.metrics["epoch"].tolist() == [1, 2, 3]
    assert heard[-1]["test_loss"] == run.metrics["test_loss"][-1]
    whole = jostle.train(small, epochs=3)
    assert (whole.weights["fc1.weight"] == run.weights["fc1.weight"]).all()


def test_a_callback_that_raises_ends_the_run_and_leaves_it_whole(small: dict, tmp_path: Path) -> None:
    def callback(record: dict[str, Any]) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        jostle.train(small, callback=callback, epochs=50, out=tmp_path / "run")
    run = jostle.Run.load(tmp_path / "run")
    assert run.metrics["epoch"].tolist() == [1]
    assert run.weights["fc1.weight"].shape == (16, 64)


def test_a_stopped_run_resumes_bit_for_bit(small: dict, tmp_path: Path) -> None:
    out = tmp_path / "run"
    jostle.train(small, callback=lambda record: False, epochs=3, noise="layer", out=out)
    resumed = jostle.train(resume=out)
    whole = jostle.train(small, epochs=3, noise="layer")
    assert resumed.metrics["epoch"].tolist() == [1, 2, 3]
    assert all((resumed.weights[name] == whole.weights[name]).all() for name in whole.weights)


def test_a_folder_that_holds_a_run_is_kept(small: dict, tmp_path: Path) -> None:
    jostle.train(small, out=tmp_path)
    with pytest.raises(jostle.JostleError, match="holds a run already: give another out, or overwrite=True"):
        jostle.train(small, out=tmp_path)
    jostle.train(small, out=tmp_path, overwrite=True)


def test_a_run_without_a_folder_leaves_none(small: dict) -> None:
    run = jostle.train(small)
    folder = run.folder
    assert folder.is_dir()
    del run
    assert not folder.exists()


def test_the_hessian_at_the_end(small: dict) -> None:
    trace = jostle.train(small, hessian=2).hessian_trace
    assert trace is not None and trace["probes"] == 2 and trace["trace"] > 0


def test_the_program_is_in_the_wheel(program: Program) -> None:
    done = program("--version")
    assert done.returncode == 0 and done.stdout.startswith("jostle ")
    refused = program("train", "--sigmaa", "1")
    assert refused.returncode == 2 and "--sigma" in refused.stderr
    assert _jostle.config_keys()[:2] == ["data", "model"]
