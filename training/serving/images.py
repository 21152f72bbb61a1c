"""Answers requests with a classifier of images: the image itself, or JSON with several.

Images are decoded side by side, as many at a time as there are CPUs, and predicted together with those of
other requests that arrived meanwhile: a call of a small network costs as much as several images. Nothing
waits for company, since while a batch is predicted the next one gathers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import torch

from training.common.backbones import timm_library
from training.common.hosts import usable_cpus
from training.common.image_model import ImageModel, load_image_model
from training.common.images import ImageError, Pixels, TooLarge
from training.common.payloads import ImagePayloadError, image_of
from training.serving.http import JSON, HttpError
from training.serving.models import LOADS
from training.serving.settings import Settings
from training.serving.tabular import media_type, parse_json

IMAGE_TYPES = ("image/jpeg", "image/png", "application/x-image")
ACCEPTED = (JSON, "application/*", "*/*")
# More gain nothing: by then a call's own cost is a tenth of its images'.
MAX_BATCH = 16

timm_library()
# One thread predicts, with all CPUs: in each thread that calls it OpenMP would start a team of its own.
# Threads that load, and predict golden images, have none: the number holds for the thread that sets it.
torch.set_num_threads(usable_cpus())
_PREDICTING = ThreadPoolExecutor(
    1, thread_name_prefix="predict", initializer=torch.set_num_threads, initargs=(usable_cpus(),)
)
_LOADING = ThreadPoolExecutor(
    LOADS, thread_name_prefix="load-images", initializer=torch.set_num_threads, initargs=(1,)
)
# No more than CPUs: a small file may be a hundred megabytes of pixels.
_DECODING = ThreadPoolExecutor(usable_cpus(), thread_name_prefix="decode")

Predictions = list[dict[str, Any]]


class ImageBatcher:
    """Predicts together what requests want at the same time. Of one model, in one event loop."""

    def __init__(
        self, predict: Callable[[Sequence[Pixels]], Predictions], max_images: int = MAX_BATCH
    ) -> None:
        self._predict = predict
        self._max_images = max_images
        self._waiting: list[tuple[Sequence[Pixels], asyncio.Future[Predictions]]] = []
        self._running: asyncio.Task[None] | None = None

    async def predict(self, images: Sequence[Pixels]) -> Predictions:
        """One prediction for each image; raises what the model raises."""
        future: asyncio.Future[Predictions] = asyncio.get_running_loop().create_future()
        self._waiting.append((images, future))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._next():
            images = [image for each, _ in batch for image in each]
            try:
                predictions = await loop.run_in_executor(_PREDICTING, self._predict, images)
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            start = 0
            for each, future in batch:
                if not future.done():  # else its caller has gone
                    future.set_result(predictions[start : start + len(each)])
                start += len(each)

    def _next(self) -> list[tuple[Sequence[Pixels], asyncio.Future[Predictions]]]:
        self._waiting = [(images, future) for images, future in self._waiting if not future.done()]
        taken = count = 0
        for images, _ in self._waiting:
            count += len(images)
            if taken and count > self._max_images:
                break
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return batch


@dataclass(frozen=True, slots=True)
class ImageHandler:
    """Predicts with one model."""

    model: ImageModel
    max_images: int
    max_pixels: int
    batcher: ImageBatcher
    batch_strategy: str = field(default="SINGLE_RECORD", init=False)

    async def answer(self, body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        """Body and content type of the answer, made in threads; raises HttpError for the caller's mistakes.

        image/jpeg, image/png, application/x-image: an image -> {"label": ..., "probabilities": {...}}.
        application/json: {"instances": [{"image": "<base64>"}, ...]} -> {"predictions": [...]}.
        """
        source = media_type(content_type) or JSON
        if source not in (*IMAGE_TYPES, JSON):
            known = ", ".join((*IMAGE_TYPES, JSON))
            raise HttpError(415, f"content type {source[:100]!r} is not one of {known}")
        _check_accept(accept)
        loop = asyncio.get_running_loop()
        if source != JSON:
            pixels = await loop.run_in_executor(_DECODING, self._pixels, body, "the image")
            (prediction,) = await self.batcher.predict([pixels])
            return json.dumps(prediction).encode(), JSON
        instances = await loop.run_in_executor(_DECODING, self._instances, body)
        # All are waited for, also after one that is refused, so that what goes on in threads stays bounded.
        decoded = await asyncio.gather(
            *(
                loop.run_in_executor(_DECODING, self._instance, instance, f"image {number}")
                for number, instance in enumerate(instances, 1)
            ),
            return_exceptions=True,
        )
        images = []
        for found in decoded:
            if isinstance(found, BaseException):
                raise found
            images.append(found)
        predictions = await self.batcher.predict(images) if images else []
        return json.dumps({"predictions": predictions}).encode(), JSON

    def _instances(self, body: bytes) -> list[Any]:
        try:
            document = orjson.loads(body)
        except ValueError:
            document = parse_json(body, "the body")  # says what is wrong
        instances = document.get("instances") if isinstance(document, dict) else None
        if not isinstance(instances, list):
            raise HttpError(400, 'the body needs the form {"instances": [{"image": "<base64>"}, ...]}')
        if len(instances) > self.max_images:
            raise HttpError(413, f"more than {self.max_images} images in one request")
        return instances

    def _instance(self, instance: object, what: str) -> Pixels:
        try:
            data = image_of(instance)
        except ImagePayloadError as error:
            raise HttpError(400, f"{what} {error}") from None
        return self._pixels(data, what)

    def _pixels(self, data: bytes, what: str) -> Pixels:
        try:
            return self.model.pixels(data, max_pixels=self.max_pixels)
        except TooLarge as error:
            raise HttpError(413, f"{what} {error}") from None
        except ImageError as error:
            raise HttpError(400, f"{what} {error}") from None


def load_image_handler(folder: Path, settings: Settings) -> ImageHandler:
    """The handler of the model in `folder`; raises ModelError."""
    model = _LOADING.submit(load_image_model, folder).result()
    return ImageHandler(model, settings.max_images, settings.max_pixels, ImageBatcher(model.predict))


def _check_accept(accept: str) -> None:
    wanted = [media_type(item) for item in accept.split(",") if item.strip()]
    if wanted and not any(name in ACCEPTED for name in wanted):
        raise HttpError(406, f"cannot answer with {', '.join(wanted)[:100]}, only {JSON}")
