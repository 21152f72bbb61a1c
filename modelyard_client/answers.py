"""What the function answers, as types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelyard_client.errors import UnexpectedAnswerError


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Answers of one version of a model.

    Args:
        model: Its name.
        version: In the model registry. Two requests may be answered by two versions: during a canary, or when
            another was approved between them.
        predictions: One for each row or image, in their order: a number, or for a classifier
            `{"label": ..., "probabilities": {...}}`.
        request_id: Of the function, by which its operators find the request.
    """

    model: str
    version: int
    predictions: tuple[Any, ...]
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A version that answers `percent` of a model's requests, on trial."""

    version: int
    since: datetime
    percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model that may be asked for; `version` and `since` are None where none is approved."""

    model: str
    version: int | None
    since: datetime | None
    canary: Canary | None


def prediction(document: Mapping[str, Any], asked: int | None) -> Prediction:
    """`asked`: how many rows or images were sent, None where that is not known.

    Raises:
        UnexpectedAnswerError: It has another form, or another number of predictions.
    """
    try:
        answered = Prediction(
            model=str(document["model"]),
            version=int(document["version"]),
            predictions=tuple(document["predictions"]),
            request_id=str(document["request_id"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _unexpected("a prediction", error) from error
    if asked is not None and len(answered.predictions) != asked:
        message = f"{len(answered.predictions)} predictions for {asked} rows"
        raise UnexpectedAnswerError("unexpected_answer", message, request_id=answered.request_id)
    return answered


def models(document: Mapping[str, Any]) -> tuple[ModelInfo, ...]:
    """Raises UnexpectedAnswerError for another form."""
    try:
        return tuple(
            ModelInfo(
                model=str(entry["model"]),
                version=entry["version"],
                since=_time(entry["since"]),
                canary=_canary(entry["canary"]),
            )
            for entry in document["models"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _unexpected("a list of models", error) from error


def _canary(entry: Mapping[str, Any] | None) -> Canary | None:
    if entry is None:
        return None
    since = datetime.fromisoformat(entry["since"])
    return Canary(version=int(entry["version"]), since=since, percent=int(entry["percent"]))


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _unexpected(wanted: str, error: Exception) -> UnexpectedAnswerError:
    return UnexpectedAnswerError("unexpected_answer", f"the answer is not {wanted} ({error!r})")
