"""Small drawn images in class folders, a container's folders, and a small trained model."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.unit.vision.vision_support import SIZE, Container, draw_folders, pack
from training.common.failure import UserError
from training.serving.server import make_app
from training.serving.settings import Settings
from training.vision import evaluate, preprocess, train


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Container:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "ml"))
    return Container(tmp_path / "ml")


@pytest.fixture
def other_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Container]:
    """Switches SAGEMAKER_BASE_DIR to another container of the same test."""

    def switch(name: str) -> Container:
        monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / name))
        return Container(tmp_path / name)

    return switch


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with 40 images of each class."""
    folder = tmp_path_factory.mktemp("raw") / "images"
    draw_folders(folder, 40)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, raw: Path) -> Container:
    """A container in which preprocessing, training and evaluation have run."""
    container = Container(tmp_path_factory.mktemp("trained"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGEMAKER_BASE_DIR", str(container.root))
        container.link_input("data", raw)
        preprocess.main(["--image-size", str(SIZE)])
        for name in ("train", "validation", "classes"):
            container.channel(name, container.output(name))
        container.hyperparameters()
        train.main([])
        archive = container.root / "archive"
        pack(container.root / "model", archive / "model.tar.gz")
        container.link_input("model", archive)
        container.link_input("test", container.output("test"))
        evaluate.main([])
    return container


@pytest.fixture
def model_folder(trained: Container, tmp_path: Path) -> Path:
    """A copy of the trained model's folder, to be damaged."""
    return Path(shutil.copytree(trained.root / "model", tmp_path / "copy"))


@pytest.fixture
def refused() -> Callable[..., str]:
    """The one line with which a step refuses."""

    def call(step: Callable[[list[str]], None], *arguments: str) -> str:
        with pytest.raises(UserError) as caught:
            step(list(arguments))
        text = str(caught.value)
        assert "\n" not in text
        return text

    return call


@dataclass(frozen=True)
class Answer:
    status: int
    content_type: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Call = Callable[..., Answer]


@pytest.fixture
def asgi() -> Callable[[Any], Call]:
    """An application -> requests to it."""
    return requests_to


@pytest.fixture
def call(trained: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Requests to a server of the trained model."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "hosting"))
    (tmp_path / "hosting").mkdir()
    (tmp_path / "hosting" / "model").symlink_to(trained.root / "model")
    return requests_to(make_app(Settings(max_images=8, max_pixels=1_000_000)))


def requests_to(app: Any) -> Call:
    def request(
        method: str, path: str, body: bytes = b"", content_type: str = "", accept: str = ""
    ) -> Answer:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"content-type", content_type.encode()), (b"accept", accept.encode())]
        scope = {"type": "http", "method": method, "path": path, "headers": headers, "query_string": b""}
        asyncio.run(app(scope, receive, send))
        kinds = dict(sent[0]["headers"])
        return Answer(sent[0]["status"], kinds[b"content-type"].decode(), sent[1]["body"])

    return request
