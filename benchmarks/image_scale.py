"""Validation and preprocessing of images in the size to expect: 133 classes, 8,351 photographs.

Generated JPEGs, in as many class folders, go through both steps as processes, as a job runs them. Measured
are wall time, CPU time and the peak of memory, and, since memory must not grow with the data, the same with
an eighth of the images.
Bounds: every image arrives in a split; the peak at most 300 MB, and at most 1.5 times that of the eighth:
lists of names grow, images kept would make it fivefold.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.step_process import run_step

CLASSES = 133
IMAGES = 8351
FRACTION = 8
# Of a usual photograph on the web, and what most networks take.
PICTURE = (500, 375)
IMAGE_SIZE = 224
MEMORY_BOUND = 300e6
GROWTH_BOUND = 1.5
SPLITS = ("train", "validation", "test")


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        part = run(Path(folder) / "part", IMAGES // FRACTION)
        whole = run(Path(folder) / "whole", IMAGES)
    return summary(whole, part)


def run(
    root: Path, images: int, *, size: tuple[int, int] = PICTURE, side: int = IMAGE_SIZE
) -> dict[str, Any]:
    """Generate images below `root`, an empty place, and send them through both steps."""
    data = root / "processing" / "input" / "data"
    total = generate(data, images, size)
    runs = {
        "validate": run_step(root, "training.vision.validate"),
        "preprocess": run_step(root, "training.vision.preprocess", ["--image-size", str(side)]),
    }
    output = root / "processing" / "output"
    report = json.loads((output / "report" / "data_report.json").read_text())
    splits = {name: count(output / name) for name in SPLITS}
    return {
        "images": images,
        "bytes": total,
        "classes": len(report["classes"]),
        "accepted": report["rows"],
        "splits": splits,
        "runs": runs,
    }


def generate(folder: Path, images: int, size: tuple[int, int]) -> int:
    """`images` JPEGs, no two alike, dealt out to the class folders; returns their bytes."""
    source, total = np.random.default_rng(1), 0
    for number in range(CLASSES):
        (folder / f"{number:03d}.breed").mkdir(parents=True)
    for number in range(images):
        coarse = Image.fromarray(source.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        stream = io.BytesIO()
        coarse.resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
        path = folder / f"{number % CLASSES:03d}.breed" / f"{number:05d}.jpg"
        total += path.write_bytes(stream.getvalue())
    return total


def count(split: Path) -> int:
    return sum(len(json.loads(path.read_text())["samples"]) for path in split.glob("*.json"))


def summary(whole: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """The figures, and whether they hold."""
    growth = {
        name: round(whole["runs"][name].peak_bytes / part["runs"][name].peak_bytes, 2)
        for name in whole["runs"]
    }
    complete = all(
        run["classes"] == CLASSES
        and run["accepted"] == run["images"] == sum(run["splits"].values())
        and all(run["splits"].values())
        for run in (whole, part)
    )
    peaks = [run.peak_bytes for run in whole["runs"].values()]
    return {
        **{key: whole[key] for key in ("images", "bytes", "classes", "accepted", "splits")},
        **{name: run.as_json() for name, run in whole["runs"].items()},
        "of_fewer": {
            "images": part["images"],
            **{name: run.as_json() for name, run in part["runs"].items()},
        },
        "peak_over_that_of_fewer": {**growth, "bound": GROWTH_BOUND},
        "memory_bound_mb": MEMORY_BOUND / 1e6,
        "holds": complete and max(peaks) <= MEMORY_BOUND and max(growth.values()) <= GROWTH_BOUND,
    }
