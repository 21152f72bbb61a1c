"""One model over several hosts: processes with a folder each, as SageMaker lays it out."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.local.gang_support import PATIENCE, REPO, Hosts
from tests.unit.vision.vision_support import SIZE, Container, draw_folders
from training.common.image_model import load_image_model

pytestmark = pytest.mark.torch
DRIVER = """
import sys
from training.common.failure import run
from training.common.gang import Limits
from training.vision import distributed, train
distributed.LIMITS = Limits(join=float(sys.argv[1]), silence=float(sys.argv[2]), beat=0.2)
raise SystemExit(run(train.main, []))
"""
SLOW = {"epochs": 500}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Container:
    """Drawn images, preprocessed."""
    container = Container(tmp_path_factory.mktemp("data"))
    draw_folders(container.data, 44)
    environment = os.environ | {"SAGEMAKER_BASE_DIR": str(container.root)}
    command = [sys.executable, "-m", "training.vision.preprocess", "--image-size", str(SIZE)]
    subprocess.run(command, cwd=REPO, env=environment, check=True, timeout=PATIENCE)
    return container


class Job(Hosts):
    """The hosts of a job on the images; `driver`: what each runs, DRIVER as a rule."""

    def __init__(
        self, root: Path, data: Container, count: int, net: int, driver: str = DRIVER, **changes: Any
    ) -> None:
        super().__init__(root, driver, f"127.9.{net}", count)
        self.hosts = [Container(path) for path in self.roots]
        for host, name in zip(self.hosts, self.names, strict=True):
            for channel in ("train", "validation", "classes"):
                host.channel(channel, data.output(channel))
            host.hyperparameters(**changes)
            resources = {"current_host": name, "hosts": self.names, "network_interface_name": "lo"}
            host.config("resourceconfig.json", resources)

    def start(self, *numbers: int, join: float = 100.0, silence: float = 20.0) -> None:
        self.start_each(numbers, join, silence)

    def manifest(self) -> Any:
        return json.loads((self.hosts[0].root / "model" / "manifest.json").read_text())

    def epochs(self, number: int) -> list[list[float]]:
        """Of each epoch: train-loss, validation-loss, top-1 and top-5."""
        lines = [line for line in self.log(number).splitlines() if "train-loss:" in line]
        return [[float(text) for text in re.findall(r"(?:loss|top\d):([\d.]+)", line)] for line in lines]


@pytest.fixture
def jobs() -> Iterator[list[Job]]:
    started: list[Job] = []
    yield started
    for job in started:
        job.end()


@pytest.mark.timeout(900)
def test_any_number_of_hosts_trains_the_same_model(data: Container, tmp_path: Path, jobs: list[Job]) -> None:
    """Nothing but the order in which numbers are added differs; 16 is not a multiple of 3."""
    # AdamW moves a weight by the learning rate even where its gradient is nothing but rounding, which another
    # processor rounds otherwise: at ten times this rate the bound does not hold everywhere.
    changes = {"epochs": 3, "augment": "crop_flip", "learning_rate": 0.0003}
    for count in (1, 3):
        job = Job(tmp_path / str(count), data, count, count, **changes)
        jobs.append(job)
        job.start(*reversed(range(count)))
        assert job.codes() == [0] * count, job.logs()
    single, *others = jobs
    one = load_file(single.hosts[0].root / "model" / "model.safetensors")
    for job in others:
        assert job.manifest()["training"]["hosts"] == len(job.hosts)
        assert not (job.hosts[1].root / "model").exists()
        for number in range(len(job.hosts)):
            for found, expected in zip(job.epochs(number), single.epochs(0), strict=True):
                assert found == pytest.approx(expected, abs=1e-4)
        many = load_file(job.hosts[0].root / "model" / "model.safetensors")
        for name, value in one.items():
            assert torch.allclose(many[name], value, atol=1e-4), name
        load_image_model(job.hosts[0].root / "model")


@pytest.mark.timeout(900)
def test_given_statistics_are_the_same_on_any_number_of_hosts(
    data: Container, tmp_path: Path, jobs: list[Job]
) -> None:
    """With BatchNorm, which would compute other statistics on each host, were they not frozen."""
    changes = {"epochs": 1, "backbone": "tf_efficientnet_lite0", "pretrained": "packaged", "batch_size": 32}
    states = []
    for count in (1, 2):
        job = Job(tmp_path / str(count), data, count, 8 + count, **changes)
        jobs.append(job)
        job.start(*range(count))
        assert job.codes() == [0] * count, job.logs()
        states.append(load_file(job.hosts[0].root / "model" / "model.safetensors"))
    assert any("running_mean" in name for name in states[0])
    for name, value in states[0].items():
        assert torch.allclose(states[1][name], value, atol=1e-3), name


@pytest.mark.timeout(600)
def test_a_killed_host_ends_the_others_with_the_reason(
    data: Container, tmp_path: Path, jobs: list[Job]
) -> None:
    job = Job(tmp_path, data, 3, 4, **SLOW)
    jobs.append(job)
    job.start(0, 1, 2)
    job.wait_for("epoch 2 of")
    job.processes[2].kill()
    assert job.codes() == [1, 1, -signal.SIGKILL], job.logs()
    for number in (0, 1):
        assert job.reason(number) == (
            "the job lost a host: 127.9.4.3 ended before the others were done; see the log of that host"
        )
    assert not (job.hosts[0].root / "model").exists()


@pytest.mark.timeout(600)
def test_a_killed_first_host_ends_the_others(data: Container, tmp_path: Path, jobs: list[Job]) -> None:
    job = Job(tmp_path, data, 2, 5, **SLOW)
    jobs.append(job)
    job.start(0, 1)
    job.wait_for("epoch 2 of")
    job.processes[0].kill()
    assert job.codes() == [-signal.SIGKILL, 1]
    assert "127.9.5.1 ended before the others were done" in job.reason(1)


@pytest.mark.timeout(600)
def test_a_silent_host_is_lost(data: Container, tmp_path: Path, jobs: list[Job]) -> None:
    job = Job(tmp_path, data, 2, 6, **SLOW)
    jobs.append(job)
    job.start(0, 1, silence=6.0)
    job.wait_for("epoch 2 of")
    job.processes[1].send_signal(signal.SIGSTOP)
    assert job.processes[0].wait(PATIENCE) == 1
    assert "127.9.6.2 gave no sign of life for 6 s" in job.reason(0)


@pytest.mark.timeout(600)
def test_a_host_that_never_comes_is_named(data: Container, tmp_path: Path, jobs: list[Job]) -> None:
    job = Job(tmp_path, data, 2, 7)
    jobs.append(job)
    job.start(0, join=3.0)
    assert job.codes() == [1]
    assert job.reason(0) == "127.9.7.2 did not join within 3 s"


@pytest.mark.timeout(600)
def test_a_mistake_on_one_host_ends_all(data: Container, tmp_path: Path, jobs: list[Job]) -> None:
    job = Job(tmp_path, data, 2, 11)
    jobs.append(job)
    job.hosts[1].hyperparameters(backbone="resnet9000")
    job.start(0, 1)
    assert job.codes() == [1, 1], job.logs()
    assert "backbone 'resnet9000' is not known to timm" in job.reason(1)
    assert "127.9.11.2 ended before the others were done" in job.reason(0)
