"""One XGBoost model over several hosts beside the same on one: held-out R2 on the real loans, several seeds.

Hosts are processes with a folder each, as SageMaker lays it out, started as SageMaker starts them. Chance
splits differ (the quantile sketches of shards are merged), so one seed says little: the bound is on the mean
difference of R2 over the seeds.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT

sys.path.insert(0, str(ROOT))
BOUND = 0.002
SEEDS = tuple(range(1, 33))
HOSTS = (1, 2)


def measure(scenario: str = "refinance", target: str = "interest_rate") -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        splits = prepare(Path(scratch), scenario, target)
        scores = {
            count: [held_out_r2(train(Path(scratch), splits, count, seed), splits) for seed in SEEDS]
            for count in HOSTS
        }
    figures = {str(count): _compared(scores[1], scores[count]) for count in HOSTS}
    return {
        "model": f"{scenario} {target}",
        "seeds": len(SEEDS),
        "hosts": figures,
        "bound": BOUND,
        "holds": all(abs(figure["mean_difference"]) < BOUND for figure in figures.values()),
    }


def _compared(single: Sequence[float], several: Sequence[float]) -> dict[str, float]:
    differences = [b - a for a, b in zip(single, several, strict=True)]
    spread = statistics.stdev(differences) if any(differences) else 0.0
    return {
        "mean_r2": round(statistics.mean(several), 5),
        "mean_difference": round(statistics.mean(differences), 5),
        "standard_error": round(spread / len(differences) ** 0.5, 5),
    }


def prepare(scratch: Path, scenario: str, target: str) -> Path:
    """The loans of a scenario, split as the pipeline splits them; returns the folder of the splits."""
    _run(ROOT, "tools/loans.py", "--out", str(scratch / "loans"), "--scenario", scenario)
    root = scratch / "preprocess"
    data = root / "processing" / "input" / "data"
    data.mkdir(parents=True)
    (data / "loans.csv").symlink_to(scratch / "loans" / scenario / "loans.csv")
    _run(root, "-m", "training.tabular.preprocess", "--dataset", "loans", "--target", target)
    return root / "processing" / "output"


def train(scratch: Path, splits: Path, count: int, seed: int) -> Path:
    """Train over `count` hosts; returns the folder with the model, which only the first host has."""
    names = [f"127.9.{count}.{index + 1}" for index in range(count)]
    roots = [scratch / f"{count}-{seed}" / name for name in names]
    for root, name in zip(roots, names, strict=True):
        lay_out(root, splits, names, name, {"seed": str(seed)})
    with ThreadPoolExecutor(max_workers=count) as pool:
        list(pool.map(lambda root: _run(root, "-m", "training.tabular.train"), roots))
    return roots[0] / "model"


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
    environment = os.environ | {
        "SAGEMAKER_BASE_DIR": str(root),
        "PYTHONPATH": str(ROOT),
        "OMP_WAIT_POLICY": "passive",  # as in the image
    }
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
