"""A random forest of scikit-learn as arrays, in the form of `training.common.array_models`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# A server counts a model three times its size, and has 5.6 GB for all models on 8 GB of memory; while it is
# trained the trees are in memory twice.
LARGEST_BYTES = 256 * 1024**2


def smallest_leaf(rows: int, trees: int, depth: int, classes: int) -> int:
    """How many rows a leaf needs so that the arrays of the forest stay below LARGEST_BYTES.

    1 for as long as the table is small, or the trees are: neither is then changed.

    >>> [smallest_leaf(rows, 200, 16, 2) for rows in (10_000, 1_000_000)], smallest_leaf(1_000_000, 20, 4, 2)
    ([1, 72], 1)
    """
    node_bytes = 4 * 8 + 8 * classes  # left, right, features, thresholds; leaves
    leaves = max(1, LARGEST_BYTES // (2 * node_bytes * trees))  # of a tree, which has an inner node less
    return 1 if 2**depth <= leaves else max(1, -(-rows // leaves))


def arrays_of(forest: Any) -> dict[str, NDArray[Any]]:
    """All trees in one table of nodes; a leaf is its own child, so that walking on stays there."""
    trees = [estimator.tree_ for estimator in forest.estimators_]
    starts = np.cumsum([0, *(tree.node_count for tree in trees)])
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in _NAMES}
    for start, tree in zip(starts, trees, strict=False):
        places = np.arange(tree.node_count)
        is_leaf = tree.children_left < 0
        counts = tree.value[:, 0, :]
        parts["left"].append(start + np.where(is_leaf, places, tree.children_left))
        parts["right"].append(start + np.where(is_leaf, places, tree.children_right))
        parts["features"].append(np.where(is_leaf, 0, tree.feature))
        parts["thresholds"].append(np.where(is_leaf, 0.0, tree.threshold))
        parts["leaves"].append(counts / counts.sum(axis=1, keepdims=True))
    return {
        **{name: np.concatenate(arrays) for name, arrays in parts.items()},
        "roots": starts[:-1],
        "depth": np.array(max(tree.max_depth for tree in trees)),
    }


_NAMES = ("left", "right", "features", "thresholds", "leaves")
