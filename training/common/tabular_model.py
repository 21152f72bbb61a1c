"""A trained model as serving and evaluation use it: raw feature rows in, predictions out.

Here what models of every kind share, and the regression with XGBoost; classifiers are in `classifier`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.common.encoder import Encoder
from training.common.features import Value
from training.common.manifest import Manifest, ModelError, disagreement, plain_file, read_manifest

FRAMEWORK = "xgboost"


class RowError(ValueError):
    """A row that the model cannot read; the text names the row, the column and the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowModel(ABC):
    """What reads rows and predicts; `known`: the names that a row may hold."""

    @property
    def rows_stand_alone(self) -> bool:
        """True if a row's prediction does not depend, to the last bit, on the rows predicted beside it."""
        return False

    @property
    def row_seconds(self) -> float:
        """About what a row more in a call takes; 0 where nobody needs to count it."""
        return 0.0

    manifest: Manifest
    encoder: Encoder
    known: frozenset[str]

    @abstractmethod
    def predict(self, rows: Sequence[Sequence[Value]]) -> list[Any]:
        """Rows of values in the order of the features -> one prediction each."""

    def values(self, instance: object, row: int) -> list[Value]:
        """One request instance -> its values in the order of the model's features; raises RowError."""
        if not isinstance(instance, Mapping):
            raise RowError(
                f"row {row}: needs an object of column names and values, got {type(instance).__name__}"
            )
        values: list[Value] = []
        for feature in self.encoder.features:
            try:
                values.append(feature.check(instance[feature.name]))
            except KeyError:
                reason = f"column {feature.name!r} is missing (null means unknown)"
                raise RowError(f"row {row}: {reason}{self._unknown(instance)}") from None
            except ValueError as error:
                raise RowError(f"row {row}: column {feature.name!r} {error}") from None
        # Every feature was there: only a row with more members than that can hold an unknown one.
        if len(instance) > len(values) and (unknown := self._unknown(instance)):
            raise RowError(f"row {row}: {unknown.removeprefix('; ')}")
        return values

    def _unknown(self, instance: Mapping[str, object]) -> str:
        unknown = sorted(str(name)[:60] for name in instance.keys() - self.known)
        return f"; unknown column {unknown[0]!r}" if unknown else ""

    def cells(self, cells: Sequence[str], row: int) -> list[Value]:
        """One CSV row in the manifest's order -> its values; raises RowError."""
        if len(cells) != len(self.encoder.features):
            raise RowError(f"row {row}: has {len(cells)} cells, needs {len(self.encoder.features)}")
        values: list[Value] = []
        for feature, cell in zip(self.encoder.features, cells, strict=True):
            try:
                values.append(feature.parse(cell))
            except ValueError as error:
                raise RowError(f"row {row}: column {feature.name!r} {error}") from None
        return values

    def sparse(self, items: Sequence[str], row: int) -> list[Value]:
        """One row of libsvm, a label or none and then `index:value`s -> its values; raises RowError.

        Features count from 0 in the manifest's order, as XGBoost counts; one that is not there is missing.
        """
        if items and ":" not in items[0]:
            items = items[1:]  # the label: data made for training may be sent as it is
        features = self.encoder.features
        values: list[Value] = [None] * len(features)
        seen = set()
        for item in items:
            index, _, text = item.partition(":")
            if not (text and index.isascii() and index.isdigit()):
                raise RowError(f"row {row}: needs index:value, got {item[:60]!r}")
            # Longer numbers need not be read to be too large.
            place = int(index) if len(index) < 10 else len(features)
            if place >= len(features):
                raise RowError(f"row {row}: index {index[:20]} is not below {len(features)}, the features")
            feature = features[place]
            if feature.kind == "categorical":
                reason = "is a category, and libsvm holds only numbers: leave it out, or send another type"
                raise RowError(f"row {row}: column {feature.name!r} {reason}")
            if place in seen:
                raise RowError(f"row {row}: index {place} appears twice")
            seen.add(place)
            try:
                values[place] = feature.parse(text)
            except ValueError as error:
                raise RowError(f"row {row}: column {feature.name!r} {error}") from None
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class TabularModel(RowModel):
    booster: Any

    @property
    def rows_stand_alone(self) -> bool:
        return True

    def predict(self, rows: Sequence[Sequence[Value]]) -> list[float]:
        """Rows of values in the order of the features -> one prediction each, in units of the target."""
        if not rows:
            return []
        # No feature names travel with a plain matrix, so there is nothing for XGBoost to validate.
        predictions = self.booster.inplace_predict(self.encoder.encode(rows), validate_features=False)
        return [float(value) for value in predictions]


def load(folder: Path, *, threads: int = 1) -> TabularModel:
    """Load the unpacked archive in `folder` and replay its golden rows; raises ModelError."""
    manifest = read_manifest(folder)
    if manifest.framework != FRAMEWORK:
        raise ModelError(f"framework {manifest.framework!r} is not served here, only {FRAMEWORK}")
    if manifest.classes:
        raise ModelError("is a classifier, where a regression is needed")
    model = TabularModel(
        manifest=manifest,
        encoder=read_encoder(folder, manifest),
        known=known_names(manifest),
        booster=load_booster(plain_file(folder, manifest.model), manifest, threads),
    )
    replay(model)
    return model


def read_encoder(folder: Path, manifest: Manifest) -> Encoder:
    """The encoder of the model in `folder`; raises ModelError."""
    try:
        encoder = Encoder.from_json(plain_file(folder, manifest.encoder).read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ModelError(f"{manifest.encoder}: {error}") from error
    if encoder.features != manifest.features:
        raise ModelError(f"{manifest.encoder} and manifest.json name different features")
    return encoder


def known_names(manifest: Manifest) -> frozenset[str]:
    return frozenset(
        {feature.name for feature in manifest.features} | ({manifest.id} if manifest.id else set())
    )


def replay(model: RowModel) -> None:
    """Raises ModelError unless the model predicts its golden rows as it did when it was trained."""
    golden = model.manifest.golden
    try:
        rows = [model.values(instance, row) for row, instance in enumerate(golden.instances)]
    except RowError as error:
        raise ModelError(f"golden {error}") from error
    reason = disagreement(golden, model.predict(rows))
    if reason:
        raise ModelError(reason)


def load_booster(path: Path, manifest: Manifest, threads: int) -> Any:
    """XGBoost's booster in the file `path`; raises ModelError."""
    from training.common.boosting import xgboost  # a third of a second: only where a model is loaded

    if release(manifest.framework_version) != release(xgboost.__version__):
        raise ModelError(
            f"was trained with xgboost {manifest.framework_version}, this image has {xgboost.__version__}: "
            "models may mispredict silently across versions; serve with the image that trained it"
        )
    booster = xgboost.Booster({"nthread": threads})
    try:
        booster.load_model(str(path))
    except (xgboost.core.XGBoostError, ValueError) as error:
        # "[time] file:line: reason", and then the addresses of its functions.
        reason = " ".join(str(error).partition("Stack trace")[0].split())
        reason = (reason.partition(": ")[2] if reason.startswith("[") else reason)[:200]
        raise ModelError(f"{manifest.model} is not an XGBoost model: {reason}") from error
    if booster.num_features() != len(manifest.features):
        raise ModelError(
            f"{manifest.model} reads {booster.num_features()} features, "
            f"the manifest names {len(manifest.features)}"
        )
    return booster


def release(version: str) -> tuple[str, ...]:
    """Major and minor: patch releases keep the model format."""
    return tuple(version.split(".")[:2])
