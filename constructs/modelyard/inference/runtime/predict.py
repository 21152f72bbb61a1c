"""Asks a version of a model for predictions; a canary that fails is covered by the version that serves.

Each version asked is one line of metrics, which the deployer judges canaries by.
"""

import json
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from modelyard.runtime import metrics
from modelyard.runtime.invoke import Invoker, ModelError, NotReadyError, RefusedError
from modelyard.runtime.limits import CANARY_RETRY_SECONDS
from modelyard.runtime.log import log

from .errors import ApiError
from .models import Served, Versions
from .payloads import Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What a version answered: predictions, or `error`."""

    served: Served
    milliseconds: float
    predictions: list[Any] = field(default_factory=list)
    error: ApiError | None = None

    @property
    def is_fault(self) -> bool:
        """Whether the version is to blame, not what it was asked about."""
        return self.error is not None and self.error.code not in ("invalid_instances", "invalid_images")


class Predictor:
    """Draws the version for each request.

    Args:
        invoker: Calls the version that serves.
        canary_invoker: Calls a canary; its client waits for less time.
        retry_seconds: How long after a request's arrival new attempts are started.
        chance: Uniform in [0, 1).
        clock: Seconds.
    """

    def __init__(
        self,
        invoker: Invoker,
        canary_invoker: Invoker,
        retry_seconds: float,
        *,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._invoker, self._canary_invoker, self._retry_seconds = invoker, canary_invoker, retry_seconds
        self._chance, self._clock = chance, clock

    def predict(self, asked: Payload, versions: Versions, request_id: str) -> tuple[Served, list[Any]]:
        """The version that answered, and its predictions in order. Raises ApiError."""

        def attempt(served: Served, invoker: Invoker, retry_seconds: float) -> Attempt:
            begun, predictions, error = self._clock(), [], None
            try:
                answer = _invoke(invoker, served, asked, retry_seconds, request_id)
                predictions = _predictions(answer, asked.count)
            except ApiError as raised:
                error = raised
            milliseconds = (self._clock() - begun) * 1000
            return Attempt(served=served, milliseconds=milliseconds, predictions=predictions, error=error)

        canary, left = versions.canary, self._retry_seconds
        if canary is None or versions.draw(self._chance()) is not canary:
            return _outcome(asked, attempt(versions.serving, self._invoker, left), request_id)
        first = attempt(canary, self._canary_invoker, min(CANARY_RETRY_SECONDS, left))
        if first.error is None:
            return _outcome(asked, first, request_id)
        left = max(0.0, left - first.milliseconds / 1000)
        second = attempt(versions.serving, self._invoker, left)
        # Rows that both refuse are the caller's mistake; what only the canary refuses is its own.
        _measure(asked, first, request_id, is_fault=first.is_fault or second.error is None)
        return _outcome(asked, second, request_id)


def _outcome(asked: Payload, attempt: Attempt, request_id: str) -> tuple[Served, list[Any]]:
    _measure(asked, attempt, request_id, is_fault=attempt.is_fault)
    if attempt.error is not None:
        raise attempt.error
    return attempt.served, attempt.predictions


def _measure(asked: Payload, attempt: Attempt, request_id: str, *, is_fault: bool) -> None:
    code = {} if attempt.error is None else {"code": attempt.error.code}
    metrics.emit(
        metrics.INFERENCE,
        {metrics.MODEL: asked.model, metrics.VERSION: str(attempt.served.version)},
        {
            metrics.INVOCATIONS: (1, metrics.COUNT),
            metrics.ERRORS: (int(is_fault), metrics.COUNT),
            metrics.LATENCY: (round(attempt.milliseconds, 3), metrics.MILLISECONDS),
        },
        event="failed" if code else "predicted",
        **code,
        request_id=request_id,
        artifact=attempt.served.artifact,
        rows=asked.count,
    )


def _invoke(invoker: Invoker, served: Served, asked: Payload, retry_seconds: float, request_id: str) -> bytes:
    try:
        return invoker.invoke(served.artifact, asked.body, retry_seconds=retry_seconds, request_id=request_id)
    except NotReadyError as error:
        log("model not ready", request_id=request_id, artifact=served.artifact, reason=str(error))
        message = "the model is being loaded or the endpoint is busy; try again"
        raise ApiError(503, "not_ready", message, retry_after=5) from error
    except RefusedError as error:
        log("endpoint refused", request_id=request_id, artifact=served.artifact, reason=str(error))
        message = "the endpoint cannot be used now; its operators find the reason in the log"
        raise ApiError(503, "endpoint_unavailable", message, retry_after=30) from error
    except ModelError as error:
        if 400 <= error.status < 500:
            raise ApiError(422, asked.invalid, error.message) from error
        raise ApiError(424, "model_error", error.message) from error


def _predictions(answer: bytes, rows: int) -> list[Any]:
    try:
        predictions = json.loads(answer, parse_constant=_refuse_constant, parse_float=_finite)["predictions"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ApiError(424, "model_error", 'the model\'s answer is no {"predictions": [...]}') from error
    if not isinstance(predictions, list) or len(predictions) != rows:
        raise ApiError(424, "model_error", f"the model did not answer {rows} rows with as many predictions")
    return predictions


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is no 64-bit float")
    return value
