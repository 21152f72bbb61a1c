"""A trained classifier as serving and evaluation use it: rows in, labels and probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from training.common.array_models import ArrayModel, load_array_model
from training.common.encoder import Encoder, Matrix
from training.common.features import Value
from training.common.manifest import Manifest, ModelError, plain_file, read_manifest
from training.common.tabular_model import (
    RowModel,
    known_names,
    load_booster,
    read_encoder,
    release,
    replay,
)

Numbers = NDArray[np.float64]


class Predictor(Protocol):
    """What the algorithms have in common once they are trained."""

    def probabilities(self, matrix: Matrix) -> Numbers:
        """The encoder's matrix (rows, features) -> (rows, classes)."""

    def save(self, path: Path) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier(RowModel):
    """A prediction is `{"label": class, "probabilities": {class: probability, ...}}`."""

    predictor: Predictor

    @property
    def rows_stand_alone(self) -> bool:
        # Trees; products of matrices add in another order when there are more rows.
        return isinstance(self.predictor, XgboostPredictor | LightgbmPredictor)

    @property
    def row_seconds(self) -> float:
        return self.predictor.row_seconds if isinstance(self.predictor, ArrayModel) else 0.0

    def predict(self, rows: Sequence[Sequence[Value]]) -> list[Any]:
        if not rows:
            return []
        classes = self.manifest.classes
        return [
            {
                "label": classes[max(range(len(classes)), key=row.__getitem__)],
                "probabilities": dict(zip(classes, row, strict=True)),
            }
            for row in self.predictor.probabilities(self.encoder.encode(rows)).tolist()
        ]


@dataclass(frozen=True, slots=True)
class XgboostPredictor:
    booster: Any

    def probabilities(self, matrix: Matrix) -> Numbers:
        return of_classes(self.booster.inplace_predict(matrix, validate_features=False))

    def save(self, path: Path) -> None:
        self.booster.save_model(path)


@dataclass(frozen=True, slots=True)
class LightgbmPredictor:
    booster: Any
    threads: int = 1

    def probabilities(self, matrix: Matrix) -> Numbers:
        return of_classes(self.booster.predict(matrix, num_threads=self.threads))

    def save(self, path: Path) -> None:
        self.booster.save_model(path)


def of_classes(answer: Any) -> Numbers:
    """Of two classes the libraries answer with the probability of the second one only."""
    found = np.asarray(answer, dtype=np.float64)
    return np.stack([1 - found, found], axis=1) if found.ndim == 1 else found


def load_classifier(folder: Path, *, threads: int = 1) -> Classifier:
    """Load the unpacked archive in `folder` and replay its golden rows; raises ModelError."""
    manifest = read_manifest(folder)
    if manifest.framework not in _LOADERS:
        raise ModelError(
            f"framework {manifest.framework!r} is not served here, only {', '.join(_LOADERS)} classifiers"
        )
    if len(manifest.classes) < 2 or len(set(manifest.classes)) < len(manifest.classes):
        raise ModelError(
            f"a classifier needs two or more classes, got {', '.join(manifest.classes) or 'none'}"
        )
    encoder, path = read_encoder(folder, manifest), plain_file(folder, manifest.model)
    model = Classifier(
        manifest=manifest,
        encoder=encoder,
        known=known_names(manifest),
        predictor=_LOADERS[manifest.framework](path, manifest, encoder, threads),
    )
    try:
        replay(model)
    except (ValueError, IndexError, KeyError) as error:
        raise ModelError(f"{manifest.model} does not fit the manifest: {error}") from error
    return model


def _load_xgboost(path: Path, manifest: Manifest, _encoder: Encoder, threads: int) -> Predictor:
    return XgboostPredictor(load_booster(path, manifest, threads))


def _load_lightgbm(path: Path, manifest: Manifest, _encoder: Encoder, threads: int) -> Predictor:
    import lightgbm  # more than a second: only where such a model is loaded

    if release(manifest.framework_version) != release(lightgbm.__version__):
        raise ModelError(
            f"was trained with lightgbm {manifest.framework_version}, this image has "
            f"{lightgbm.__version__}: serve with the image that trained it"
        )
    try:
        booster = lightgbm.Booster(model_file=str(path))
    except lightgbm.basic.LightGBMError as error:
        raise ModelError(f"{manifest.model} is not a LightGBM model: {str(error)[:200]}") from error
    if booster.num_feature() != len(manifest.features):
        raise ModelError(
            f"{manifest.model} reads {booster.num_feature()} features, "
            f"the manifest names {len(manifest.features)}"
        )
    return LightgbmPredictor(booster, threads)


def _load_arrays(path: Path, manifest: Manifest, encoder: Encoder, _threads: int) -> Predictor:
    return load_array_model(path, encoder, len(manifest.classes))


_LOADERS: Mapping[str, Callable[[Path, Manifest, Encoder, int], Predictor]] = {
    "xgboost": _load_xgboost,
    "lightgbm": _load_lightgbm,
    # No version: what reads the arrays is this image's own code.
    "scikit-learn": _load_arrays,
}
