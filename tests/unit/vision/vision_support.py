"""What the tests of image classification share: drawn images, and a container's folders."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from training.vision import evaluate, preprocess, train

SIZE = 32
COLOURS = {"blue sky": (30, 60, 200), "grün": (40, 180, 60), "red": (210, 40, 30)}
HYPERPARAMETERS = {
    "backbone": "test_resnet",
    "image_size": SIZE,
    "epochs": 4,
    "batch_size": 16,
    "learning_rate": 0.01,
    "augment": "none",
}


def encoded(image: Any, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def drawn(colour: tuple[int, int, int], seed: int, size: tuple[int, int] = (40, 34)) -> Any:
    """An image of mostly one colour."""
    noise = np.random.default_rng(seed).normal(0, 25, (size[1], size[0], 3))
    return Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8))


def draw_folders(folder: Path, images: int) -> None:
    """`images` of each class in COLOURS, every third as JPEG."""
    for number, (name, colour) in enumerate(COLOURS.items()):
        (folder / name).mkdir(parents=True)
        for index in range(images):
            kind = "JPEG" if index % 3 == 0 else "PNG"
            data = encoded(drawn(colour, 1000 * number + index), kind)
            (folder / name / f"{index:03d}.{'jpg' if kind == 'JPEG' else 'png'}").write_bytes(data)


class Container:
    """A job's folders under SAGEMAKER_BASE_DIR."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def data(self) -> Path:
        path = self.root / "processing" / "input" / "data"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def put(self, name: str, data: bytes) -> Path:
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def output(self, name: str) -> Path:
        return self.root / "processing" / "output" / name

    def document(self, output: str, name: str) -> Any:
        return json.loads((self.output(output) / name).read_text())

    def link_input(self, name: str, source: Path) -> None:
        path = self.root / "processing" / "input" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(source)

    def channel(self, name: str, source: Path) -> None:
        path = self.root / "input" / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(source)

    def config(self, name: str, document: Any) -> None:
        path = self.root / "input" / "config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))

    def hyperparameters(self, **changes: Any) -> None:
        values = HYPERPARAMETERS | changes
        self.config("hyperparameters.json", {name: str(value) for name, value in values.items()})

    def hosts(self, count: int, rank: int) -> None:
        names = [f"algo-{number + 1}" for number in range(count)]
        path = self.root / "config" / "resourceconfig.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"current_host": names[rank], "hosts": names}))


def pack(folder: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for file in folder.iterdir():
            archive.add(file, file.name)


def train_small(root: Path, raw: Path, **changes: Any) -> Container:
    """A container in which preprocessing, training and evaluation have run, on the images in `raw`;
    `changes` of hyperparameters."""
    container = Container(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGEMAKER_BASE_DIR", str(container.root))
        container.link_input("data", raw)
        preprocess.main(["--image-size", str(SIZE)])
        for name in ("train", "validation", "classes"):
            container.channel(name, container.output(name))
        container.hyperparameters(**changes)
        train.main([])
        archive = container.root / "archive"
        pack(container.root / "model", archive / "model.tar.gz")
        container.link_input("model", archive)
        container.link_input("test", container.output("test"))
        evaluate.main([])
    return container
