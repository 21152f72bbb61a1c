"""Hosts of a training job without a cloud: their folders, the real loans as channels, a model's R2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REPO = Path(__file__).parents[2]


def prepare(scratch: Path, scenario: str, target: str) -> Path:
    """The loans of a scenario, split as the pipeline splits them; returns the folder of the splits."""
    _run(REPO, "tools/loans.py", "--out", str(scratch / "loans"), "--scenario", scenario)
    root = scratch / "preprocess"
    data = root / "processing" / "input" / "data"
    data.mkdir(parents=True)
    (data / "loans.csv").symlink_to(scratch / "loans" / scenario / "loans.csv")
    _run(root, "-m", "training.tabular.preprocess", "--dataset", "loans", "--target", target)
    return root / "processing" / "output"


def lay_out(
    root: Path, splits: Path, hosts: Sequence[str], host: str, hyperparameters: dict[str, str]
) -> None:
    """The folder of one training host."""
    config, data = root / "input" / "config", root / "input" / "data"
    config.mkdir(parents=True)
    data.mkdir(parents=True)
    (config / "resourceconfig.json").write_text(json.dumps({"current_host": host, "hosts": list(hosts)}))
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    for channel in ("train", "validation", "encoder"):
        (data / channel).symlink_to(splits / channel)


def held_out_r2(model: Path, splits: Path) -> float:
    """R2 of the model on the test split."""
    from training.common.tabular_model import load
    from training.tabular.evaluate import score
    from training.tabular.metrics import regression_report
    from training.tabular.parts import read_rows

    loaded = load(model)
    truth, predictions = score(loaded, read_rows(splits / "test", loaded.encoder.features))
    report = regression_report(truth, predictions, float(truth.mean()))
    return float(report["regression_metrics"]["r2"]["value"])


def _run(root: Path, *command: str) -> None:
    subprocess.run(
        [sys.executable, *command],
        cwd=REPO,
        env=os.environ | {"SAGEMAKER_BASE_DIR": str(root), "PYTHONPATH": str(REPO)},
        check=True,
        capture_output=True,
        timeout=300,
    )
