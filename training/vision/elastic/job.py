"""A job laid out as SageMaker would: its channels, hyperparameters and code see no difference."""

from __future__ import annotations

import json
import os
from pathlib import Path

from training.common.failure import UserError
from training.common.paths import base_dir
from training.vision.checkpoints.saver import ADDRESS
from training.vision.elastic.output import OUTPUT
from training.vision.elastic.settings import Settings
from training.vision.sources import DATASET, S3, resolved


def lay_out(settings: Settings) -> None:
    """Write hyperparameters, and tell the ranks where the dataset, checkpoints and the model are.

    Raises:
        UserError: the dataset is not there, or is none.
    """
    if settings.hyperparameters is not None:
        path = base_dir() / "input" / "config" / "hyperparameters.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = {name: str(value) for name, value in settings.hyperparameters.items()}
        path.write_text(json.dumps(values), encoding="utf-8")
    if settings.dataset:
        _lay_out(settings.dataset, base_dir() / "input" / "data", copies=settings.copies)
    for name, value in ((ADDRESS, settings.checkpoints), (OUTPUT, settings.output)):
        if value:
            os.environ[name] = value


def _lay_out(address: str, channels: Path, *, copies: bool) -> None:
    """The channels of a dataset: a folder of channels; of the preprocessing queue's in S3 a copy, if that is
    asked for. Otherwise ranks read it where it is."""
    channels.mkdir(parents=True, exist_ok=True)
    if address.startswith(S3):
        os.environ[DATASET] = address
        if copies:
            # Only here: a rank needs none of it.
            from training.preprocessing import manifest

            manifest.main(["copy", "--manifest", resolved(address), "--to", str(channels)])
            os.environ[DATASET] = ""
        return
    folder = Path(address)
    if not folder.is_dir():
        raise UserError(f"DATASET_URI: there is no folder {address}; name it, or a manifest s3://...json")
    for source in sorted(path for path in folder.iterdir() if path.is_dir()):
        place = channels / source.name
        place.unlink(missing_ok=True)
        place.symlink_to(source.resolve())
