"""SageMaker's hosting contract as an ASGI application.

Single model: GET /ping, POST /invocations, and GET /execution-parameters for batch transform.
Multi-model: POST and GET /models, GET and DELETE /models/{name}, POST /models/{name}/invoke.
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html
https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html
"""

from __future__ import annotations

import base64
import binascii
import time
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from training.common.hosts import usable_cpus
from training.common.paths import base_dir
from training.serving.http import (
    ClientGone,
    HttpError,
    Receive,
    Request,
    Response,
    Scope,
    Send,
    json_response,
    send_response,
)
from training.serving.models import Handler, ModelStore
from training.serving.settings import Settings
from training.serving.tabular import parse_json
from training.serving.telemetry import MAX_SHOWN, Metrics, log, request_id

PAGE_SIZE = 100
CLIENT_GONE = 499  # of the log and the metrics only: there is nobody to answer
MAX_LOAD_BYTES = 64 * 1024  # of a request to load a model
MAX_NAME = 1024


class ServingApp:
    """`single`: the model behind /invocations, None in multi-model mode."""

    def __init__(self, settings: Settings, store: ModelStore, single: Handler | None) -> None:
        self._settings = settings
        self._store = store
        self._single = single
        self._in_flight = self._held = 0  # of predictions
        self._asking = 0  # for models to be loaded, told of or unloaded
        self._awaiting = 0  # predictions whose model is loading
        self.metrics = Metrics(self._gauges)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"{scope['type']} is not served")
        started = time.perf_counter()
        request = Request.of(scope, receive)
        name = request_id(request)
        try:
            response = await self._respond(request)
        except ClientGone:
            self._done(request, name, started, CLIENT_GONE, error="the client hung up")
            return
        except HttpError as error:
            self._done(request, name, started, error.status, error=error.message)
            response = error.response()
        except Exception:
            self._done(request, name, started, 500, error="internal error", trace=traceback.format_exc())
            response = HttpError(500, "internal error, see the endpoint's log").response()
        else:
            self.metrics.count(request.route, response.status, time.perf_counter() - started)
            if self._settings.access_log:
                _log(request, name, started, response.status)
        await send_response(send, response, name)

    def _done(self, request: Request, name: str, started: float, status: int, **members: str) -> None:
        self.metrics.count(request.route, status, time.perf_counter() - started)
        _log(request, name, started, status, **members)

    def _gauges(self) -> Mapping[str, float]:
        return {
            "requests_in_flight": self._in_flight,
            "requests_awaiting_a_load": self._awaiting,
            "model_requests_in_flight": self._asking,
            "body_bytes_held": self._held,
            **self._store.gauges(),
        }

    async def _respond(self, request: Request) -> Response:
        path = request.path
        if path == "/ping":
            request.route = "ping"
            _require(request, "GET", "HEAD")
            return Response()
        if path == "/invocations" and self._single is not None:
            request.route = "invoke"
            _require(request, "POST")
            return await self._invoke(None, request)
        if path == "/execution-parameters":
            request.route = "execution-parameters"
            _require(request, "GET")
            return json_response(self._execution_parameters())
        if self._settings.multi_model and path.startswith("/models"):
            match request.segments():
                case ["models"] | ["models", ""]:
                    return await self._all_models(request)
                case ["models", str(name)] if name:
                    return await self._model(request, name)
                case ["models", str(name), "invoke"] if name:
                    request.route = "invoke"
                    _require(request, "POST")
                    return await self._invoke(name, request)
        mode = "multi-model" if self._settings.multi_model else "single-model"
        raise HttpError(404, f"{request.method} {path[:100]} is no route of this {mode} server")

    async def _all_models(self, request: Request) -> Response:
        request.route = "load" if request.method == "POST" else "list"
        _require(request, "GET", "POST")
        if request.method == "GET":
            return self._list(request)
        async with self._admitted_to_models():
            return await self._add(request)

    async def _model(self, request: Request, name: str) -> Response:
        request.route = "unload" if request.method == "DELETE" else "describe"
        _require(request, "GET", "DELETE")
        async with self._admitted_to_models():  # each of them waits for a load of the model
            if request.method == "DELETE":
                await self._store.remove(name)
                return Response()
            return json_response((await self._store.get(name)).to_json())

    @asynccontextmanager
    async def _admitted_to_models(self) -> AsyncIterator[None]:
        if self._asking >= self._settings.max_requests:
            raise HttpError(503, f"busy with {self._asking} loads, try again", retry_after=1)
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1

    async def _handler(self, name: str | None) -> Handler:
        """The handler of a model, None for the single one; waits for a load of it."""
        if name is None:
            assert self._single is not None
            return self._single
        if not self._store.loading(name):
            return (await self._store.get(name)).handler
        # A model that takes long to load leaves room for requests to the others.
        if self._awaiting >= max(1, self._settings.max_requests // 2):
            message = f"{self._awaiting} requests wait for models that load, try again"
            raise HttpError(503, message, retry_after=1)
        self._awaiting += 1
        try:
            return (await self._store.get(name)).handler
        finally:
            self._awaiting -= 1

    async def _invoke(self, name: str | None, request: Request) -> Response:
        # Before the body is read, or a load waited for: what waits takes memory, too.
        if self._in_flight >= self._settings.max_requests:
            raise HttpError(503, f"busy with {self._in_flight} requests, try again", retry_after=1)
        self._in_flight += 1
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            if self._held + size > self._settings.max_held_bytes:
                raise HttpError(503, f"busy with {self._held} bytes of requests, try again", retry_after=1)
            self._held += size
            held += size

        try:
            handler = await self._handler(name)
            body = await request.body(self._settings.max_body_bytes, hold)
            answer, content_type = await handler.answer(
                body, request.header(b"content-type"), request.header(b"accept")
            )
        finally:
            self._in_flight -= 1
            self._held -= held
        return Response(200, answer, content_type)

    async def _add(self, request: Request) -> Response:
        document = parse_json(await request.body(MAX_LOAD_BYTES), "the body")
        name = document.get("model_name") if isinstance(document, dict) else None
        url = document.get("url") if isinstance(document, dict) else None
        if not (isinstance(name, str) and name and isinstance(url, str)):
            raise HttpError(400, 'the body needs the form {"model_name": "...", "url": "/opt/ml/models/..."}')
        if len(name) > MAX_NAME or any("\ud800" <= character <= "\udfff" for character in name):
            raise HttpError(400, f"model_name needs at most {MAX_NAME} characters of Unicode")
        await self._store.add(name, url, _folder(url))
        return Response()

    def _list(self, request: Request) -> Response:
        after, limit = _page(request)
        models = sorted(
            (model for model in self._store.loaded() if model.name > after), key=lambda model: model.name
        )
        document: dict[str, object] = {"models": [model.to_json() for model in models[:limit]]}
        if limit < len(models):
            document["nextPageToken"] = base64.urlsafe_b64encode(models[limit - 1].name.encode()).decode()
        return json_response(document)

    def _execution_parameters(self) -> dict[str, object]:
        megabytes = max(1, self._settings.max_body_bytes // 1024**2)
        return {
            "MaxConcurrentTransforms": usable_cpus(),
            "BatchStrategy": self._single.batch_strategy if self._single else "MULTI_RECORD",
            "MaxPayloadInMB": megabytes,
        }


def _log(request: Request, name: str, started: float, status: int, **members: str) -> None:
    """One line about a request; `name` is its identifier."""
    log(
        "request",
        id=name,
        route=request.route,
        method=request.method,
        path=request.path[:MAX_SHOWN],
        status=status,
        ms=round((time.perf_counter() - started) * 1000, 3),
        **members,
    )


def _require(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise HttpError(405, f"{request.path[:100]} takes {' or '.join(methods)}, not {request.method}")


def _page(request: Request) -> tuple[str, int]:
    """The name after which the page begins, so that models which come and go move no other; its size."""
    token, limit = request.query.get("next_page_token", ""), request.query.get("limit", str(PAGE_SIZE))
    if not (limit.isdecimal() and len(limit) < 10 and 0 < int(limit) <= PAGE_SIZE):
        raise HttpError(400, f"limit must be 1 to {PAGE_SIZE}")
    try:
        return base64.b64decode(token, b"-_", validate=True).decode(), int(limit)
    except (binascii.Error, ValueError):  # the second one of text that is not ASCII, or not UTF-8
        raise HttpError(400, "next_page_token must come from the page before") from None


def _folder(url: str) -> Path:
    """The folder that SageMaker unpacked the model into; only what lies in `models` is ever opened."""
    root = base_dir() / "models"
    # SageMaker names it as it lies in the container, wherever the container's /opt/ml is.
    path = root / Path(url).relative_to("/opt/ml/models") if url.startswith("/opt/ml/models/") else Path(url)
    try:
        resolved = path.resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        raise HttpError(404, f"url {url[:200]!r} does not exist") from None
    if not resolved.is_relative_to(root.resolve()) or not resolved.is_dir():
        raise HttpError(400, f"url {url[:200]!r} is not a folder in {root}")
    return resolved
