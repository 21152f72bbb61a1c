"""Models that are nothing but arrays, computed with numpy: what scikit-learn trained, without scikit-learn.

Its own way to store a model is pickle, which runs code when it is read, and ties the model to the version
that wrote it. The parameters of these four are arrays, and what is done with them a few lines; so they are
stored as .npz, read with `allow_pickle=False`, and predict the same on any version.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.common.encoder import Encoder, Matrix
from training.common.manifest import ModelError

Arrays = Mapping[str, NDArray[Any]]
Numbers = NDArray[np.float64]
_PREPARATION = ("categories", "medians", "means", "scales")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """Makes the encoder's matrix, where NaN is unknown, one without gaps, of similar scale.

    categories (features,): how many categories a feature has, 0 of a numeric one. medians, means, scales
    (features,): of numeric features, fitted on training rows; a gap becomes the median.
    """

    categories: NDArray[np.int64]
    medians: Numbers
    means: Numbers
    scales: Numbers

    @classmethod
    def fit(cls, encoder: Encoder, matrix: Matrix) -> Preparation:
        """From training rows; `matrix` (rows, features) as the encoder makes it."""
        sizes = [len(encoder.categories.get(feature.name, ())) for feature in encoder.features]
        filled = matrix.astype(np.float64)
        medians = np.array([_median(column) for column in filled.T])
        filled = np.where(np.isnan(filled), medians, filled)
        scales = filled.std(axis=0)
        return cls(
            categories=np.array(sizes, dtype=np.int64),
            medians=medians,
            means=filled.mean(axis=0),
            scales=np.where(scales > 0, scales, 1.0),
        )

    def apply(self, matrix: Matrix) -> Numbers:
        """(rows, features) -> (rows, width): numbers scaled, a column of 0 and 1 for each category."""
        numeric = self.categories == 0
        numbers = matrix[:, numeric].astype(np.float64)
        numbers = np.where(np.isnan(numbers), self.medians[numeric], numbers)
        blocks = [(numbers - self.means[numeric]) / self.scales[numeric]]
        blocks += [
            (matrix[:, [place]] == np.arange(self.categories[place])).astype(np.float64)
            for place in np.flatnonzero(~numeric)
        ]
        return np.concatenate(blocks, axis=1)


@dataclass(frozen=True, slots=True)
class ArrayModel:
    """`kind`: a key of `KINDS`, which says how `arrays` predict."""

    kind: str
    preparation: Preparation
    arrays: Arrays

    def probabilities(self, matrix: Matrix) -> Numbers:
        """The encoder's matrix (rows, features) -> (rows, classes)."""
        return KINDS[self.kind](self.arrays, self.preparation.apply(matrix))

    def save(self, path: Path) -> None:
        stored: dict[str, Any] = {name: getattr(self.preparation, name) for name in _PREPARATION}
        stored |= {"kind": np.array(self.kind), **self.arrays}
        with path.open("wb") as stream:
            np.savez(stream, **stored)


def load_array_model(path: Path) -> ArrayModel:
    """Raises ModelError if `path` is not what `ArrayModel.save` wrote."""
    try:
        with zipfile.ZipFile(path) as bundle:
            # Nothing is compressed, so that the file's size is what it takes in memory.
            if any(item.compress_type != zipfile.ZIP_STORED for item in bundle.infolist()):
                raise ValueError("its arrays are compressed")
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        kind = str(arrays.pop("kind"))
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is not one of {', '.join(KINDS)}")
        preparation = Preparation(**{name: arrays.pop(name) for name in _PREPARATION})
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path.name} is not a model made of arrays: {error}") from error
    return ArrayModel(kind, preparation, arrays)


def softmax(scores: Numbers) -> Numbers:
    """(rows, classes) -> probabilities."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _median(column: Numbers) -> float:
    known = column[~np.isnan(column)]
    return float(np.median(known)) if len(known) else 0.0


def _logistic_regression(arrays: Arrays, rows: Numbers) -> Numbers:
    return softmax(rows @ arrays["weights"] + arrays["bias"])


def _naive_bayes(arrays: Arrays, rows: Numbers) -> Numbers:
    """Gaussians, independent given the class: `centers` and `variances` (classes, width)."""
    variances = arrays["variances"]
    constants = np.log(arrays["priors"]) - 0.5 * np.log(2 * np.pi * variances).sum(axis=1)
    distances = [
        ((rows - center) ** 2 / variance).sum(axis=1)
        for center, variance in zip(arrays["centers"], variances, strict=True)
    ]
    return softmax(constants - 0.5 * np.stack(distances, axis=1))


def _neural_net(arrays: Arrays, rows: Numbers) -> Numbers:
    """Fully connected layers with rectifiers between them."""
    layers = int(arrays["layers"])
    for layer in range(layers):
        rows = rows @ arrays[f"weights_{layer}"] + arrays[f"bias_{layer}"]
        if layer < layers - 1:
            rows = np.maximum(rows, 0.0)
    return softmax(rows)


def _random_forest(arrays: Arrays, rows: Numbers) -> Numbers:
    """All trees in one table of nodes: a leaf is its own child. `leaves` (nodes, classes)."""
    features, thresholds = arrays["features"], arrays["thresholds"]
    left, right, leaves = arrays["left"], arrays["right"], arrays["leaves"]
    values = rows.astype(np.float32)  # as scikit-learn compares them
    total = np.zeros((len(rows), leaves.shape[1]))
    places = np.arange(len(rows))
    for root in arrays["roots"]:
        nodes = np.full(len(rows), root)
        for _ in range(int(arrays["depth"])):
            goes_left = values[places, features[nodes]] <= thresholds[nodes]
            nodes = np.where(goes_left, left[nodes], right[nodes])
        total += leaves[nodes]
    return np.asarray(total / len(arrays["roots"]))


KINDS: Mapping[str, Callable[[Arrays, Numbers], Numbers]] = {
    "logistic-regression": _logistic_regression,
    "naive-bayes": _naive_bayes,
    "neural-net": _neural_net,
    "random-forest": _random_forest,
}
