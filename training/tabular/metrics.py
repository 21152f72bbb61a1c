"""Regression metrics with their standard errors, and the constant predictor that a model has to beat."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def regression_report(truth: Numbers, predictions: Numbers, constant: float) -> dict[str, Any]:
    """`evaluation.json`: metrics on `truth` (rows,), and the same for always predicting `constant`.

    Metrics have the form of SageMaker's model quality statistics. `standard_deviation` is the standard
    error of the estimate: of the mean for mse and mae, by the delta method for rmse and r2; "NaN" for a
    single row.
    https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html
    """
    model = _metrics(truth, predictions)
    baseline = _metrics(truth, np.full_like(truth, constant))
    gain = 1 - model["mse"]["value"] / baseline["mse"]["value"] if baseline["mse"]["value"] else 0.0
    return {
        "regression_metrics": model,
        "baseline": {"predictor": "mean of the training target", "constant": constant, **baseline},
        "mse_reduction_over_baseline": gain,
        "rows": len(truth),
    }


def _metrics(truth: Numbers, predictions: Numbers) -> dict[str, dict[str, Any]]:
    errors = predictions - truth
    mse, mse_error = _mean(errors**2)
    mae, mae_error = _mean(np.abs(errors))
    rmse = math.sqrt(mse)
    variance = float(np.var(truth))
    r2, r2_error = (1 - mse / variance, mse_error / variance) if variance else (math.nan, math.nan)
    return {
        "mse": _metric(mse, mse_error),
        "rmse": _metric(rmse, mse_error / (2 * rmse) if rmse else 0.0),
        "mae": _metric(mae, mae_error),
        "r2": _metric(r2, r2_error),
    }


def _mean(values: Numbers) -> tuple[float, float]:
    spread = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return float(np.mean(values)), spread


def _metric(value: float, deviation: float) -> dict[str, Any]:
    # JSON has no NaN; SageMaker's own reports write it as text.
    return {
        "value": value if math.isfinite(value) else "NaN",
        "standard_deviation": deviation if math.isfinite(deviation) else "NaN",
    }
