"""Elastic jobs: hosts are lost, stopped, replaced and added; the model is that of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.local.elastic_support import Job
from tests.local.gang_support import REPO
from tests.unit.vision.vision_support import SIZE, Container, draw_folders

pytestmark = [pytest.mark.torch, pytest.mark.timeout(300)]
EVERY = 5
SETTINGS = {
    "epochs": 4,
    "batch_size": 8,
    "augment": "crop_flip",
    "learning_rate": 0.003,
    "checkpoint_steps": EVERY,
}
STEPS = 48


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Container:
    """Drawn images, preprocessed."""
    container = Container(tmp_path_factory.mktemp("data"))
    draw_folders(container.data, 44)
    _run(container, "preprocess", "--image-size", str(SIZE))
    return container


@pytest.fixture(scope="module")
def undisturbed(images: Container, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The weights of one process that nothing happens to."""
    container = Container(tmp_path_factory.mktemp("undisturbed"))
    for channel in ("train", "validation", "classes"):
        container.channel(channel, images.output(channel))
    container.hyperparameters(**SETTINGS)
    _run(container, "train")
    found: dict[str, Any] = load_file(container.root / "model" / "model.safetensors")
    return found


def _run(container: Container, step: str, *arguments: str) -> None:
    environment = os.environ | {"SAGEMAKER_BASE_DIR": str(container.root)}
    command = [sys.executable, "-m", f"training.vision.{step}", *arguments]
    subprocess.run(command, cwd=REPO, env=environment, check=True, timeout=120)


@pytest.fixture
def start(images: Container, tmp_path: Path) -> Iterator[Callable[[], Job]]:
    """Jobs, with a rendezvous each."""
    jobs: list[Job] = []

    def make() -> Job:
        jobs.append(Job(tmp_path / f"job-{len(jobs)}", images, **SETTINGS))
        return jobs[-1]

    yield make
    for job in jobs:
        job.end()


def assert_same(job: Job, undisturbed: dict[str, Any]) -> None:
    """Within 1e-6, relative, of the weights as one vector."""
    found = job.weights()
    assert found.keys() == undisturbed.keys()
    difference = sum(float((found[name] - value).double().square().sum()) for name, value in undisturbed.items())
    size = sum(float(value.double().square().sum()) for value in undisturbed.values())
    assert (difference / size) ** 0.5 <= 1e-6, (difference / size) ** 0.5


def test_hosts_are_lost_and_replaced(start: Callable[[], Job], undisturbed: dict[str, Any]) -> None:
    job = start()
    job.hold(EVERY + 1, "a")
    job.start("a", "b", hosts=(1, 2))
    job.wait_held(EVERY + 1, "a")
    job.wait_saved(EVERY)
    job.release(EVERY + 1, "a")
    job.finish("a", "b")
    assert_same(job, undisturbed)
