"""Step 5: load the model archive as serving does, and measure it on the held-out rows.

Inputs `model` (model.tar.gz) and `test` (CSV parts); `--metric`: what the gate compares. Output `evaluation`:
evaluation.json, whose `gate.value` the gate of the pipeline reads, and report.html, for people.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from training.classification.classification_report import classification_page
from training.classification.importance import MAX_ROWS, importance
from training.classification.metrics import METRICS, Codes, Numbers, confusion, finite, measure, roc
from training.classification.rows import LabelledRow, Labels, read_rows
from training.common.archive import ArchiveError, unpack
from training.common.arguments import Parser
from training.common.classifier import Classifier, load_classifier
from training.common.encoder import Matrix
from training.common.failure import UserError, run, say
from training.common.manifest import ModelError
from training.common.paths import processing_input, processing_output, single_file

CHUNK_ROWS = 10_000
ROC_POINTS = 200
MAX_TEXT = 256


def main(arguments: Sequence[str]) -> None:
    parser = Parser("evaluate")
    parser.add_argument("--metric", required=True, choices=tuple(METRICS))
    metric = parser.parse_args(list(arguments)).metric
    archive = single_file(processing_input("model"), ".tar.gz")
    with tempfile.TemporaryDirectory() as folder:
        model = _load(archive, Path(folder))
    rows = read_rows(processing_input("test"), model.encoder.features)
    truth, probabilities, sample = score(model, rows)
    report = evaluation(model, truth, probabilities, metric)
    output = processing_output("evaluation")
    text = json.dumps(report, indent=1, allow_nan=False) + "\n"
    (output / "evaluation.json").write_text(text, encoding="utf-8")
    weights = importance(model, sample, truth)
    classification_page(model, report, truth, probabilities, weights).write(output)
    value, baseline = report["gate"]["value"], report["baseline"][metric]["value"]
    if not isinstance(value, float):
        missing = [name for code, name in enumerate(model.manifest.classes) if code not in truth]
        raise UserError(f"{metric} is undefined: no test row is {missing[0]!r}; set Stratify to true")
    say(f"{metric} {value:.4f} on {len(truth)} rows, majority class {baseline}")


def score(model: Classifier, rows: Iterable[LabelledRow]) -> tuple[Codes, Numbers, Matrix]:
    """True classes (rows,), predicted probabilities (rows, classes), and the first encoded rows."""
    manifest = model.manifest
    labels = Labels(manifest.target or "target", manifest.classes, None)
    truth: list[int] = []
    parts: list[Numbers] = []
    sample: Matrix | None = None
    rows = iter(rows)
    while chunk := list(islice(rows, CHUNK_ROWS)):
        truth += [labels.code(f"row {row.id}", row.label) for row in chunk]
        matrix = model.encoder.encode([row.values for row in chunk])
        sample = matrix[:MAX_ROWS] if sample is None else sample
        parts.append(model.predictor.probabilities(matrix))
    if sample is None:
        raise UserError("the test split has no rows; check the preprocessing step")
    return np.array(truth, dtype=np.int64), np.concatenate(parts), sample


def evaluation(model: Classifier, truth: Codes, probabilities: Numbers, metric: str) -> dict[str, Any]:
    """What evaluation.json holds.

    The baseline predicts the share of each class among the training rows, for every row the same.
    https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html
    """
    manifest = model.manifest
    classes, training = manifest.classes, manifest.training
    found = measure(truth, probabilities)
    counts = np.array([training["class_rows"][name] for name in classes], dtype=np.float64)
    constant = np.tile(counts / counts.sum(), (len(truth), 1))
    kind = "binary" if len(classes) == 2 else "multiclass"
    matrix = confusion(truth, probabilities).tolist()
    curves = {
        name: roc(truth == code, probabilities[:, code])
        for code, name in enumerate(classes)
        if code or len(classes) > 2
    }
    return {
        f"{kind}_classification_metrics": {
            "confusion_matrix": {
                name: dict(zip(classes, row, strict=True)) for name, row in zip(classes, matrix, strict=True)
            },
            **found,
            "receiver_operating_characteristic_curve": {
                name: {"false_positive_rates": _thinned(false), "true_positive_rates": _thinned(true)}
                for name, (false, true) in curves.items()
            },
        },
        "baseline": {
            "predictor": "share of each class among the training rows",
            "class": classes[int(counts.argmax())],
            **{name: {"value": finite(function(truth, constant))} for name, function in METRICS.items()},
        },
        "gate": {
            "metric": metric,
            "value": found[metric]["value"],
            "baseline": finite(METRICS[metric](truth, constant)),
        },
        "classes": list(classes),
        "positive": training.get("positive"),
        "algorithm": training.get("algorithm"),
        "hyperparameters": _shown(training.get("hyperparameters", {})),
        "model_card": {"hyper_parameters": _listed(training)},
        "rows": len(truth),
    }


def _listed(training: Mapping[str, Any]) -> str:
    """A model card's list of what was trained with, as text: a pipeline hands on texts and numbers only.

    https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-details.html#model-card-schema
    """
    values = {"algorithm": training.get("algorithm"), **training.get("hyperparameters", {})}
    return json.dumps([{"name": name, "value": str(value)} for name, value in values.items()])


def _shown(hyperparameters: Mapping[str, Any]) -> str:
    """As one text, of the characters and the length that a version's metadata takes."""
    text = " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in hyperparameters.items()
    )
    return text[:MAX_TEXT]


def _thinned(values: Numbers) -> list[float]:
    kept = np.unique(np.linspace(0, len(values) - 1, min(len(values), ROC_POINTS)).astype(int))
    return [float(value) for value in values[kept]]


def _load(archive: Path, folder: Path) -> Classifier:
    try:
        unpack(archive, folder)
        return load_classifier(folder)
    except (ArchiveError, ModelError) as error:
        raise UserError(f"model archive {archive.name}: {error}") from error


if __name__ == "__main__":
    raise SystemExit(run(main))
