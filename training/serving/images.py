"""Answers requests with a classifier of images: the image itself, or JSON with several."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from training.common.backbones import timm_library
from training.common.hosts import usable_cpus
from training.common.image_model import ImageModel, load_image_model
from training.common.images import ImageError, Pixels, TooLarge
from training.common.payloads import ImagePayloadError, image_of
from training.serving.http import JSON, HttpError
from training.serving.settings import Settings
from training.serving.tabular import media_type, parse_json

IMAGE_TYPES = ("image/jpeg", "image/png", "application/x-image")
ACCEPTED = (JSON, "application/*", "*/*")

timm_library()
# One thread predicts, with all CPUs: in each thread that calls it OpenMP would start a team of its own.
torch.set_num_threads(usable_cpus())
_PREDICTING = ThreadPoolExecutor(1, thread_name_prefix="predict")
# Images are decoded side by side, but no more than CPUs: a small file may be a hundred megabytes of pixels.
_DECODING = threading.BoundedSemaphore(usable_cpus())


@dataclass(frozen=True, slots=True)
class ImageHandler:
    """Predicts with one model. Stateless, so requests may run in any thread."""

    model: ImageModel
    max_images: int
    max_pixels: int
    batch_strategy: str = field(default="SINGLE_RECORD", init=False)

    async def answer(self, body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        """Body and content type of the answer, made in a thread; raises HttpError for the caller's mistakes.

        image/jpeg, image/png, application/x-image: an image -> {"label": ..., "probabilities": {...}}.
        application/json: {"instances": [{"image": "<base64>"}, ...]} -> {"predictions": [...]}.
        """
        return await asyncio.to_thread(self._answer, body, content_type, accept)

    def _answer(self, body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        source = media_type(content_type) or JSON
        if source not in (*IMAGE_TYPES, JSON):
            known = ", ".join((*IMAGE_TYPES, JSON))
            raise HttpError(415, f"content type {source[:100]!r} is not one of {known}")
        _check_accept(accept)
        if source == JSON:
            document: Any = {"predictions": self._predict(self._instances(body))}
        else:
            (document,) = self._predict([self._pixels(body, "the image")])
        return json.dumps(document).encode(), JSON

    def _instances(self, body: bytes) -> list[Pixels]:
        document = parse_json(body, "the body")
        instances = document.get("instances") if isinstance(document, dict) else None
        if not isinstance(instances, list):
            raise HttpError(400, 'the body needs the form {"instances": [{"image": "<base64>"}, ...]}')
        if len(instances) > self.max_images:
            raise HttpError(413, f"more than {self.max_images} images in one request")
        images = []
        for number, instance in enumerate(instances, 1):
            try:
                data = image_of(instance)
            except ImagePayloadError as error:
                raise HttpError(400, f"image {number} {error}") from None
            images.append(self._pixels(data, f"image {number}"))
        return images

    def _pixels(self, data: bytes, what: str) -> Pixels:
        try:
            with _DECODING:
                return self.model.pixels(data, max_pixels=self.max_pixels)
        except TooLarge as error:
            raise HttpError(413, f"{what} {error}") from None
        except ImageError as error:
            raise HttpError(400, f"{what} {error}") from None

    def _predict(self, images: list[Pixels]) -> list[dict[str, Any]]:
        return _PREDICTING.submit(self.model.predict, images).result() if images else []


def load_image_handler(folder: Path, settings: Settings) -> ImageHandler:
    """The handler of the model in `folder`; raises ModelError."""
    model = _PREDICTING.submit(load_image_model, folder).result()
    return ImageHandler(model, settings.max_images, settings.max_pixels)


def _check_accept(accept: str) -> None:
    wanted = [media_type(item) for item in accept.split(",") if item.strip()]
    if wanted and not any(name in ACCEPTED for name in wanted):
        raise HttpError(406, f"cannot answer with {', '.join(wanted)[:100]}, only {JSON}")
