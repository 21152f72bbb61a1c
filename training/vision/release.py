"""What a training leaves: its best model, where jobs deliver their models also its last one, with figures.

On SageMaker the platform copies the model's folder, and a step of the pipeline evaluates it. Elsewhere all
hosts measure both models on the held-out images, and the first one delivers them. Who keeps the job's record
may then have them registered: `modelyard.training.runtime.registering`.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from training.common.failure import UserError
from training.common.paths import model_dir
from training.vision.checkpoints.state import Best
from training.vision.classes import Classes
from training.vision.config import Config
from training.vision.data import Split
from training.vision.distributed import Group
from training.vision.elastic.output import ARCHIVE, deliver, delivers
from training.vision.measuring import Measured, measure
from training.vision.model_archive import write_model

EVALUATION = "evaluation.json"


@dataclass(frozen=True, slots=True)
class Material:
    """What all models of a job have in common; `held_out`: images that they are measured on."""

    config: Config
    train: Split
    validation: Split
    classes: Classes
    held_out: Split
    held_out_name: str


def release(network: Any, best: Best, last: Mapping[str, Any], material: Material, group: Group) -> list[Any]:
    """Write and deliver the models; call on all hosts.

    Args:
        network: takes their weights, one after the other.
        best: of the training.
        last: weights at its end.
        material: what else there is to know.
        group: the hosts.

    Returns:
        What the job's record is told of each that was delivered.
    """

    def met() -> bool:
        """Nobody ends it. All meet before each batch, for which one of them may wait long."""
        return bool(group.summed([0.0])[0])

    told = []
    for name, epoch, state in _candidates(best, last, material.config.epochs):
        network.load_state_dict(state)
        measured = measure(network, material.held_out, group, material.config, met) if delivers() else None
        top1 = best.top1 if epoch == best.epoch else None
        below = "" if name == "best" else name
        group.alone(partial(_leave, below, network, measured, material, epoch, top1))
        if measured:
            told.append(_told(name, below, epoch, measured, material))
    return told


def _leave(
    below: str, network: Any, measured: Measured | None, material: Material, epoch: int, top1: float | None
) -> None:
    """Write a model, and deliver it where it was measured."""
    splits = (material.train, material.validation)
    with _folder(below) as folder:
        try:
            write_model(folder, material.config, network, *splits, material.classes, epoch, top1)
        except (OSError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"the model cannot be written to {folder}: {reason}") from error
        if measured:
            deliver(folder, below, {EVALUATION: evaluation(measured, material, epoch)})


def evaluation(measured: Measured, material: Material, epoch: int) -> dict[str, Any]:
    """A document like that of the pipelines' evaluation step."""
    rows = len(material.held_out)

    def figure(share: float) -> dict[str, float]:
        return {"value": share, "standard_deviation": math.sqrt(share * (1 - share) / rows)}

    return {
        "classification_metrics": {"top1": figure(measured.top1), "top5": figure(measured.top5)},
        "loss": measured.loss,
        "split": material.held_out_name,
        "rows": rows,
        "classes": list(material.classes.names),
        "backbone": material.config.backbone,
        "epoch": epoch,
    }


def _candidates(
    best: Best, last: Mapping[str, Any], epochs: int
) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    """The best; and the last, where that is another one and somebody takes it."""
    assert best.state is not None
    if best.epoch != epochs and delivers():
        yield "last", epochs, last
    # At the end, so that the network, and the platform's folder, have the best.
    yield "best", best.epoch, best.state


@contextlib.contextmanager
def _folder(below: str) -> Iterator[Path]:
    if not below:
        yield model_dir()
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _told(name: str, below: str, epoch: int, measured: Measured, material: Material) -> dict[str, Any]:
    place = f"{below}/" if below else ""
    figures = {
        "metric": "top1",
        "top1": f"{measured.top1:.4f}",
        "top5": f"{measured.top5:.4f}",
        "measured_on": f"{len(material.held_out)} images of {material.held_out_name}",
        "epoch": f"{epoch} of {material.config.epochs}",
        "backbone": material.config.backbone,
        "classes": str(len(material.classes.names)),
    }
    return {"name": name, "archive": place + ARCHIVE, "metrics": place + EVALUATION, "figures": figures}
