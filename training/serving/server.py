"""Starts the model server in this process."""

from __future__ import annotations

import asyncio
import importlib.util
import signal
import socket
import sys
import threading
from pathlib import Path

import uvicorn

from training.common.classifier import load_classifier
from training.common.failure import UserError, say
from training.common.manifest import ModelError, read_manifest
from training.common.paths import base_dir
from training.common.tabular_model import load
from training.serving.app import ServingApp
from training.serving.memory import one_arena
from training.serving.models import Handler, ModelStore
from training.serving.protocol import limited
from training.serving.settings import Settings
from training.serving.tabular import TabularHandler
from training.serving.telemetry import Metrics, log, serve_metrics
from training.serving.trial import NotTriedError, Trial

SWITCH_SECONDS = 0.0001
# Of the eight minutes after which SageMaker gives a container up that does not answer /ping.
# https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
SINGLE_TRIAL_SECONDS = 300.0
# Library of an image's models -> the module through which they use it.
_WARM_UP = (("xgboost", "training.common.boosting"), ("timm", "training.serving.images"))


def serve() -> None:
    """Serve until SIGTERM: then no new connections, and requests in flight have `drain_s` seconds to finish.

    A single model is loaded first, so that a broken one fails the endpoint with its reason; in multi-model
    mode the server is ready at once and loads the library while it waits.
    """
    one_arena()
    # A thread that loads lets the event loop have the interpreter that much sooner.
    sys.setswitchinterval(SWITCH_SECONDS)
    settings = Settings.from_environment()
    app = make_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=limited(settings.receive_s),
        lifespan="off",
        ws="none",
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,  # longer than the caller's, so that it never writes to a closing connection
        timeout_graceful_shutdown=settings.drain_s,
    )
    try:
        _Server(config, settings, app.metrics).run()
    except SystemExit as stopped:
        # When it has drained, uvicorn raises the signal again, for the handler that was there before.
        if stopped.code != 128 + signal.SIGTERM:
            raise
        say("drained")


def make_app(settings: Settings, trial: Trial | None = None) -> ServingApp:
    """The application of `settings`; raises UserError if the single model cannot be loaded.

    `trial`: tries models before they are loaded; one of its own if there is none.
    """
    if trial is None and settings.multi_model:
        trial = Trial(settings.model_bytes)
    elif trial is None:  # no other model will be tried, so its process ends at once
        trial = Trial(settings.model_bytes, seconds=SINGLE_TRIAL_SECONDS, idle=0.0)

    def load_handler(folder: Path) -> Handler:
        manifest = read_manifest(folder)
        if not manifest.golden.instances:
            raise ModelError("manifest.json has no golden rows; no model serves unproven")
        if manifest.image:
            return _image_handler(folder, settings)
        model = load_classifier(folder) if manifest.classes else load(folder)
        return TabularHandler(model, settings.max_rows)

    def try_and_load(folder: Path) -> Handler:
        trial.check(folder)
        return load_handler(folder)

    store = ModelStore(try_and_load, settings.model_bytes, evict=settings.evict)
    if settings.multi_model:
        return ServingApp(settings, store, None)
    folder = base_dir() / "model"
    try:
        return ServingApp(settings, store, try_and_load(folder))
    except ModelError as error:
        raise UserError(f"the model in {folder} cannot be served: {error}") from error
    except NotTriedError as error:
        raise UserError(
            f"the model in {folder} could not be tried, start the server again: {error}"
        ) from error


def _image_handler(folder: Path, settings: Settings) -> Handler:
    try:
        # Here: the image for tables has no PyTorch, and where it is, it takes seconds to import.
        from training.serving.images import load_image_handler
    except ModuleNotFoundError as error:
        raise ModelError(
            f"is a model of images, and {error.name} is missing: serve with the image of serving.Dockerfile; "
            "locally run: python3 tools/setup.py vision"
        ) from None
    return load_image_handler(folder, settings)


def _warm() -> None:
    """Import the library of this image's models, before the first one asks for it."""
    for library, module in _WARM_UP:
        if importlib.util.find_spec(library):
            importlib.import_module(module)
            return


class _Server(uvicorn.Server):  # type: ignore[misc]  # uvicorn is not followed by mypy here
    def __init__(self, config: uvicorn.Config, settings: Settings, metrics: Metrics) -> None:
        super().__init__(config)
        self._settings = settings
        self._metrics = metrics
        self._metrics_server: asyncio.Server | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._settings.metrics_port:
            await self._tell_metrics(self._settings.metrics_port)
        say(f"serving on {self._settings.host}:{self._settings.port}")
        if self._settings.multi_model:
            threading.Thread(target=_warm, daemon=True).start()

    async def _tell_metrics(self, port: int) -> None:
        try:
            self._metrics_server = await serve_metrics(self._metrics, port)
        except (OSError, OverflowError) as error:  # predictions do not depend on them
            log("metrics", error=f"port {port} cannot be used, so no metrics are told: {error}")
