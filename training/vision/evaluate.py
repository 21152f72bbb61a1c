"""Step 4: load the model archive as serving does, and measure it on the held-out images.

Inputs `model` (model.tar.gz) and `test` (tar shards). Output `evaluation`: evaluation.json, whose
`classification_metrics.top1.value` the gate of the pipeline reads, and report.html, for people.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.common.archive import ArchiveError, unpack
from training.common.failure import UserError, run, say
from training.common.hosts import usable_cpus
from training.common.image_model import TOP, ImageModel, load_image_model
from training.common.images import ImageError, Pixels
from training.common.manifest import ModelError
from training.common.paths import processing_input, processing_output, single_file
from training.vision.image_report import image_page
from training.vision.parallel import ordered
from training.vision.shards import Entry, read_shards

CHUNK = 64
Codes = NDArray[np.int64]
Numbers = NDArray[np.float64]


def main(_arguments: Sequence[str]) -> None:
    torch.set_num_threads(usable_cpus())
    archive = single_file(processing_input("model"), ".tar.gz")
    with tempfile.TemporaryDirectory() as folder:
        model = _load(archive, Path(folder))
    entries = read_shards(processing_input("test"))
    truth = codes(entries, model.manifest.classes)
    probabilities = score(model, entries)
    report = evaluation(model, truth, probabilities)
    output = processing_output("evaluation")
    text = json.dumps(report, indent=1, allow_nan=False) + "\n"
    (output / "evaluation.json").write_text(text, encoding="utf-8")
    image_page(model, report, entries, truth, probabilities).write(output)
    top1, baseline = (report[name]["top1"]["value"] for name in ("classification_metrics", "baseline"))
    say(f"top1 {top1:.4f} on {len(truth)} images, most frequent class {baseline:.4f}")


def codes(entries: Sequence[Entry], classes: Sequence[str]) -> Codes:
    """The number of each image's class (images,); raises UserError for one that the model does not know."""
    if not entries:
        raise UserError("the test split has no images; check the preprocessing step")
    numbers = {name: number for number, name in enumerate(classes)}
    unknown = sorted({entry.label for entry in entries} - set(numbers))
    if unknown:
        raise UserError(f"test images are of class {unknown[0]!r}, which the model was not trained for")
    return np.array([numbers[entry.label] for entry in entries], dtype=np.int64)


def score(model: ImageModel, entries: Sequence[Entry]) -> Numbers:
    """Predicted probabilities (images, classes)."""

    def pixels(entry: Entry) -> Pixels:
        try:
            return model.pixels(entry.read())
        except ImageError as error:
            raise UserError(f"{entry.shard.name}: {entry.name!r} {error}") from error

    images = ordered(pixels, entries, ahead=CHUNK)
    parts = []
    while chunk := list(islice(images, CHUNK)):
        parts.append(model.probabilities(chunk))
    return np.concatenate(parts)


def evaluation(model: ImageModel, truth: Codes, probabilities: Numbers) -> dict[str, Any]:
    """What evaluation.json holds.

    The baseline ranks the classes by how many training images they have, for every image the same.
    https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html
    """
    classes, training = model.manifest.classes, model.manifest.training
    counts = np.array([training["class_rows"].get(name, 0) for name in classes], dtype=np.float64)
    constant = np.tile(counts, (len(truth), 1))
    confused = confusion(truth, probabilities)
    return {
        "classification_metrics": _accuracies(truth, probabilities),
        "baseline": {
            "predictor": "most frequent classes of the training images",
            "class": classes[int(counts.argmax())],
            **_accuracies(truth, constant),
        },
        "recall_by_class": {
            name: float(row[code] / row.sum()) if row.sum() else "NaN"
            for code, (name, row) in enumerate(zip(classes, confused, strict=True))
        },
        "classes": list(classes),
        "backbone": model.input.backbone,
        "epoch": training.get("epoch"),
        "rows": len(truth),
    }


def confusion(truth: Codes, probabilities: Numbers) -> Codes:
    """Counts (classes, classes): rows true, columns predicted."""
    size = probabilities.shape[1]
    pairs = truth * size + probabilities.argmax(axis=1)
    return np.bincount(pairs, minlength=size * size).reshape(size, size)


def top(truth: Codes, probabilities: Numbers, places: int) -> float:
    """The share of images whose class is among the `places` most probable ones.

    >>> top(np.array([2, 0]), np.array([[0.1, 0.6, 0.3], [0.1, 0.6, 0.3]]), 2)
    0.5
    """
    ranked = np.argsort(-probabilities, axis=1, kind="stable")[:, :places]
    return float(np.mean((ranked == truth[:, None]).any(axis=1)))


def _accuracies(truth: Codes, probabilities: Numbers) -> dict[str, dict[str, float]]:
    found = {}
    for name, places in (("top1", 1), ("top5", TOP)):
        share = top(truth, probabilities, places)
        found[name] = {
            "value": share,
            "standard_deviation": math.sqrt(share * (1 - share) / len(truth)),
        }
    return found


def _load(archive: Path, folder: Path) -> ImageModel:
    try:
        unpack(archive, folder)
        return load_image_model(folder)
    except (ArchiveError, ModelError) as error:
        raise UserError(f"model archive {archive.name}: {error}") from error


if __name__ == "__main__":
    raise SystemExit(run(main))
