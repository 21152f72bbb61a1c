"""Where predicting together what several requests want helps: one row or image a call, against sixteen.

Predictions by second of CPU time, on one core, of the model alone: no server, no decoding. In turn, many
times. The server shares calls where a row's prediction does not depend on its neighbours, models of XGBoost
and LightGBM, and of images. Bound: there sixteen together take no longer than sixteen one by one.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import torch

from benchmarks.image_path import Network, make_photo, write_image_model
from benchmarks.serving import DEPTH, FEATURES, NAME, TREES, make_model
from training.common.tabular_model import load

TOGETHER = 16
ROUNDS = 15
SECONDS = 0.3
SHARED = ("xgboost", "lightgbm", "torch, 224 pixels", "torch, 32 pixels")
Predict = Callable[[Sequence[Any]], object]


def measure(rounds: int = ROUNDS, seconds: float = SECONDS) -> dict[str, Any]:
    cores, threads = os.sched_getaffinity(0), torch.get_num_threads()
    try:
        os.sched_setaffinity(0, {min(cores)})
        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory() as folder:
            subjects = _subjects(Path(folder))
            rates: dict[str, list[tuple[float, float]]] = {name: [] for name in subjects}
            for number in range(-1, rounds):
                for name, (predict, item) in subjects.items():
                    pair = _rate(predict, [item], seconds), _rate(predict, [item] * TOGETHER, seconds)
                    rates[name] += [pair] if number >= 0 else []
    finally:
        torch.set_num_threads(threads)
        os.sched_setaffinity(0, cores)
    return summary(rates)


def summary(rates: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """`rates`: kind of model -> predictions by second, one by one and together, of each round."""
    kinds = {}
    for name, pairs in rates.items():
        gains = [together / alone for alone, together in pairs]
        kinds[name] = {
            "alone_per_cpu_second": round(statistics.median(alone for alone, _ in pairs), 1),
            "together_per_cpu_second": round(statistics.median(together for _, together in pairs), 1),
            "gain": round(statistics.median(gains), 2),
            "gain_min": round(min(gains), 2),
            "gain_max": round(max(gains), 2),
            "shared_by_the_server": name in SHARED,
        }
    return {
        "together": TOGETHER,
        "kinds": kinds,
        "rounds": len(next(iter(rates.values()))),
        "holds": all(kind["gain"] >= 1.0 for kind in kinds.values() if kind["shared_by_the_server"]),
    }


def _subjects(folder: Path) -> dict[str, tuple[Predict, Any]]:
    row = make_model(folder)
    tabular = load(folder / "models" / NAME / "model")
    values = [float(value) for value in row[0]]
    chance = np.random.default_rng(7)
    matrix = chance.normal(size=(4000, FEATURES))
    trees = lightgbm.train(
        {"num_leaves": 2**DEPTH, "verbose": -1, "num_threads": 1},
        lightgbm.Dataset(matrix, matrix[:, 0] + chance.normal(size=4000)),
        TREES,
    )
    subjects: dict[str, tuple[Predict, Any]] = {
        "xgboost": (tabular.predict, values),
        "lightgbm": (lambda rows: trees.predict(np.array(rows), num_threads=1), values),
    }
    networks = {224: Network("resnet10t", 256, 224), 32: Network("test_resnet", 36, 32)}
    for size, network in networks.items():
        place = folder / str(size)
        model = write_image_model(place, network)
        subjects[f"torch, {size} pixels"] = (model.predict, model.pixels(make_photo()))
    return subjects


def _rate(predict: Predict, items: Sequence[Any], seconds: float) -> float:
    count, began = 0, time.process_time()
    while (spent := time.process_time() - began) < seconds:
        predict(items)
        count += len(items)
    return count / spent
