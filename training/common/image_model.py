"""A trained classifier of images as serving and evaluation use it: an image's bytes in, probabilities out."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import nn

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
CHUNK = 32  # images that are numbers at the same time
CHUNK_PIXELS = CHUNK * 224 * 224  # 0.6 MB each at that size; of larger ones fewer
MAX_GOLDEN = 32  # a file of some kilobytes may be megabytes of pixels
# As the file's header names them; of no others are networks made.
DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


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
        chunk = min(CHUNK, max(1, CHUNK_PIXELS // self.input.size**2))
        with torch.inference_mode():
            for start in range(0, len(images), chunk):
                logits = self.network(normalized(images[start : start + chunk], self.input))
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
    return network_input(torch.from_numpy(np.stack(images)), image)


def network_input(pixels: Any, image: ImageInput) -> Any:
    """The same of a tensor of bytes (images, size, size, 3), on its device: of a quarter of the size there.

    What it gives lies in memory as the bytes do, which is PyTorch's channels_last.
    """
    tensor = pixels.permute(0, 3, 1, 2).float().div_(255)
    return tensor.sub_(_per_channel(image.mean, tensor.device)).div_(_per_channel(image.std, tensor.device))


@functools.lru_cache(maxsize=16)  # a GPU would be waited for each time
def _per_channel(values: tuple[float, ...], device: Any) -> Any:
    with torch.inference_mode(False):  # whoever asks first, training may use it
        return torch.tensor(values, device=device).view(1, 3, 1, 1)


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
    network = _network(plain_file(folder, manifest.model), manifest.image, len(manifest.classes))
    network.eval()
    model = ImageModel(manifest=manifest, input=manifest.image, network=network)
    if difference := _replay(model):
        raise ModelError(difference)
    return model


def _network(path: Path, image: ImageInput, classes: int) -> nn.Module:
    """The network with the weights in `path`; nothing of its size exists before the file is known to fit."""
    try:
        # Copied into memory that is ours, so that the network stays whole whatever becomes of the file.
        with safe_open(path, "pt", backend="pread") as file:
            with torch.device("meta"):  # shapes without numbers
                network = create(image.backbone, classes, image.norm)
            wanted = network.state_dict()
            if difference := _difference(wanted, file):
                raise ModelError(f"{path.name} is not the weights of {image.backbone}: {difference}")
            # What a network computes for itself, such as tables of positions.
            beside = [value for name, value in network.named_buffers() if name not in wanted]
            if (needed := _bytes(beside)) > _bytes(wanted.values()):
                raise ModelError(f"{image.backbone} needs {needed:,} bytes beside weights that are smaller")
            if beside:
                network = create(image.backbone, classes, image.norm)
            network.load_state_dict({name: file.get_tensor(name) for name in wanted}, assign=True)
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path.name} is not the weights of {image.backbone}: {reason}") from None
    return network


def _difference(wanted: Mapping[str, torch.Tensor], file: Any) -> str | None:
    """What the file's header has otherwise than the network, or None."""
    names = set(file.keys())
    if odd := sorted(wanted.keys() ^ names):
        name = odd[0]
        return f"{name[:80]!r} is {'not in it' if name in wanted else 'no tensor of the network'}"
    for name, tensor in wanted.items():
        part = file.get_slice(name)
        shape, dtype = list(part.get_shape()), part.get_dtype()
        if shape != list(tensor.shape) or DTYPES.get(dtype) != tensor.dtype:
            return f"{name!r} is {dtype} {shape}, not {tensor.dtype} {list(tensor.shape)}"[:300]
    return None


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _replay(model: ImageModel) -> str | None:
    golden = model.manifest.golden
    if len(golden.instances) > MAX_GOLDEN:
        return f"has more than {MAX_GOLDEN} golden images"
    predictions = []
    try:
        for instance in golden.instances:  # one by one: the memory of one image, however many there are
            predictions += model.predict([model.pixels(image_of(instance))])
    except (ImageError, ImagePayloadError) as error:
        return f"a golden image {error}"
    except (RuntimeError, AssertionError) as error:
        return f"{model.input.backbone} does not take images of {model.input.size} pixels: {str(error)[:200]}"
    return disagreement(golden, predictions)
