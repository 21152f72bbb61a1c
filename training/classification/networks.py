"""Neural nets and linear models of scikit-learn as arrays, in the form of `training.common.array_models`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def for_softmax(weights: Numbers, bias: Numbers) -> tuple[Numbers, Numbers]:
    """A last layer with one output per class; of two classes scikit-learn has one, for the second.

    The logistic function of z is the softmax of (0, z).
    """
    if weights.shape[1] > 1:
        return weights, bias
    return np.hstack([np.zeros_like(weights), weights]), np.array([0.0, float(bias[0])])


def arrays_of(net: Any) -> dict[str, NDArray[Any]]:
    """The layers of an MLPClassifier with rectifiers."""
    layers = list(zip(net.coefs_, net.intercepts_, strict=True))
    layers[-1] = for_softmax(*layers[-1])
    arrays: dict[str, NDArray[Any]] = {"layers": np.array(len(layers))}
    for index, (weights, bias) in enumerate(layers):
        arrays |= {f"weights_{index}": weights, f"bias_{index}": bias}
    return arrays
