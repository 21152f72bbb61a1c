"""A random forest of scikit-learn as arrays, in the form of `training.common.array_models`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


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
