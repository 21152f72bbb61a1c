"""The routes: predict, health and the list of models."""

from collections.abc import Mapping
from typing import Any

from modelyard.runtime.log import log

from . import bodies, http, payloads
from .errors import ApiError
from .images import Images
from .models import Models
from .predict import Predictor
from .settings import Settings

_ROUTES = {"/": "POST", "/health": "GET", "/models": "GET"}


class Api:
    """Answers requests; holds what is worth keeping between them. `images`: None where none are taken."""

    def __init__(
        self, settings: Settings, models: Models, predictor: Predictor, images: Images | None = None
    ) -> None:
        self._settings, self._models, self._predictor, self._images = settings, models, predictor, images

    def answer(self, event: Mapping[str, Any], request_id: str) -> dict[str, Any]:
        """The response to a function URL event, refusals included; its body carries the request id."""
        try:
            return http.response(200, {**self._route(event, request_id), "request_id": request_id})
        except ApiError as error:
            log("refused", request_id=request_id, status=error.status, code=error.code)
            headers = {} if error.retry_after is None else {"retry_after": str(error.retry_after)}
            content = {"error": {"code": error.code, "message": error.message}, "request_id": request_id}
            return http.response(error.status, content, **headers)

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
        return self._predict(bodies.parse(request, self._settings.max_rows), request_id)

    def _predict(self, asked: bodies.Prediction, request_id: str) -> dict[str, Any]:
        versions = self._models.find(asked.model)
        served, predictions = self._predictor.predict(self._payload(asked), versions, request_id)
        return {"model": asked.model, "version": served.version, "predictions": predictions}

    def _payload(self, asked: bodies.Prediction) -> payloads.Payload:
        if not asked.images:
            return payloads.of_rows(asked.model, asked.instances)
        if self._images is None:
            raise ApiError(422, "images_not_taken", "no place of images is configured here; send instances")
        return self._images.payload(asked.model, asked.images)
