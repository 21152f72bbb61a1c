"""What training leaves: weights without pickle, and a manifest with golden images that prove them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from training.common.failure import say
from training.common.image_model import FRAMEWORK, TOP, ImageModel, load_image_model
from training.common.manifest import NAME, Golden, Manifest
from training.common.payloads import instance_of
from training.vision.classes import Classes
from training.vision.config import Config
from training.vision.data import Split

MODEL = "model.safetensors"
GOLDEN_IMAGES = 3
CANDIDATES = 32
MAX_GOLDEN_BYTES = 256 * 1024
# Of probabilities: another processor adds float32 numbers in another order, through many layers.
TOLERANCE = 1e-3


def write_model(
    folder: Path,
    config: Config,
    network: Any,
    train: Split,
    validation: Split,
    classes: Classes,
    epoch: int,
    top1: float | None,
) -> None:
    """Write the model's folder, with golden predictions made by the model as it is loaded from there."""
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file({name: value.to("cpu", copy=True) for name, value in state.items()}, folder / MODEL)
    training = {
        "rows": len(train),
        "hosts": train.hosts.count,
        "class_rows": dict(Counter(entry.label for entry in train.entries)),
        "epoch": epoch,
        "validation_top1": top1,
        "hyperparameters": asdict(config),
    }
    manifest = Manifest(
        framework=FRAMEWORK,
        framework_version=str(torch.__version__).partition("+")[0],
        model=MODEL,
        target="class",
        classes=classes.names,
        image=train.input,
        training=training,
        golden=Golden(instances=(), predictions=(), tolerance=TOLERANCE),
    )
    (folder / NAME).write_text(manifest.to_json(), encoding="utf-8")
    golden = _golden(load_image_model(folder), validation)
    (folder / NAME).write_text(replace(manifest, golden=golden).to_json(), encoding="utf-8")


def _golden(model: ImageModel, validation: Split) -> Golden:
    """The images of which the five best classes are least likely to change places by rounding."""
    entries = [entry for entry in validation.entries[:CANDIDATES] if entry.size <= MAX_GOLDEN_BYTES]
    images = [entry.read() for entry in entries or validation.entries[:1]]
    rows = model.probabilities([model.pixels(image) for image in images])
    ranked = np.sort(rows, axis=1)[:, ::-1]
    margins = ranked[:, 0] - ranked[:, 1]
    if rows.shape[1] > TOP:
        margins = margins.clip(max=ranked[:, TOP - 1] - ranked[:, TOP])
    best = [int(place) for place in margins.argsort()[::-1][:GOLDEN_IMAGES]]
    if margins[best[0]] < TOLERANCE:
        say("golden images: no validation image has a clear order of its five best classes")
    return Golden(
        instances=tuple(instance_of(images[place]) for place in best),
        predictions=tuple(model.named(rows[place]) for place in best),
        tolerance=TOLERANCE,
    )
