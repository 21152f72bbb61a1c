"""Where SageMaker puts things in a container: all under `/opt/ml`, or SAGEMAKER_BASE_DIR where set.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html
"""

from __future__ import annotations

import os
from pathlib import Path

from training.common.failure import UserError


def base_dir() -> Path:
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def processing_input(name: str) -> Path:
    return _existing(base_dir() / "processing" / "input" / name, f"processing input {name!r}")


def processing_output(name: str) -> Path:
    path = base_dir() / "processing" / "output" / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def channel(name: str) -> Path:
    return _existing(base_dir() / "input" / "data" / name, f"training channel {name!r}")


def model_dir() -> Path:
    path = base_dir() / "model"
    path.mkdir(parents=True, exist_ok=True)
    return path


def checkpoint_dir() -> Path | None:
    """The folder that SageMaker copies to S3 and back, where the job has a CheckpointConfig.

    https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html
    """
    path = base_dir() / "checkpoints"
    return path if path.is_dir() else None


def files_in(folder: Path) -> list[Path]:
    """Every regular file below `folder`, sorted: an S3 input may be one object or a prefix of many."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def single_file(folder: Path, suffix: str) -> Path:
    """The one file in `folder` with that suffix; anything else is the caller's mistake."""
    found = [path for path in files_in(folder) if path.name.endswith(suffix)]
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise UserError(f"{folder} must hold exactly one *{suffix} file, found {names}")
    return found[0]


def _existing(path: Path, what: str) -> Path:
    if not path.is_dir():
        raise UserError(f"{what} is missing: {path} does not exist; add it to the job's inputs")
    return path
