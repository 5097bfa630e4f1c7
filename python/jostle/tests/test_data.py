"""Own data: kinds and shapes that are taken, and what is said of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jostle

Data = tuple[Any, ...]


def rows(count: int = 120, features: int = 4, seed: int = 0) -> Data:
    """Two classes that the sum of the features tells apart."""
    X = np.random.default_rng(seed).standard_normal((count, features)).astype(np.float32)
    return X, (X.sum(axis=1) > 0).astype(np.int64)


def images(count: int, *shape: int) -> Data:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, count)
    return (rng.integers(0, 40, (count, *shape)) + y.reshape(-1, *[1] * len(shape)) * 100).astype(np.uint8), y


def test_features_are_learnt() -> None:
    run = jostle.train({"model": "mlp:4-16-2", "epochs": 30, "lr": 0.1, "batch": 32}, data=(*rows(), *rows(50, 4, 1)))
    assert run.config["data"] == "arrays" and run.training_data == "arrays, 120 samples"
    assert run.metrics["test_accuracy"][-1] > 0.9


@pytest.mark.parametrize("shape", [(6, 5), (1, 6, 5), (3, 6, 5)], ids=str)
def test_images_are_learnt(shape: tuple[int, ...]) -> None:
    features = int(np.prod(shape))
    run = jostle.train({"model": f"mlp:{features}-16-3", "epochs": 10, "lr": 0.1, "batch": 32}, data=images(90, *shape))
    assert run.metrics["test_accuracy"][-1] > 0.9
    assert run.training_data == "arrays, 81 samples", "a tenth is the test part"


def test_channels_come_first() -> None:
    """A mean of the first channel is one of the first plane: the layout is NCHW, and bytes are scaled by 255."""
    X = np.zeros((4, 2, 3, 3), np.uint8)
    X[:, 0] = 255
    weights = {"fc1.weight": np.zeros((2, 18), np.float32), "fc1.bias": np.zeros(2, np.float32)}
    weights["fc1.weight"][0, :9], weights["fc1.weight"][1, 9:] = 1 / 9, 1 / 9
    scored = jostle.evaluate({"model": "mlp:18-2"}, weights, (X, np.zeros(4, int)), outputs=True)
    np.testing.assert_allclose(scored.outputs, [[1, 0]] * 4, rtol=1e-6)
    assert scored.samples == 4 and scored.accuracy == 1.0


def test_vectors_are_fitted() -> None:
    x = np.linspace(-1, 1, 200, dtype=np.float32)
    y = np.stack([np.sin(3 * x), np.cos(3 * x)], axis=1)
    config = {"model": "mlp:1-32-2:tanh", "loss": "mse", "epochs": 40, "lr": 0.1, "batch": 32}
    run = jostle.train(config, data=(x[:, None], y))
    assert run.metrics["test_loss"][-1] < 0.2 and "test_accuracy" not in run.metrics
    assert jostle.train({**config, "model": "mlp:1-8-1"}, data=(x[:, None], y[:, 0]), epochs=1).status == "finished"


def test_what_need_not_lie_in_order_is_the_same() -> None:
    X, y = rows()
    config = {"model": "mlp:4-8-2", "epochs": 1}
    plain = jostle.train(config, data=(X, y))
    strided = jostle.train(config, data=(np.asfortranarray(X), y.astype(np.uint8).tolist()))
    assert (plain.weights["fc1.weight"] == strided.weights["fc1.weight"]).all()


def test_own_data_are_measured_with_their_run() -> None:
    X, y = rows()
    run = jostle.train({"model": "mlp:4-8-2", "epochs": 2, "normalise": "data"}, data=(X, y))
    assert jostle.evaluate(run).loss == run.metrics["test_loss"][-1]
    assert jostle.evaluate(run, part="train").samples == 108
    assert jostle.evaluate(run, data=rows(30, 4, 2)).samples == 30
    assert jostle.hessian(run, probes=2, lanczos_steps=0).samples == 108
    assert jostle.noise(run, step=3, noise="layer", sigma=0.1)["fc2.bias"].any()


def test_own_data_resume_with_their_run(tmp_path: Path) -> None:
    X, y = rows()
    config = {"model": "mlp:4-8-2", "epochs": 3, "noise": "layer", "batch": 32}
    jostle.train(config, (X, y), callback=lambda record: False, out=tmp_path)
    with pytest.raises(jostle.ConfigError, match="unknown data source `arrays`"):
        jostle.train(resume=tmp_path)
    with pytest.raises(jostle.JostleError, match="does not resume from here"):
        jostle.train(data=(X + 1, y), resume=tmp_path)
    resumed, whole = jostle.train(data=(X, y), resume=tmp_path), jostle.train(config, (X, y))
    assert all((resumed.weights[name] == whole.weights[name]).all() for name in whole.weights)


X, Y = rows(20)
WRONG = [
    ((X.astype(np.float64), Y), "X: expected uint8", "float64 of shape (20, 4)"),
    ((X.astype(np.int32), Y), "astype('float32')", "int32 of shape (20, 4)"),
    ((np.array(["a", "b"]), Y), "X: expected uint8", "<U1 of shape (2,)"),
    ((X[:, 0], Y), "X: expected [N, features], [N, height, width] or [N, channels, height, width]", "(20,)"),
    ((X[:0], Y[:0]), "X: expected [N, features]", "(0, 4)"),
    ((X.reshape(5, 2, 2, 2, 2), Y), "X: expected [N, features]", "(5, 2, 2, 2, 2)"),
    ((X, Y[:-1]), "y: expected 20 targets, one for each sample", "19"),
    ((X, Y.astype(np.float64)), "y: expected integer classes [N] or float32 vectors [N, width]", "float64"),
    ((X, Y > 0), "y: expected integer classes", "bool"),
    ((X, Y[:, None]), "y: expected integer classes", "(20, 1)"),
    ((X, Y - 1), "expected a class from 0", "-1"),
    ((X, Y, X), "data: expected (X, y) or (X, y, X_test, y_test)", "3 parts"),
    (X, "data: expected (X, y) or (X, y, X_test, y_test)", "ndarray"),
    ((X, Y, X[:, :3], Y), "X_test: expected samples of 1 x 1 x 4 as the training part", "1 x 1 x 3"),
    ((X, Y, X.astype(np.uint8), Y), "X_test: expected float32 as the training part", "uint8"),
    ((X, Y, X, Y + 1), "expected a class below 2 as the training part", "2"),
    ((X, Y, X, Y.astype(np.float32)), "y_test: expected uint32 as the training part", "float32"),
]


@pytest.mark.parametrize(("data", "expected", "found"), WRONG, ids=[str(at) for at in range(len(WRONG))])
def test_what_is_wrong_is_named(data: Any, expected: str, found: str) -> None:
    with pytest.raises(jostle.DataError) as raised:
        jostle.train({"model": "mlp:4-8-2"}, data=data)
    assert expected in str(raised.value) and found in str(raised.value)
    assert raised.value.expected and raised.value.found and raised.value.expected in str(raised.value)


def test_the_engine_names_what_is_wrong_too() -> None:
    nan = X.copy()
    nan[3, 2] = np.nan
    for data, config, sentence in [
        ((nan, Y), {"model": "mlp:4-8-2"}, "arrays: at value 2 of sample 3, expected a finite number"),
        ((X, Y), {"model": "mlp:5-8-2"}, "takes 5 inputs, but samples of arrays have 4"),
        ((X, Y + 3), {"model": "mlp:4-8-2"}, "has 2 outputs, but arrays has 5 classes"),
    ]:
        with pytest.raises(jostle.DataError, match=sentence):
            jostle.train(config, data=data)
