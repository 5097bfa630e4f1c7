"""Each exception, with the binary's sentence; Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Program

import jostle


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"sigmaa": 1}, "unknown key 'sigmaa', the nearest is 'sigma'"),
        ({"label_nose": 1}, "unknown key 'label_nose', the nearest is 'label-noise'"),
        ({"lr": "fast"}, "lr: invalid type"),
        ({"noise": "layers"}, "noise: unknown variant"),
        ({"lr": -1}, "lr: has to be positive"),
        ({"data": "mnits"}, "unknown data source `mnits`: expected digits"),
        ({"model": "mlp:64-"}, "mlp:64-"),
        ({"lr": object()}, "config: expected numbers, texts, truths and lists of them"),
        (3, "config: expected a dict, the path of a TOML file or a Run, found int"),
    ],
)
def test_a_configuration_that_makes_no_sense(config: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(jostle.ConfigError) as raised:
        jostle.train(config, out=tmp_path / "run")
    assert sentence in str(raised.value)
    assert isinstance(raised.value, ValueError) and not (tmp_path / "run").exists()


def test_arguments_that_make_no_sense(small: dict, tmp_path: Path) -> None:
    with pytest.raises(jostle.ConfigError, match="expected neither config nor out"):
        jostle.train(small, resume=tmp_path)
    with pytest.raises(jostle.ConfigError, match="on_device_lost: expected stop or retry"):
        jostle.train(small, on_device_lost="wait")
    with pytest.raises(jostle.ConfigError, match=r"checkpoint-every: .*expected a number of steps"):
        jostle.train(small, checkpoint_every="often")
    with pytest.raises(jostle.ConfigError, match="part: expected test, train or validation"):
        jostle.evaluate(jostle.train(small, epochs=1), part="all")
    with pytest.raises(jostle.ConfigError, match="seeds: at least 1"):
        jostle.compare(small, seeds=0)


def test_sentences_are_the_binarys(program: Program, tmp_path: Path) -> None:
    for key, value in [("lr", "-1"), ("label-noise", "1.5"), ("data", "mnits"), ("noise", "layers"), ("lr", "fast")]:
        refused = program("train", f"--{key}={value}", "--out", str(tmp_path))
        assert refused.returncode == 2
        with pytest.raises(jostle.ConfigError) as raised:
            jostle.train(**{key.replace("-", "_"): value})
        sentence = str(raised.value).removeprefix("options: ")
        assert refused.stderr.startswith(f"error: {sentence}"), (refused.stderr, sentence)


def test_files_that_are_not_there(small: dict, tmp_path: Path) -> None:
    with pytest.raises(jostle.JostleError, match=r"none.toml"):
        jostle.train(tmp_path / "none.toml")
    with pytest.raises(jostle.JostleError, match=r"none.safetensors"):
        jostle.evaluate(small, tmp_path / "none.safetensors")
    with pytest.raises(jostle.JostleError, match=r"expected a run's folder with metrics\.jsonl"):
        jostle.Run.load(tmp_path)
    with pytest.raises(jostle.JostleError):
        jostle.train(resume=tmp_path)


def test_weights_of_another_model(small: dict) -> None:
    weights = jostle.train(small).weights
    with pytest.raises(jostle.JostleError, match=r"weights.*fc1.weight"):
        jostle.evaluate({"model": "mlp:64-8-10"}, weights)
    with pytest.raises(jostle.DataError, match=r"fc1\.bias: expected float32, found float64"):
        jostle.evaluate(small, {**weights, "fc1.bias": weights["fc1.bias"].astype(float)})
    with pytest.raises(jostle.ConfigError, match="weights: expected a file or arrays by name, found none"):
        jostle.evaluate(small)


def test_an_adapter_that_is_not_there(small: dict, tmp_path: Path) -> None:
    with pytest.raises(jostle.AdapterError, match=r"no adapter matches .*abacus"):
        jostle.train(small, adapter="abacus", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_a_driver_the_package_is_named(tmp_path: Path) -> None:
    code = "import jostle\ntry:\n  jostle.train()\nexcept jostle.AdapterError as error:\n  print(error)"
    bare = {
        **os.environ,
        "VK_DRIVER_FILES": str(tmp_path / "none.json"),
        "VK_ICD_FILENAMES": str(tmp_path / "none.json"),
    }
    done = subprocess.run([sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=False)
    assert "no GPU adapter found" in done.stdout and "apt install mesa-vulkan-drivers" in done.stdout, done.stderr


def test_divergence_has_the_run(small: dict, program: Program, tmp_path: Path) -> None:
    hot = {**small, "lr": 1e30, "epochs": 3, "noise": "layer"}
    with pytest.raises(jostle.DivergedError, match=r"diverged: the (loss|weights) .* not finite") as raised:
        jostle.train(hot, out=tmp_path / "python")
    run = raised.value.run
    assert run.status == "diverged" and len(run.steps["loss"]) > 0
    done = program("train", *[f"--{key}={value}" for key, value in hot.items()], "--out", str(tmp_path / "binary"))
    assert done.returncode == 4 and done.stderr.splitlines()[-1].startswith(run.sentence)


def interrupted_soon() -> None:
    """Ctrl-C from another thread, once training is under way."""

    def press() -> None:
        time.sleep(1.5)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()


def test_ctrl_c_keeps_what_was_reached(small: dict, tmp_path: Path) -> None:
    interrupted_soon()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt) as raised:
        jostle.train(
            small, epochs=10_000_000, noise="layer", log_every=0, eval_every="100000steps", out=tmp_path / "run"
        )
    assert time.monotonic() - started < 60
    assert isinstance(raised.value, jostle.Interrupted) and "resumes after step" in str(raised.value)
    run = raised.value.reached
    step = int(run.metrics["step"][-1])
    assert run.status == "interrupted" and step > 0
    resumed = jostle.train(resume=tmp_path / "run", steps=step + 10, force=True)
    whole = jostle.train(small, steps=step + 10, noise="layer", log_every=0, eval_every="100000steps")
    assert all((resumed.weights[name] == whole.weights[name]).all() for name in whole.weights)


def test_ctrl_c_ends_the_wheels_program(small: dict, tmp_path: Path) -> None:
    words = [f"--{key}={value}" for key, value in {**small, "epochs": 10_000_000, "eval-every": "100000steps"}.items()]
    program = [sys.executable, "-m", "jostle._program", "train", *words, "--out", str(tmp_path)]
    running = subprocess.Popen(program, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "metrics.jsonl").exists():
        assert running.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130 and "what was reached is saved" in said
    assert (tmp_path / "weights.safetensors").is_file()


def test_ctrl_c_ends_a_comparison(small: dict) -> None:
    interrupted_soon()
    with pytest.raises(jostle.Interrupted) as raised:
        jostle.compare(small, epochs=10_000_000, eval_every="100000steps", modes=["none", "layer"])
    assert raised.value.reached.runs["status"].tolist() == ["Interrupted"]


def test_ctrl_c_ends_an_experiment_without_a_report(tmp_path: Path) -> None:
    interrupted_soon()
    with pytest.raises(KeyboardInterrupt):
        jostle.experiment("convergence", settings={"arms.steps": 10_000_000}, out=tmp_path / "report")
    assert not (tmp_path / "report" / "verdict.json").exists()


def test_other_threads_run_meanwhile(small: dict) -> None:
    """The GIL is free while the engine works."""
    ticks = 0
    done = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    started = time.monotonic()
    jostle.train(small, epochs=40)
    took = time.monotonic() - started
    done.set()
    thread.join()
    assert ticks > 50 * took
