"""Small drawn images in class folders, a container's folders, and a small trained model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.vision.asgi import Call, requests_to
from tests.unit.vision.vision_support import Container, draw_folders, train_small
from training.common.failure import UserError
from training.serving.server import make_app
from training.serving.settings import Settings


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
    return train_small(tmp_path_factory.mktemp("trained"), raw)


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
