"""Own data: what arrays may be, and how the engine is given them."""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from ._errors import wrong

LARGEST_LABEL = 2**31 - 1


class Part(TypedDict):
    """Samples and targets, flat."""

    values: npt.NDArray[Any]
    answers: npt.NDArray[Any]
    outputs: int
    shape: list[int]


class Arrays(TypedDict):
    """A training part, and a test part if there is one."""

    train: Part
    test: Part | None


def described(array: npt.NDArray[Any]) -> str:
    return f"{array.dtype} of shape {array.shape}"


def as_array(name: str, values: Any) -> npt.NDArray[Any]:
    try:
        return np.asarray(values)
    except Exception as error:
        raise wrong(name, "an array", f"{type(values).__name__}: {error}") from None


def samples(name: str, values: Any) -> tuple[npt.NDArray[Any], list[int]]:
    """Samples, flat, and the shape of one: channels, rows, columns."""
    array = as_array(name, values)
    if array.dtype not in (np.uint8, np.float32):
        advice = f"; {name}.astype('float32') makes them so" if array.dtype.kind in "fiu" else ""
        raise wrong(name, f"uint8 (of which 255 means 1) or float32{advice}", described(array))
    ranks = "[N, features], [N, height, width] or [N, channels, height, width]"
    if array.ndim not in (2, 3, 4) or array.size == 0:
        raise wrong(name, ranks, described(array))
    shape = [1] * (4 - array.ndim) + list(array.shape[1:])
    return np.ascontiguousarray(array).reshape(-1), shape


def targets(name: str, values: Any, count: int) -> tuple[npt.NDArray[Any], int]:
    """Classes or vectors, flat, and how many outputs they ask for."""
    array = as_array(name, values)
    kinds = "integer classes [N] or float32 vectors [N, width]"
    whole = array.dtype.kind in "iu"
    if not (whole or array.dtype == np.float32):
        raise wrong(name, kinds, described(array))
    if array.ndim != 1 and (whole or array.ndim != 2 or array.shape[1] == 0):
        raise wrong(name, kinds, described(array))
    if len(array) != count:
        raise wrong(name, f"{count} targets, one for each sample", str(len(array)))
    if not whole:
        return np.ascontiguousarray(array).reshape(-1), array.shape[1] if array.ndim == 2 else 1
    outside = np.flatnonzero((array < 0) | (array > LARGEST_LABEL))
    if len(outside):
        at = int(outside[0])
        raise wrong(f"{name}[{at}]", f"a class from 0 to {LARGEST_LABEL}", str(int(array[at])))
    return np.ascontiguousarray(array, dtype=np.uint32), int(array.max()) + 1


def part(names: tuple[str, str], values: Any, answers: Any) -> Part:
    flat, shape = samples(names[0], values)
    flat_answers, outputs = targets(names[1], answers, len(flat) // (shape[0] * shape[1] * shape[2]))
    return {"values": flat, "answers": flat_answers, "outputs": outputs, "shape": shape}


def fits(train: Part, test: Part) -> None:
    """Whether the test part is of the kind of the training part."""
    for what, name in (("values", "X_test"), ("answers", "y_test")):
        expected, found = train[what].dtype, test[what].dtype  # type: ignore[literal-required]
        if expected != found:
            raise wrong(name, f"{expected} as the training part", str(found))
    if train["shape"] != test["shape"]:
        raise wrong("X_test", f"samples of {times(train['shape'])} as the training part", times(test["shape"]))
    if train["answers"].dtype == np.float32:
        if train["outputs"] != test["outputs"]:
            raise wrong("y_test", f"vectors of {train['outputs']} as the training part", str(test["outputs"]))
    elif test["outputs"] > train["outputs"]:
        at = int(test["answers"].argmax())
        raise wrong(f"y_test[{at}]", f"a class below {train['outputs']} as the training part", str(test["outputs"] - 1))


def times(shape: list[int]) -> str:
    return " x ".join(map(str, shape))


def arrays(data: Any) -> Arrays | None:
    """`(X, y)` or `(X, y, X_test, y_test)`, checked.

    >>> own = arrays((np.zeros((5, 3), "float32"), [0, 1, 2, 1, 0]))
    >>> own["train"]["shape"], own["train"]["outputs"], own["test"]
    ([1, 1, 3], 3, None)
    >>> arrays((np.zeros((5, 3)), [0, 1, 2, 1, 0]))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    jostle._errors.DataError: X: expected uint8 (of which 255 means 1) or float32; ..., found float64 of shape (5, 3)
    """
    if data is None:
        return None
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 4):
        found = f"{len(data)} parts" if isinstance(data, (tuple, list)) else type(data).__name__
        raise wrong("data", "(X, y) or (X, y, X_test, y_test)", found)
    train = part(("X", "y"), data[0], data[1])
    if len(data) == 2:
        return {"train": train, "test": None}
    test = part(("X_test", "y_test"), data[2], data[3])
    fits(train, test)
    if train["answers"].dtype != np.float32:
        test["outputs"] = train["outputs"]
    return {"train": train, "test": test}


def flat_weights(weights: Any) -> list[tuple[str, list[int], npt.NDArray[np.float32]]]:
    """Weights by name as the engine takes them: arrays, or tensors as PyTorch's `state_dict` has them."""
    flat = []
    for name, values in weights.items():
        if name.endswith(".num_batches_tracked"):
            continue  # PyTorch's count of batches, which nothing here needs
        values = values.detach().cpu() if hasattr(values, "detach") else values
        array = as_array(name, values)
        if array.dtype != np.float32:
            raise wrong(name, "float32", described(array))
        flat.append((name, list(array.shape), np.ascontiguousarray(array).reshape(-1)))
    return flat
