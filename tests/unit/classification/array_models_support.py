"""Models made of arrays as training leaves them, of every kind, without training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.classification.refit import write_model
from training.classification.rows import LabelledRow
from training.common.array_models import ArrayModel, Preparation
from training.common.encoder import Encoder
from training.common.features import Feature, Value
from training.common.manifest import Golden, Manifest

CLASSES = ("no", "perhaps", "yes")
ENCODER = Encoder(
    (Feature("length", "numeric"), Feature("soil", "categorical"), Feature("width", "numeric")),
    {"soil": ("clay", "sand")},
)
WIDTH = 4  # of a prepared row
ROWS: list[list[Value]] = [[1.0, "sand", -0.5], [-2.0, "clay", None], [None, None, 3.0], [0.0, "moss", 1e30]]
PREPARATION = Preparation(
    categories=np.array([0, 2, 0]),
    medians=np.array([0.5, 0.0, 1.0]),
    means=np.array([0.1, 0.0, 0.9]),
    scales=np.array([2.0, 1.0, 0.5]),
)


def forest(trees: int, depth: int, seed: int = 1) -> dict[str, NDArray[Any]]:
    """Each tree goes on to the right only, so that it has few nodes for its depth."""
    chance, size = np.random.default_rng(seed), 2 * depth + 1
    place = np.arange(size)
    inner = (place % 2 == 0) & (place < size - 1)
    starts = np.arange(trees) * size
    leaves = chance.random((trees * size, len(CLASSES)))

    def of_all(children: NDArray[Any]) -> NDArray[Any]:
        return (starts[:, None] + children).ravel()

    return {
        "left": of_all(np.where(inner, place + 1, place)),
        "right": of_all(np.where(inner, place + 2, place)),
        "features": chance.integers(0, WIDTH, trees * size),
        "thresholds": chance.normal(size=trees * size),
        "leaves": leaves / leaves.sum(axis=1, keepdims=True),
        "roots": starts,
        "depth": np.array(depth),
    }


def models() -> Mapping[str, ArrayModel]:
    """One of each kind."""
    chance, count = np.random.default_rng(1), len(CLASSES)
    arrays: dict[str, dict[str, NDArray[Any]]] = {
        "logistic-regression": {
            "weights": chance.normal(size=(WIDTH, count)), "bias": chance.normal(size=count),
        },
        "naive-bayes": {
            "centers": chance.normal(size=(count, WIDTH)),
            "variances": chance.random((count, WIDTH)) + 0.1,
            "priors": np.array([0.2, 0.3, 0.5]),
        },
        "neural-net": {
            "layers": np.array(2),
            "weights_0": chance.normal(size=(WIDTH, 5)), "bias_0": chance.normal(size=5),
            "weights_1": chance.normal(size=(5, count)), "bias_1": chance.normal(size=count),
        },
        "random-forest": forest(4, 3),
    }  # fmt: skip
    return {kind: ArrayModel(kind, PREPARATION, found) for kind, found in arrays.items()}


def write_folder(folder: Path, model: ArrayModel) -> Path:
    """The model's folder with golden rows, as training writes it."""
    folder.mkdir(parents=True)
    manifest = Manifest(
        framework="scikit-learn",
        framework_version="1.0",
        model="model.npz",
        encoder="encoder.json",
        features=ENCODER.features,
        classes=CLASSES,
        golden=Golden(instances=(), predictions=()),
    )
    write_model(folder, model, ENCODER, manifest, [LabelledRow("", "", row) for row in ROWS])
    return folder
