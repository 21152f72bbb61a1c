"""Step 4: train the best trial's algorithm, with its hyperparameters, on all training rows.

Channels `train` (CSV parts), `encoder` (encoder.json, classes.json) and `trial` (the best trial's
model.tar.gz). The model directory receives the model, encoder.json and manifest.json with golden
rows; SageMaker makes model.tar.gz of it.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from training.classification.algorithms import ALGORITHMS, Algorithm, Task, threads_for
from training.classification.rows import LabelledRow, encode, read_encoder, read_labels, read_rows
from training.classification.trial import TRIAL
from training.common.archive import ArchiveError, unpack
from training.common.classifier import Predictor, load_classifier
from training.common.encoder import Encoder
from training.common.failure import UserError, run, say
from training.common.hosts import read_hosts
from training.common.hyperparameters import build
from training.common.manifest import NAME, Golden, Manifest
from training.common.paths import channel, model_dir, single_file
from training.tabular.parts import read_part_names

GOLDEN_ROWS = 5
# A row whose classes are almost equally likely could change its label by the last digit of another processor.
CLEAR_MARGIN = 0.01
_PACKAGES = {"xgboost": "xgboost-cpu"}


def main(_arguments: Sequence[str]) -> None:
    if read_hosts().count > 1:
        raise UserError("trains on one host: its input is the table that one host cross-validated")
    trial = read_trial(single_file(channel("trial"), ".tar.gz"))
    algorithm: Algorithm = build(ALGORITHMS[trial["algorithm"]], trial["hyperparameters"])
    encoder, labels = read_encoder(channel("encoder")), read_labels(channel("encoder"))
    say(f"{trial['algorithm']} {trial['hyperparameters']}: {trial['scorer']} {trial['score']:.5f} in trials")
    table = encode(read_rows(channel("train"), encoder.features), encoder, labels)
    task = Task(
        encoder=encoder,
        table=table,
        classes=len(labels.classes),
        seed=trial["random_state"],
        threads=threads_for(table),
    )
    with threadpool_limits(task.threads):  # those of the linear algebra
        predictor = algorithm.fit(task)
    counts = np.bincount(table.codes, minlength=task.classes).tolist()
    id_name, target = read_part_names(channel("train"))
    manifest = Manifest(
        framework=algorithm.framework,
        framework_version=version_of(algorithm.framework),
        model=algorithm.file,
        encoder="encoder.json",
        features=encoder.features,
        id=id_name,
        target=target,
        classes=labels.classes,
        training={
            "rows": len(table.codes),
            "class_rows": dict(zip(labels.classes, counts, strict=True)),
            "positive": labels.positive,
            "algorithm": trial["algorithm"],
            "hyperparameters": dataclasses.asdict(algorithm),  # type: ignore[call-overload]  # a dataclass
            "cross_validation": {"scorer": trial["scorer"], "score": trial["score"]},
        },
        golden=Golden(instances=(), predictions=()),
    )
    write_model(model_dir(), predictor, encoder, manifest, table.samples)
    say(f"trained on {len(table.codes)} rows; wrote {algorithm.file}")


def read_trial(archive: Path) -> dict[str, Any]:
    """trial.json of a trial's model archive; raises UserError."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            unpack(archive, Path(folder), max_bytes=1024 * 1024)
            trial = json.loads((Path(folder) / TRIAL).read_text(encoding="utf-8"))
            if trial["algorithm"] not in ALGORITHMS:
                raise ValueError(f"unknown algorithm {trial['algorithm']!r}")
            return {
                "algorithm": trial["algorithm"],
                "hyperparameters": dict(trial["hyperparameters"]),
                "scorer": str(trial["scorer"]),
                "score": float(trial["score"]),
                "random_state": int(trial["random_state"]),
            }
        except (ArchiveError, OSError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{archive.name} is not the archive of a trial: {reason}") from error


def version_of(framework: str) -> str:
    """Without importing it, which may take longer than the training."""
    return importlib.metadata.version(_PACKAGES.get(framework, framework))


def write_model(
    folder: Path, predictor: Predictor, encoder: Encoder, manifest: Manifest, rows: Sequence[LabelledRow]
) -> None:
    """Write the model directory, with golden predictions made by the model as it is loaded from there."""
    predictor.save(folder / manifest.model)
    (folder / manifest.encoder).write_text(encoder.to_json(), encoding="utf-8")
    (folder / NAME).write_text(manifest.to_json(), encoding="utf-8")
    model = load_classifier(folder)
    predictions = model.predict([row.values for row in rows])
    # Clear ones first, otherwise in the order of the rows.
    order = sorted(range(len(rows)), key=lambda index: _margin(predictions[index]) < CLEAR_MARGIN)
    names = [feature.name for feature in encoder.features]
    chosen = order[:GOLDEN_ROWS]
    golden = Golden(
        instances=tuple(dict(zip(names, rows[index].values, strict=True)) for index in chosen),
        predictions=tuple(predictions[index] for index in chosen),
    )
    (folder / NAME).write_text(replace(manifest, golden=golden).to_json(), encoding="utf-8")


def _margin(prediction: dict[str, Any]) -> float:
    first, second = sorted(prediction["probabilities"].values(), reverse=True)[:2]
    return float(first - second)


if __name__ == "__main__":
    raise SystemExit(run(main))
