"""The page on a regression model: metrics beside the baseline, residuals, and what the model goes by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.common.tabular_model import TabularModel
from training.reporting.charts import bars, density, histogram
from training.reporting.page import Page
from training.tabular.metrics import Numbers

TITLES = {"mse": "Mean squared error", "rmse": "Root of it", "mae": "Mean absolute error", "r2": "R²"}


def regression_page(
    model: TabularModel, report: Mapping[str, Any], truth: Numbers, predictions: Numbers
) -> Page:
    """`report` is what `regression_report` returned for `truth` and `predictions`, both (rows,)."""
    target = model.manifest.target or "target"
    page = Page(f"Evaluation of a model of {target}")
    gain = report["mse_reduction_over_baseline"]
    page.verdict(
        f"On {report['rows']:,} rows that it was not trained on, the model's squared error is {gain:.1%} "
        f"{'below' if gain >= 0 else 'ABOVE'} that of always predicting the training mean."
    )
    measured, baseline = report["regression_metrics"], report["baseline"]
    page.table(
        "Held-out rows",
        ("metric", "model", "standard error", "baseline"),
        [
            (title, measured[name]["value"], measured[name]["standard_deviation"], baseline[name]["value"])
            for name, title in TITLES.items()
        ],
    )
    page.chart(
        "Predicted and true",
        density(truth, predictions, x_label=f"true {target}", y_label=f"predicted {target}", diagonal=True),
        "On the line a prediction is right.",
    )
    page.chart(
        "Residuals",
        histogram(predictions - truth, x_label=f"predicted - true {target}"),
        "Left of zero the model predicts too little.",
    )
    page.chart(
        "Residuals by prediction",
        density(predictions, predictions - truth, x_label=f"predicted {target}", y_label="predicted - true"),
        "A slope or a funnel means that the error depends on the prediction.",
    )
    page.chart("Feature importance", bars(importance(model), x_label="share of the total gain"))
    page.table("Training", ("", "value"), sorted(_flat(model.manifest.training).items()))
    return page


def importance(model: TabularModel) -> dict[str, float]:
    """Feature -> its share of the loss that the splits took away; 0 for features that no tree reads."""
    gains: dict[str, float] = model.booster.get_score(importance_type="total_gain")
    total = sum(gains.values()) or 1.0
    return {feature.name: gains.get(feature.name, 0.0) / total for feature in model.encoder.features}


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value) if isinstance(value, Mapping) else {name: value}
    return flat
