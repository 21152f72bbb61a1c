"""Step 4: load the model archive as serving does, and measure it on the held-out rows.

Inputs `model` (model.tar.gz) and `test` (CSV parts). Output `evaluation`: evaluation.json, whose
`regression_metrics.mse.value` the gate of the pipeline reads, and report.html, for people.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from training.common.archive import ArchiveError, unpack
from training.common.failure import UserError, run, say
from training.common.manifest import ModelError
from training.common.paths import processing_input, processing_output, single_file
from training.common.tabular_model import TabularModel, load
from training.tabular.metrics import Numbers, regression_report
from training.tabular.parts import Row, read_rows
from training.tabular.regression_report import regression_page

CHUNK_ROWS = 10_000


def main(_arguments: Sequence[str]) -> None:
    archive = single_file(processing_input("model"), ".tar.gz")
    with tempfile.TemporaryDirectory() as folder:
        model = _load(archive, Path(folder))
        truth, predictions = score(model, read_rows(processing_input("test"), model.encoder.features))
    constant = model.manifest.training.get("target_mean")
    if not isinstance(constant, float):
        raise UserError(f"{archive.name}: its manifest has no training.target_mean to compare with")
    report = regression_report(truth, predictions, constant)
    text = json.dumps(report, indent=1, allow_nan=False) + "\n"
    output = processing_output("evaluation")
    (output / "evaluation.json").write_text(text, encoding="utf-8")
    regression_page(model, report, truth, predictions).write(output)
    model_mse = report["regression_metrics"]["mse"]["value"]
    say(f"mse {model_mse:.4f} on {len(truth)} rows, constant {report['baseline']['mse']['value']:.4f}")


def score(model: TabularModel, rows: Iterable[Row]) -> tuple[Numbers, Numbers]:
    """True and predicted values of labelled rows, both of shape (rows,)."""
    truth: list[float] = []
    predictions: list[float] = []
    rows = iter(rows)
    while chunk := list(islice(rows, CHUNK_ROWS)):
        truth += [row.target for row in chunk]
        predictions += model.predict([row.values for row in chunk])
    if not truth:
        raise UserError("the test split has no rows; check the preprocessing step")
    return np.array(truth, dtype=np.float64), np.array(predictions, dtype=np.float64)


def _load(archive: Path, folder: Path) -> TabularModel:
    try:
        unpack(archive, folder)
        return load(folder)
    except (ArchiveError, ModelError) as error:
        raise UserError(f"model archive {archive.name}: {error}") from error


if __name__ == "__main__":
    raise SystemExit(run(main))
