"""Whether arrays are those of a model: names, types, shapes, and numbers that can only lead to numbers.

Golden rows take a few branches and columns; another row would meet the rest. What passes predicts finite
probabilities of every row, in bounded time. All functions raise ValueError with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.common.array_file import Arrays

# Parameters beyond it are no trained ones; within it no product of MAX_LAYERS layers overflows.
LARGEST = 1e12
LARGEST_VALUE = float(np.finfo(np.float32).max)  # of a feature
SMALLEST = 1e-100  # of what divides, or has a logarithm
MAX_LAYERS = 16
MAX_STEPS = 100_000  # of a row through a forest, trees times depth: some milliseconds
_FLOAT, _INTEGER = np.dtype(np.float64), np.dtype(np.int64)


def check_preparation(arrays: Arrays, sizes: NDArray[np.int64]) -> int:
    """The width of the prepared rows; `sizes` (features,): how many categories the encoder has of each."""
    _names(arrays, "categories", "medians", "means", "scales")
    found = _typed(arrays, "categories", _INTEGER, len(sizes))
    if (found != sizes).any():
        raise ValueError("categories are not as many as the encoder's")
    for name in ("medians", "means"):
        _numbers(arrays, name, len(sizes), low=-LARGEST_VALUE, high=LARGEST_VALUE)
    _numbers(arrays, "scales", len(sizes), low=SMALLEST, high=LARGEST_VALUE)
    return int((sizes == 0).sum() + sizes.sum())


def check_arrays(kind: str, arrays: Arrays, width: int, classes: int) -> None:
    """`kind`: of the model; `width`: of the prepared rows."""
    CHECKS[kind](arrays, width, classes)


def _logistic_regression(arrays: Arrays, width: int, classes: int) -> None:
    _names(arrays, "weights", "bias")
    _numbers(arrays, "weights", width, classes)
    _numbers(arrays, "bias", classes)


def _naive_bayes(arrays: Arrays, width: int, classes: int) -> None:
    _names(arrays, "centers", "variances", "priors")
    _numbers(arrays, "centers", classes, width)
    _numbers(arrays, "variances", classes, width, low=SMALLEST)
    _numbers(arrays, "priors", classes, low=SMALLEST, high=1.0)


def _neural_net(arrays: Arrays, width: int, classes: int) -> None:
    layers = _whole(arrays, "layers", 1, MAX_LAYERS)
    names = [f"{part}_{layer}" for layer in range(layers) for part in ("weights", "bias")]
    _names(arrays, "layers", *names)
    for layer in range(layers):
        last = layer == layers - 1
        units = classes if last else arrays[f"bias_{layer}"].size
        _numbers(arrays, f"weights_{layer}", width, units)
        _numbers(arrays, f"bias_{layer}", units)
        width = units


def _random_forest(arrays: Arrays, width: int, classes: int) -> None:
    _names(arrays, "left", "right", "features", "thresholds", "leaves", "roots", "depth")
    nodes, trees = arrays["left"].size, arrays["roots"].size
    if not 0 < trees <= min(nodes, MAX_STEPS):
        raise ValueError(f"{trees} trees of {nodes} nodes are no forest")
    depth = _whole(arrays, "depth", 0, MAX_STEPS // trees)
    left, right, roots = (
        _within(arrays, name, size, nodes)
        for name, size in (("left", nodes), ("right", nodes), ("roots", trees))
    )
    _within(arrays, "features", nodes, width)
    _numbers(arrays, "thresholds", nodes)
    leaves = _numbers(arrays, "leaves", nodes, classes, low=0.0, high=1.0)
    if not np.allclose(leaves.sum(axis=1), 1.0, rtol=0.0, atol=1e-6):
        raise ValueError("leaves hold probabilities that do not sum to 1")
    places = np.arange(nodes)
    inner = left != places
    if (inner & ((left <= places) | (right <= places))).any() or (right != places)[~inner].any():
        raise ValueError("a tree has a branch that leads back")
    if (np.bincount(np.concatenate([roots, left[inner], right[inner]]), minlength=nodes) != 1).any():
        raise ValueError("a tree has a node that is no branch's end, or that of several")
    reached = roots[inner[roots]]
    for _ in range(depth):
        if not reached.size:
            raise ValueError("depth is more than that of the deepest tree")
        reached = np.concatenate([left[reached], right[reached]])
        reached = reached[inner[reached]]
    if reached.size:
        raise ValueError("depth is less than that of the deepest tree")


def _names(arrays: Arrays, *names: str) -> None:
    if missing := [name for name in names if name not in arrays]:
        raise ValueError(f"{missing[0]} is missing")
    if unknown := sorted(arrays.keys() - set(names)):
        raise ValueError(f"{unknown[0][:60]!r} is no array of such a model")


def _typed(arrays: Arrays, name: str, dtype: np.dtype[Any], *shape: int) -> NDArray[Any]:
    array = arrays[name]
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{name} is {array.dtype} {array.shape}, needs {dtype} {shape}")
    return array


def _numbers(
    arrays: Arrays, name: str, *shape: int, low: float = -LARGEST, high: float = LARGEST
) -> NDArray[np.float64]:
    array = _typed(arrays, name, _FLOAT, *shape)
    if not ((array >= low) & (array <= high)).all():  # NaN is neither
        raise ValueError(f"{name} holds numbers that are not from {low:g} to {high:g}")
    return array


def _within(arrays: Arrays, name: str, size: int, count: int) -> NDArray[np.int64]:
    """Places among `count`."""
    array = _typed(arrays, name, _INTEGER, size)
    if not ((array >= 0) & (array < count)).all():
        raise ValueError(f"{name} leads to a place that is not there")
    return array


def _whole(arrays: Arrays, name: str, low: int, high: int) -> int:
    if name not in arrays:
        raise ValueError(f"{name} is missing")
    value = int(_typed(arrays, name, _INTEGER))
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, needs {low} to {high}")
    return value


CHECKS: Mapping[str, Callable[[Arrays, int, int], None]] = {
    "logistic-regression": _logistic_regression,
    "naive-bayes": _naive_bayes,
    "neural-net": _neural_net,
    "random-forest": _random_forest,
}
