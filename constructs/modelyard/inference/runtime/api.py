"""The routes: predict, health and the list of models."""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from modelyard.runtime.invoke import Invoker, ModelError, NotReadyError, RefusedError
from modelyard.runtime.log import log

from . import bodies, http
from .errors import ApiError, invalid_instances
from .models import Models
from .settings import Settings

_ROUTES = {"/": "POST", "/health": "GET", "/models": "GET"}


class Api:
    """Answers requests; holds what is worth keeping between them."""

    def __init__(self, settings: Settings, models: Models, invoker: Invoker) -> None:
        self._settings, self._models, self._invoker = settings, models, invoker

    def answer(self, event: Mapping[str, Any], request_id: str) -> dict[str, Any]:
        """The response to a function URL event, refusals included; its body carries the request id."""
        try:
            content = self._route(event, request_id)
        except ApiError as error:
            log("refused", request_id=request_id, status=error.status, code=error.code)
            headers = {} if error.retry_after is None else {"retry_after": str(error.retry_after)}
            content = {"error": {"code": error.code, "message": error.message}, "request_id": request_id}
            return http.response(error.status, content, **headers)
        return http.response(200, {**content, "request_id": request_id})

    def _route(self, event: Mapping[str, Any], request_id: str) -> dict[str, Any]:
        request = http.parse(event, self._settings.max_body_bytes)
        method = _ROUTES.get(request.path)
        if method is None:
            raise ApiError(404, "unknown_path", "unknown path; POST /, GET /models and GET /health exist")
        if request.method != method:
            raise ApiError(405, "method_not_allowed", f"{request.path} takes {method}")
        if request.path == "/health":
            return {"status": "ok"}
        if request.path == "/models":
            return {"models": self._models.listing()}
        return self._predict(
            bodies.parse(request.media_type, request.body, self._settings.max_rows), request_id
        )

    def _predict(self, asked: bodies.Prediction, request_id: str) -> dict[str, Any]:
        served = self._models.find(asked.model)
        body = json.dumps({"instances": asked.instances}, separators=(",", ":")).encode()
        try:
            answer = self._invoker.invoke(
                served.artifact, body, retry_seconds=self._settings.retry_seconds, request_id=request_id
            )
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
                raise invalid_instances(error.message) from error
            raise ApiError(424, "model_error", error.message) from error
        log("predicted", request_id=request_id, artifact=served.artifact, rows=len(asked.instances))
        return {
            "model": asked.model,
            "version": served.version,
            "predictions": _predictions(answer, len(asked.instances)),
        }


def _predictions(answer: bytes, rows: int) -> list[Any]:
    try:
        predictions = json.loads(answer, parse_constant=_refuse_constant)["predictions"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ApiError(424, "model_error", 'the model\'s answer is no {"predictions": [...]}') from error
    if not isinstance(predictions, list) or len(predictions) != rows:
        raise ApiError(424, "model_error", f"the model did not answer {rows} rows with as many predictions")
    return predictions


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
