"""A trained classifier of images as serving and evaluation use it: an image's bytes in, probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from training.common.backbones import create
from training.common.images import MAX_PIXELS, ImageError, Pixels, centre, decode
from training.common.manifest import (
    ImageInput,
    Manifest,
    ModelError,
    disagreement,
    plain_file,
    read_manifest,
)
from training.common.payloads import ImagePayloadError, image_of
from training.common.tabular_model import release

FRAMEWORK = "torch"
TOP = 5
CHUNK = 32  # images that are numbers, 0.6 MB each at 224 pixels, at the same time


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageModel:
    """A prediction is `{"label": class, "probabilities": {class: probability, ...}}`, with the five most
    probable classes, the most probable first."""

    manifest: Manifest
    input: ImageInput
    network: Any

    def pixels(self, data: bytes, *, max_pixels: int = MAX_PIXELS) -> Pixels:
        """An image's bytes -> what the network sees of it, (size, size, 3); raises ImageError."""
        return centre(decode(data, self.input.side, max_pixels=max_pixels), self.input.size)

    def probabilities(self, images: Sequence[Pixels]) -> NDArray[np.float64]:
        """(images, classes)"""
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), CHUNK):
                logits = self.network(normalized(images[start : start + CHUNK], self.input))
                parts.append(torch.softmax(logits.double(), dim=1).numpy())
        return np.concatenate(parts) if parts else np.empty((0, len(self.manifest.classes)))

    def predict(self, images: Sequence[Pixels]) -> list[dict[str, Any]]:
        return [self.named(row) for row in self.probabilities(images)]

    def named(self, row: NDArray[np.float64]) -> dict[str, Any]:
        """Probabilities (classes,) -> the prediction."""
        classes = self.manifest.classes
        best = [int(code) for code in np.argsort(-row, kind="stable")[:TOP]]
        return {
            "label": classes[best[0]],
            "probabilities": {classes[code]: float(row[code]) for code in best},
        }


def normalized(images: Sequence[Pixels], image: ImageInput) -> Any:
    """Images (size, size, 3) of bytes -> a tensor (images, 3, size, size) as the network was trained with."""
    tensor = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(255)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (image.mean, image.std))
    return tensor.sub_(mean).div_(std)


def load_image_model(folder: Path) -> ImageModel:
    """Load the unpacked archive in `folder` and replay its golden images; raises ModelError."""
    manifest = read_manifest(folder)
    if manifest.framework != FRAMEWORK or manifest.image is None:
        raise ModelError(f"framework {manifest.framework!r} is not {FRAMEWORK} with images")
    if release(manifest.framework_version) != release(torch.__version__):
        raise ModelError(
            f"was trained with torch {manifest.framework_version}, this image has {torch.__version__}: "
            "serve with the image that trained it"
        )
    if len(manifest.classes) < 2 or len(set(manifest.classes)) < len(manifest.classes):
        raise ModelError(f"needs two or more different classes, got {len(manifest.classes)}")
    network = create(manifest.image.backbone, len(manifest.classes), manifest.image.norm)
    try:
        network.load_state_dict(load_file(plain_file(folder, manifest.model)))
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{manifest.model} is not the weights of {manifest.image.backbone}: {reason}"
        ) from None
    network.eval()
    model = ImageModel(manifest=manifest, input=manifest.image, network=network)
    if difference := _replay(model):
        raise ModelError(difference)
    return model


def _replay(model: ImageModel) -> str | None:
    golden = model.manifest.golden
    try:
        images = [model.pixels(image_of(instance)) for instance in golden.instances]
    except (ImageError, ImagePayloadError) as error:
        return f"a golden image {error}"
    try:
        return disagreement(golden, model.predict(images))
    except (RuntimeError, AssertionError) as error:
        return f"{model.input.backbone} does not take images of {model.input.size} pixels: {str(error)[:200]}"
