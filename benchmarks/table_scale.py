"""The steps of the tabular pipelines with a million rows: does their memory stay within an instance's?

The real rows over and over, each with an id of its own, go through the steps as processes, as a job runs
them. Measured are wall time, CPU time and the peak of memory, native libraries' too: of a regression's
validate, preprocess, train and evaluate; of a classification's validate and preprocess, a trial of each of
the six algorithms, and evaluate. Trials have two folds, and few rounds or trees: these cost time, not memory.
Bound: the peak of each at most half of the 8 GiB of ml.m5.large, which the pipelines default to.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, write
from benchmarks.step_process import Run, run_step
from training.classification.algorithms import ALGORITHMS

ROWS = 1_000_000
BOUND_BYTES = 4 * 2**30
_FEW: Mapping[str, Mapping[str, str]] = {
    "xgboost": {"num_round": "20"},
    "lightgbm": {"num_round": "20"},
    "random-forest": {"n_estimators": "10"},
    "neural-net": {"max_iter": "2"},
}


def measure(rows: int = ROWS) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return summary(rows, {name: each(Path(folder), rows) for name, each in FAMILIES.items()})


def summary(rows: int, families: Mapping[str, tuple[int, Mapping[str, Run]]]) -> dict[str, Any]:
    """The figures, and whether they hold."""
    peaks = [run.peak_bytes for _, runs in families.values() for run in runs.values()]
    return {
        "rows": rows,
        **{
            name: {"bytes": size, **{step: run.as_json() for step, run in runs.items()}}
            for name, (size, runs) in families.items()
        },
        "memory_bound_mb": round(BOUND_BYTES / 1e6),
        "holds": max(peaks) <= BOUND_BYTES,
    }


def regression(folder: Path, rows: int) -> tuple[int, dict[str, Run]]:
    """Interest rates of refinanced loans."""
    run_tool(folder, "loans.py", "--scenario", "refinance")
    root, about = folder / "regression", ["--dataset", "loans", "--target", "interest_rate"]
    size = repeat(
        folder / "refinance" / "loans.csv", root / "processing" / "input" / "data" / "rows.csv", rows
    )
    runs = {step: run_step(root, f"training.tabular.{step}", about) for step in ("validate", "preprocess")}
    hand_on(root, "train", "validation", "encoder")
    hyperparameters(root, {"num_round": "50", "early_stopping_rounds": "20"})
    runs["train"] = run_step(root, "training.tabular.train")
    archive(root)
    runs["evaluate"] = run_step(root, "training.tabular.evaluate")
    return size, runs


def classification(folder: Path, rows: int) -> tuple[int, dict[str, Run]]:
    """Cell nuclei, 30 measures of each."""
    run_tool(folder, "classification_data.py", "--dataset", "breast-cancer")
    root, about = folder / "classification", ["--dataset", "breast-cancer", "--target", "diagnosis"]
    source = folder / "breast-cancer" / "rows.csv"
    size = repeat(source, root / "processing" / "input" / "data" / "rows.csv", rows)
    runs = {
        step: run_step(root, f"training.classification.{step}", about) for step in ("validate", "preprocess")
    }
    hand_on(root, "train", "encoder")
    for algorithm in ALGORITHMS:
        chosen = {"algorithm": algorithm, "folds": "2", **_FEW.get(algorithm, {})}
        hyperparameters(root, chosen)
        runs[f"trial of {algorithm}"] = run_step(root, "training.classification.trial")
    # Of the last one.
    archive(root, root / "input" / "data" / "trial")
    hyperparameters(root, {})
    runs["refit"] = run_step(root, "training.classification.refit")
    archive(root)
    runs["evaluate"] = run_step(root, "training.classification.evaluate", ["--metric", "auc"])
    return size, runs


FAMILIES = {"regression": regression, "classification": classification}


def run_tool(folder: Path, tool: str, *arguments: str) -> None:
    """Write a family's data below `folder`."""
    command = [sys.executable, str(ROOT / "tools" / tool), "--out", str(folder), *arguments]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def repeat(source: Path, target: Path, rows: int) -> int:
    """Write `rows` rows, those of `source` over and over with ids of their own; returns the file's bytes."""
    with source.open(newline="", encoding="utf-8") as file:
        header, *known = csv.reader(file)
    target.parent.mkdir(parents=True)
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for number, row in enumerate(islice(cycle(known), rows)):
            writer.writerow([f"R{number:07d}", *row[1:]])
    return target.stat().st_size


def hand_on(root: Path, *channels: str) -> None:
    """What preprocessing wrote becomes what training reads, and the test part what evaluation reads."""
    output = root / "processing" / "output"
    (root / "input" / "data").mkdir(parents=True)
    for name in channels:
        (output / name).rename(root / "input" / "data" / name)
    (output / "test").rename(root / "processing" / "input" / "test")


def hyperparameters(root: Path, values: Mapping[str, str]) -> None:
    """As SageMaker hands them over."""
    path = root / "input" / "config" / "hyperparameters.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")


def archive(root: Path, place: Path | None = None) -> None:
    """What training left in its model folder, as SageMaker packs it; evaluation's unless `place` is given."""
    place = place or root / "processing" / "input" / "model"
    place.mkdir(parents=True)
    with tarfile.open(place / "model.tar.gz", "w:gz") as file:
        for path in sorted((root / "model").iterdir()):
            file.add(path, path.name)
            path.unlink()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Memory of the tabular steps with many rows.")
    parser.add_argument("--rows", type=int, default=ROWS)
    figures = measure(parser.parse_args(arguments).rows)
    print(write("table_scale", figures))
    print(json.dumps(figures, indent=1))
    return 0 if figures["holds"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
