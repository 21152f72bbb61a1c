"""Metrics that the XGBoost algorithm has besides XGBoost's own, and how they are written to the log.

https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost-tuning.html
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xgboost

Metric = Callable[[Any, Any], float]


def _classes(predicted: Any) -> Any:
    """Class of each row, from probabilities or from classes."""
    if predicted.ndim > 1:
        return predicted.argmax(axis=1)
    return (predicted > 0.5).astype(int) if predicted.size and predicted.max() <= 1 else predicted.astype(int)


def _scored(name: str, **options: Any) -> Metric:
    def measure(labels: Any, predicted: Any) -> float:
        import sklearn.metrics

        return float(getattr(sklearn.metrics, name)(labels, _classes(predicted), **options))

    return measure


CUSTOM: dict[str, Metric] = {
    "accuracy": _scored("accuracy_score"),
    "balanced_accuracy": _scored("balanced_accuracy_score"),
    "f1": _scored("f1_score", average="macro"),
    "f1_binary": _scored("f1_score", average="binary"),
    "f1_macro": _scored("f1_score", average="macro"),
    "mse": lambda labels, predicted: float(np.mean((labels - predicted) ** 2)),
    "precision": _scored("precision_score", average="binary", zero_division=0),
    "precision_macro": _scored("precision_score", average="macro", zero_division=0),
    "precision_micro": _scored("precision_score", average="micro", zero_division=0),
    "r2": lambda labels, predicted: float(
        1 - np.sum((labels - predicted) ** 2) / np.sum((labels - labels.mean()) ** 2)
    ),
    "recall": _scored("recall_score", average="binary", zero_division=0),
    "recall_macro": _scored("recall_score", average="macro", zero_division=0),
    "recall_micro": _scored("recall_score", average="micro", zero_division=0),
}


def split(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """XGBoost's own metrics of `names`, and those of `CUSTOM`."""
    return [name for name in names if name not in CUSTOM], [name for name in names if name in CUSTOM]


def custom(names: Sequence[str]) -> Callable[[Any, xgboost.DMatrix], list[tuple[str, float]]] | None:
    """A `custom_metric` for xgboost.train; None without names."""
    if not names:
        return None

    def measure(predicted: Any, matrix: xgboost.DMatrix) -> list[tuple[str, float]]:
        labels, predicted = _of_all_hosts(matrix.get_label()), _of_all_hosts(predicted)
        return [(name, CUSTOM[name](labels, predicted)) for name in names]

    return measure


def _of_all_hosts(rows: Any) -> Any:
    """The rows of every host, in order: a mean of hosts' metrics is not the metric of all rows."""
    collective = xgboost.collective
    if not collective.is_distributed():
        return rows
    counts = np.zeros(collective.get_world_size(), np.int64)
    counts[collective.get_rank()] = len(rows)
    counts = collective.allreduce(counts, collective.Op.SUM)
    start = int(counts[: collective.get_rank()].sum())
    every = np.zeros((int(counts.sum()), *rows.shape[1:]), np.float64)
    every[start : start + len(rows)] = rows
    return collective.allreduce(every.ravel(), collective.Op.SUM).reshape(every.shape)


class LogMetrics(xgboost.callback.TrainingCallback):  # type: ignore[misc]
    """Writes each round's metrics as CloudWatch shows them, which AWS's metric definitions match.

    `[3]#011train-rmse:1.93#011validation-rmse:2.11`: a tab becomes #011 on its way to CloudWatch.
    """

    def after_iteration(self, model: Any, epoch: int, evals_log: dict[str, dict[str, Any]]) -> bool:  # noqa: ARG002 - XGBoost's names
        """Called by XGBoost; never stops the training."""
        parts = [f"[{epoch}]"]
        for data, metrics in evals_log.items():
            parts += [f"{data}-{name}:{float(values[-1]):.5f}" for name, values in metrics.items()]
        sys.stdout.write("#011".join(parts) + "\n")
        sys.stdout.flush()
        return False
