"""Models that are nothing but arrays, computed with numpy: what scikit-learn trained, without scikit-learn.

Its own way to store a model is pickle, which runs code when it is read, and ties the model to the version
that wrote it. The parameters of these four are arrays, and what is done with them a few lines; so they are
stored as .npz, read without pickle, checked (`array_checks`), and predict the same on any version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from training.common.array_checks import check_arrays, check_preparation
from training.common.array_file import Arrays, read_arrays
from training.common.encoder import Encoder, Matrix
from training.common.manifest import ModelError

Numbers = NDArray[np.float64]
_PREPARATION = ("categories", "medians", "means", "scales")
# Standard deviations; a training row is less than the root of the number of rows from the mean.
FARTHEST = 1e9
# Rows times trees: a call of NumPy costs as much as hundreds of branches, and few trees stay in the cache.
TOGETHER = 2**12
# Measured with 16 to 4,096 rows on a busy machine: of forests 19 to 50 ns, of neural nets 0.05 to 0.21 ns.
BRANCH_SECONDS = 50e-9
PARAMETER_SECONDS = 0.2e-9


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
        filled = matrix.astype(np.float64)
        medians = np.array([_median(column) for column in filled.T])
        filled = np.where(np.isnan(filled), medians, filled)
        scales = filled.std(axis=0)
        return cls(
            categories=_sizes(encoder),
            medians=medians,
            means=filled.mean(axis=0),
            scales=np.where(scales > 0, scales, 1.0),
        )

    def apply(self, matrix: Matrix) -> Numbers:
        """(rows, features) -> (rows, width): numbers scaled, a column of 0 and 1 for each category."""
        numeric = self.categories == 0
        numbers = matrix[:, numeric].astype(np.float64)
        numbers = np.where(np.isnan(numbers), self.medians[numeric], numbers)
        scaled = (numbers - self.means[numeric]) / self.scales[numeric]
        blocks = [np.clip(scaled, -FARTHEST, FARTHEST)]
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

    @property
    def row_seconds(self) -> float:
        """About what a row more in a call takes on one CPU."""
        if self.kind == "random-forest":
            return BRANCH_SECONDS * len(self.arrays["roots"]) * int(self.arrays["depth"])
        return PARAMETER_SECONDS * sum(array.size for array in self.arrays.values())

    def save(self, path: Path) -> None:
        with path.open("wb") as stream:
            self.write(stream)

    def write(self, stream: IO[bytes]) -> None:
        stored: dict[str, Any] = {name: getattr(self.preparation, name) for name in _PREPARATION}
        stored |= {"kind": np.array(self.kind), **self.arrays}
        np.savez(stream, **stored)


def load_array_model(path: Path, encoder: Encoder, classes: int) -> ArrayModel:
    """Raises ModelError if `path` is not what `ArrayModel.save` wrote of a model with so many classes."""
    try:
        arrays = read_arrays(path)
        kind = str(arrays.pop("kind"))
        if kind not in KINDS:
            raise ValueError(f"{kind[:60]!r} is not one of {', '.join(KINDS)}")
        prepared = {name: arrays.pop(name) for name in _PREPARATION if name in arrays}
        check_arrays(kind, arrays, check_preparation(prepared, _sizes(encoder)), classes)
    except KeyError:
        raise ModelError(f"{path.name} is not a model made of arrays: kind is missing") from None
    except ValueError as error:
        raise ModelError(f"{path.name} is not a model made of arrays: {error}") from error
    return ArrayModel(kind, Preparation(**prepared), arrays)


def softmax(scores: Numbers) -> Numbers:
    """(rows, classes) -> probabilities."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _sizes(encoder: Encoder) -> NDArray[np.int64]:
    """How many categories each feature has, 0 of a numeric one."""
    sizes = [len(encoder.categories.get(feature.name, ())) for feature in encoder.features]
    return np.array(sizes, dtype=np.int64)


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
    """All trees in one table of nodes; a leaf is its own child. `leaves` (nodes, classes)."""
    values = rows.astype(np.float32)  # as scikit-learn compares them
    roots, total = arrays["roots"], np.zeros((len(rows), arrays["leaves"].shape[1]))
    size = max(1, TOGETHER // max(1, len(rows)))
    for start in range(0, len(roots), size):
        total += _down_the_trees(arrays, roots[start : start + size], values)
    return np.asarray(total / len(roots))


def _down_the_trees(arrays: Arrays, roots: NDArray[np.int64], values: Matrix) -> Numbers:
    """Every row through these trees, level by level; the sum of the leaves (rows, classes)."""
    features, thresholds, left, right = (arrays[name] for name in ("features", "thresholds", "left", "right"))
    rows = np.arange(len(values))[:, np.newaxis]
    nodes = np.tile(roots, (len(values), 1))
    for _ in range(int(arrays["depth"])):
        goes_left = values[rows, features[nodes]] <= thresholds[nodes]
        nodes = np.where(goes_left, left[nodes], right[nodes])
    return np.asarray(arrays["leaves"][nodes].sum(axis=1))


KINDS: Mapping[str, Callable[[Arrays, Numbers], Numbers]] = {
    "logistic-regression": _logistic_regression,
    "naive-bayes": _naive_bayes,
    "neural-net": _neural_net,
    "random-forest": _random_forest,
}
