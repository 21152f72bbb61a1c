"""`manifest.json` of a model archive: what is in it, what it needs, and the proof that it predicts as it did.

The golden rows are raw feature rows with the predictions of the freshly trained model. Whoever loads the
archive elsewhere replays them: XGBoost models written by 3.1 or later load without an error in older
versions, and predict something else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

from training.common.features import Feature

NAME = "manifest.json"
SCHEMA = 1
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
TOLERANCE = 1e-4
MAX_TOLERANCE = 1.0
MAX_SIDE = 2048
Norm = Literal["group", "batch"]


class ModelError(Exception):
    """A model directory that must not be served; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """`predictions`: numbers of a regression; of a classifier objects, with a label and probabilities.
    `tolerance`: largest absolute difference between a replayed and a stored number."""

    instances: tuple[Mapping[str, Any], ...]
    predictions: tuple[Any, ...]
    tolerance: float = TOLERANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInput:
    """What a model of images sees: `size` x `size` pixels, cut from the middle of an image whose shorter side
    was scaled to `side`; of each channel, from 0 to 1, `mean` is taken away, and `std` divides."""

    backbone: str
    norm: Norm
    size: int
    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def from_json(cls, document: Any) -> ImageInput:
        mean, std = (tuple(float(value) for value in document[name]) for name in ("mean", "std"))
        size, side = int(document["size"]), int(document["side"])
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0 or not 0 < size <= side <= MAX_SIDE:
            raise ValueError("image needs size <= side, and mean and std of three channels")
        if document["norm"] not in ("group", "batch"):
            raise ValueError(f"norm {document['norm']!r} is neither group nor batch")
        return cls(
            backbone=str(document["backbone"]),
            norm=document["norm"],
            size=size,
            side=side,
            mean=(mean[0], mean[1], mean[2]),
            std=(std[0], std[1], std[2]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`id`: a column that identifies a row; callers may send it, and get it back, but no model reads it.
    `classes`: of a classifier, in the order of its probabilities; a regression has none.
    `image`: of a model of images, which has no encoder and no features."""

    framework: str
    framework_version: str
    model: str
    golden: Golden
    encoder: str = ""
    features: tuple[Feature, ...] = ()
    image: ImageInput | None = None
    id: str | None = None
    target: str | None = None
    classes: tuple[str, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        document = {
            "schema": SCHEMA,
            "framework": self.framework,
            "framework_version": self.framework_version,
            "model": self.model,
            **({"image": asdict(self.image)} if self.image else {"encoder": self.encoder}),
            "id": self.id,
            "target": self.target,
            **({"classes": list(self.classes)} if self.classes else {}),
            **({} if self.image else {"features": [feature.to_json() for feature in self.features]}),
            "training": dict(self.training),
            "golden": {
                "instances": [dict(instance) for instance in self.golden.instances],
                "predictions": list(self.golden.predictions),
                "tolerance": self.golden.tolerance,
            },
        }
        return json.dumps(document, indent=1, allow_nan=False) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the model in `folder`; raises ModelError with the reason."""
    path = plain_file(folder, NAME)
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise ModelError(f"{NAME} is larger than {MAX_MANIFEST_BYTES:,} bytes")
    try:
        document: Any = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r} is not {SCHEMA}")
        golden = document["golden"]
        image = ImageInput.from_json(document["image"]) if document.get("image") else None
        manifest = Manifest(
            framework=str(document["framework"]),
            framework_version=str(document["framework_version"]),
            model=str(document["model"]),
            encoder="" if image else str(document["encoder"]),
            features=() if image else tuple(Feature.from_json(item) for item in document["features"]),
            image=image,
            id=_text_or_none(document, "id"),
            target=_text_or_none(document, "target"),
            classes=tuple(str(name) for name in document.get("classes") or ()),
            training=dict(document.get("training") or {}),
            golden=Golden(
                instances=tuple(dict(instance) for instance in golden["instances"]),
                predictions=tuple(map(_prediction, golden["predictions"])),
                tolerance=float(golden["tolerance"]),
            ),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, RecursionError) as error:
        raise ModelError(f"{NAME} is not a manifest: {error!r}"[:500]) from error
    if len(manifest.golden.instances) != len(manifest.golden.predictions):
        raise ModelError(f"{NAME}: golden has not one prediction for each instance")
    if not 0 <= manifest.golden.tolerance <= MAX_TOLERANCE:
        raise ModelError(f"{NAME}: golden.tolerance is not from 0 to {MAX_TOLERANCE:g}")
    return manifest


def plain_file(folder: Path, name: str) -> Path:
    """`folder/name`, if that is a plain file in `folder` itself: no path, no link."""
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise ModelError(f"{name!r} is not the name of a file in the model's folder")
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise ModelError(f"{name} is missing from the model's folder, or not a plain file")
    return path


def disagreement(golden: Golden, predictions: Sequence[Any]) -> str | None:
    """Why replayed predictions are not the golden ones, or None."""
    for index, (stored, replayed) in enumerate(zip(golden.predictions, predictions, strict=True)):
        if not _close(stored, replayed, golden.tolerance):
            return f"golden row {index} predicts {_shown(replayed)}, was {_shown(stored)} when trained"
    return None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a value")


def _text_or_none(document: Any, name: str) -> str | None:
    value = document.get(name)
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"{name} is neither text nor null")


def _prediction(value: Any) -> Any:
    return value if isinstance(value, dict) else float(value)


def _close(stored: Any, replayed: Any, tolerance: float) -> bool:
    if isinstance(stored, dict) and isinstance(replayed, dict):
        return stored.keys() == replayed.keys() and all(
            _close(value, replayed[name], tolerance) for name, value in stored.items()
        )
    if isinstance(stored, int | float) and isinstance(replayed, int | float):
        return math.isclose(stored, replayed, rel_tol=0.0, abs_tol=tolerance)
    return bool(stored == replayed)


def _shown(prediction: Any) -> str:
    return f"{prediction:.6g}" if isinstance(prediction, float) else json.dumps(prediction)[:200]
