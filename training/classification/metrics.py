"""Metrics of classifiers, from probabilities: the same for the scorer of the tuning and for the gate.

Of two classes, precision, recall and f1 are those of the positive class, code 1. Of more, each is the mean
over the classes, and auc that of one class against the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Codes = NDArray[np.int64]
Metric = Callable[[Codes, Numbers], float]
RESAMPLES = 200
# Beyond, the standard error is small, and resampling would take longer than predicting.
MAX_RESAMPLED_ROWS = 20_000


def confusion(truth: Codes, probabilities: Numbers) -> NDArray[np.int64]:
    """Counts (classes, classes): rows true, columns predicted."""
    classes = probabilities.shape[1]
    pairs = truth * classes + probabilities.argmax(axis=1)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def accuracy(truth: Codes, probabilities: Numbers) -> float:
    return float(np.mean(probabilities.argmax(axis=1) == truth))


def precision(truth: Codes, probabilities: Numbers) -> float:
    """Of the rows predicted as a class, the share that is; 0 where none is predicted."""
    counts = confusion(truth, probabilities)
    return _of_classes(_ratio(counts.diagonal(), counts.sum(axis=0)))


def recall(truth: Codes, probabilities: Numbers) -> float:
    """Of the rows of a class, the share that is predicted as it."""
    counts = confusion(truth, probabilities)
    return _of_classes(_ratio(counts.diagonal(), counts.sum(axis=1)))


def f1(truth: Codes, probabilities: Numbers) -> float:
    """The harmonic mean of precision and recall."""
    counts = confusion(truth, probabilities)
    return _of_classes(_ratio(2 * counts.diagonal(), counts.sum(axis=0) + counts.sum(axis=1)))


def balanced_accuracy(truth: Codes, probabilities: Numbers) -> float:
    """The mean recall over all classes."""
    counts = confusion(truth, probabilities)
    return float(np.mean(_ratio(counts.diagonal(), counts.sum(axis=1))))


def auc(truth: Codes, probabilities: Numbers) -> float:
    """The chance that a row of the class gets a higher probability of it than one of another class.

    NaN where a class is missing.
    """
    found = [_auc(truth == code, probabilities[:, code]) for code in range(probabilities.shape[1])]
    return _of_classes(np.array(found))


def negative_log_loss(truth: Codes, probabilities: Numbers) -> float:
    """The mean logarithm of the true class's probability; larger is better, 0 is perfect."""
    chosen = probabilities[np.arange(len(truth)), truth]
    return float(np.mean(np.log(np.clip(chosen, 1e-15, 1.0))))


METRICS: Mapping[str, Metric] = {
    "accuracy": accuracy,
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "auc": auc,
}
SCORERS: Mapping[str, Metric] = {
    **METRICS,
    "balanced_accuracy": balanced_accuracy,
    "negative_log_loss": negative_log_loss,
}


def roc(truth: NDArray[np.bool_], scores: Numbers) -> tuple[Numbers, Numbers]:
    """False and true positive rates as the threshold falls, both from 0 to 1."""
    order = np.argsort(-scores, kind="stable")
    hits = truth[order]
    # Equal scores pass the threshold together.
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true, false = np.cumsum(hits)[ends], np.cumsum(~hits)[ends]
    rates = (false / max(1, int(false[-1])), true / max(1, int(true[-1])))
    return np.append(0.0, rates[0]), np.append(0.0, rates[1])


def measure(truth: Codes, probabilities: Numbers) -> dict[str, dict[str, Any]]:
    """Every metric in the form of SageMaker's model quality statistics.

    `standard_deviation` is the standard error by the bootstrap, "NaN" beyond `MAX_RESAMPLED_ROWS` rows.
    https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html
    """
    samples: dict[str, list[float]] = {name: [] for name in METRICS}
    if len(truth) <= MAX_RESAMPLED_ROWS:
        source = np.random.default_rng(1)
        for _ in range(RESAMPLES):
            chosen = source.integers(len(truth), size=len(truth))
            for name, metric in METRICS.items():
                samples[name].append(metric(truth[chosen], probabilities[chosen]))
    return {
        name: {
            "value": finite(metric(truth, probabilities)),
            "standard_deviation": finite(_spread(samples[name])),
        }
        for name, metric in METRICS.items()
    }


def finite(value: float) -> float | str:
    """JSON has no NaN; SageMaker's own reports write it as text."""
    return value if math.isfinite(value) else "NaN"


def _spread(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.std(known, ddof=1)) if len(known) > 1 else math.nan


def _of_classes(values: Numbers) -> float:
    return float(values[1]) if len(values) == 2 else float(np.mean(values))


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> Numbers:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _auc(truth: NDArray[np.bool_], scores: Numbers) -> float:
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return math.nan
    # The Mann-Whitney statistic, from ranks; equal scores share the mean of theirs.
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    total = float(ranks[places][truth].sum())
    return (total - positives * (positives + 1) / 2) / (positives * negatives)
