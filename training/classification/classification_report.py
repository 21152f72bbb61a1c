"""The page on a classifier: metrics beside the baseline, confusion matrix, ROC, what the model goes by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.classification.metrics import METRICS, Codes, Numbers, confusion, roc
from training.common.classifier import Classifier
from training.reporting.charts import bars, curves, histogram, matrix
from training.reporting.page import Page

MAX_CURVES = 6


def classification_page(
    model: Classifier,
    report: Mapping[str, Any],
    truth: Codes,
    probabilities: Numbers,
    importance: Mapping[str, float],
) -> Page:
    """`report` is what `evaluation` returned for `truth` (rows,) and `probabilities` (rows, classes).
    `importance`: feature -> log loss that the model has more without it."""
    manifest = model.manifest
    classes, target, gate = manifest.classes, manifest.target or "target", report["gate"]
    page = Page(f"Evaluation of a classifier of {target}")
    baseline = report["baseline"]
    page.verdict(
        f"On {report['rows']:,} rows that it was not trained on, {gate['metric']} is "
        f"{_shown(gate['value'])}; always saying {baseline['class']!r} reaches "
        f"{_shown(baseline[gate['metric']]['value'])}."
    )
    kind = "binary" if len(classes) == 2 else "multiclass"
    measured = report[f"{kind}_classification_metrics"]
    page.table(
        "Held-out rows",
        ("metric", "model", "standard error", "baseline"),
        [
            (name, measured[name]["value"], measured[name]["standard_deviation"], baseline[name]["value"])
            for name in METRICS
        ],
    )
    page.chart(
        "Confusion matrix",
        matrix(confusion(truth, probabilities).tolist(), classes, x_label="predicted", y_label="true"),
        "On the diagonal a prediction is right.",
    )
    chosen = [code for code in range(len(classes)) if code or len(classes) > 2][:MAX_CURVES]
    page.chart(
        "ROC",
        curves(
            {classes[code]: roc(truth == code, probabilities[:, code]) for code in chosen},
            x_label="false positive rate",
            y_label="true positive rate",
            diagonal=True,
        ),
        "The dashed line is chance.",
    )
    page.chart(
        "Certainty",
        histogram(probabilities.max(axis=1), x_label="probability of the predicted class"),
    )
    page.chart(
        "Feature importance",
        bars(importance, x_label="log loss more when the feature is shuffled"),
        "Of features that say the same, each alone counts little.",
    )
    training = manifest.training
    page.table(
        "Training",
        ("", "value"),
        [
            ("algorithm", training["algorithm"]),
            ("rows", training["rows"]),
            *((f"rows {name}", rows) for name, rows in training["class_rows"].items()),
            *training["hyperparameters"].items(),
            (f"{training['cross_validation']['scorer']} in trials", training["cross_validation"]["score"]),
        ],
    )
    return page


def _shown(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
