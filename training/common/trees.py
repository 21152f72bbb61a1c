"""Whether trees read from a file lead only where there are nodes: no branch out, none back.

Golden rows take a few branches of a tree; another row would follow the rest, in native code that does not
check them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.common.manifest import ModelError

Numbers = NDArray[np.int64]
# Of boosting, looked at together: as JSON a tree takes many times its own memory.
ROUNDS = 100


def check_xgboost(booster: Any) -> None:
    """Raises ModelError."""
    rounds, features = booster.num_boosted_rounds(), booster.num_features()
    for number, tree in enumerate(_trees(booster, rounds)):
        left, right, split = (
            _numbers(tree[name]) for name in ("left_children", "right_children", "split_indices")
        )
        _check(number, left, right, split, features)
        starts, sizes = (_numbers(tree[f"categories_{name}"]) for name in ("segments", "sizes"))
        if starts.size and not (
            min(starts.min(), sizes.min()) >= 0 and (starts + sizes).max() <= len(tree["categories"])
        ):
            raise ModelError(f"tree {number} reads categories that are not there")


def _trees(booster: Any, rounds: int) -> Iterator[dict[str, Any]]:
    for start in range(0, rounds, ROUNDS):
        part = booster if rounds <= ROUNDS else booster[start : min(start + ROUNDS, rounds)]
        yield from json.loads(bytes(part.save_raw("json")))["learner"]["gradient_booster"]["model"]["trees"]


def check_lightgbm(text: str, features: int) -> None:
    """`text`: the model's file. Raises ModelError."""
    for number, block in enumerate(text.split("\nTree=")[1:]):
        lines = block.partition("\n\n")[0].splitlines()[1:]
        tree = dict(line.split("=", 1) for line in lines if "=" in line)
        try:
            leaves = int(tree["num_leaves"])
            left, right, split = (
                _numbers(tree.get(name, "").split())
                for name in ("left_child", "right_child", "split_feature")
            )
            values = len(tree["leaf_value"].split())
            boundaries = _numbers(tree.get("cat_boundaries", "0").split())
            bits = len(tree.get("cat_threshold", "").split())
        except (KeyError, ValueError, OverflowError) as error:
            raise ModelError(f"tree {number} is incomplete: {error!r}") from None
        if leaves < 1 or values != leaves or any(len(part) != leaves - 1 for part in (left, right, split)):
            raise ModelError(f"tree {number} has not as many nodes as it says")
        if boundaries.min() < 0 or (np.diff(boundaries) < 0).any() or boundaries.max() > bits:
            raise ModelError(f"tree {number} reads categories that are not there")
        if leaves == 1:
            continue
        # Here a leaf is a negative number; for the walk leaves follow the inner nodes, and end it.
        children = [np.where(side < 0, leaves - 1 + ~side, side) for side in (left, right)]
        if any((side >= leaves - 1).any() or (~side >= leaves).any() for side in (left, right)):
            raise ModelError(f"tree {number} leads to a node that is not there")
        ends = np.full(leaves, -1)
        left, right = (np.concatenate([side, ends]) for side in children)
        _check(number, left, right, np.concatenate([split, np.zeros(leaves, np.int64)]), features)


def _check(number: int, left: Numbers, right: Numbers, split: Numbers, features: int) -> None:
    """Walks from node 0, level by level; -1 as the left child is a leaf."""
    nodes, reached, visited = len(left), np.array([0]), 0
    if len(right) != nodes or len(split) != nodes:
        raise ModelError(f"tree {number} has not as many nodes as it says")
    while reached.size:
        visited += reached.size
        if visited > nodes:
            raise ModelError(f"tree {number} has a branch that leads back")
        if reached.min() < 0 or reached.max() >= nodes:
            raise ModelError(f"tree {number} leads to a node that is not there")
        inner = reached[left[reached] != -1]
        if inner.size and not (split[inner].min() >= 0 and split[inner].max() < features):
            raise ModelError(f"tree {number} reads a feature that is not there")
        reached = np.concatenate([left[inner], right[inner]])


def _numbers(values: Any) -> Numbers:
    return np.array(values, dtype=np.int64)
