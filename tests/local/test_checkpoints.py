"""Checkpoints over hosts that are processes, killed and started again, and in the local cloud's S3."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from localcloud.context import Cloud, Credentials
from tests.local.gang_support import PATIENCE, REPO
from tests.local.support import Actor, allow, unique
from tests.local.test_distributed_vision import DRIVER as DISTRIBUTED
from tests.local.test_distributed_vision import Job
from tests.unit.vision.checkpoint_support import entry_of, pointer_in
from tests.unit.vision.vision_support import SIZE, Container, draw_folders
from training.vision.checkpoints.folder import FolderStore
from training.vision.checkpoints.journal import Journal, SupersededError
from training.vision.checkpoints.pointer import POINTER, Keep
from training.vision.checkpoints.s3 import S3Store
from training.vision.checkpoints.store import ConflictError, StoreError

pytestmark = pytest.mark.torch
SETTINGS = {"epochs": 2, "augment": "crop_flip", "learning_rate": 0.003, "checkpoint_steps": 2}
STEPS = 12
# A host with a file `fault` sends itself that signal while it computes that step, counted from where it
# starts; a kill comes after a checkpoint was named. So it strikes at the same place at any speed.
DRIVER = (
    """
import os, sys, time
from pathlib import Path
from training.vision import train
root = Path(os.environ["SAGEMAKER_BASE_DIR"])
signal, step = map(int, (root / "fault").read_text().split()) if (root / "fault").exists() else (0, 0)
calls, loss_of = [], train.loss_of
def faulty(*arguments):
    calls.append(1)
    if len(calls) == step:
        while signal == 9 and "step-" not in (root / "checkpoints" / "latest.json").read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), signal)
    return loss_of(*arguments)
train.loss_of = faulty
"""
    + DISTRIBUTED
)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Container:
    """Drawn images, preprocessed."""
    container = Container(tmp_path_factory.mktemp("data"))
    draw_folders(container.data, 44)
    environment = os.environ | {"SAGEMAKER_BASE_DIR": str(container.root)}
    command = [sys.executable, "-m", "training.vision.preprocess", "--image-size", str(SIZE)]
    subprocess.run(command, cwd=REPO, env=environment, check=True, timeout=PATIENCE)
    return container


@pytest.fixture
def jobs() -> Iterator[list[Job]]:
    started: list[Job] = []
    yield started
    for job in started:
        job.end()


def with_checkpoints(root: Path, images: Container, net: int, **changes: Any) -> Job:
    """Two hosts; the first has the folder, the other needs none."""
    job = Job(root, images, 2, net, DRIVER, **(SETTINGS | changes))
    (job.hosts[0].root / "checkpoints").mkdir()
    return job


def model(job: Job) -> dict[str, Any]:
    found: dict[str, Any] = load_file(job.hosts[0].root / "model" / "model.safetensors")
    return found


def assert_equal(one: Job, other: Job) -> None:
    for name, value in model(one).items():
        assert torch.equal(value, model(other)[name]), name
    assert one.manifest()["training"] == other.manifest()["training"]


def codes(job: Job, *faults: tuple[int, int, int]) -> list[int]:
    """Run both hosts to their end; `faults`: (host, signal, step) each. Their exit codes."""
    job.processes.clear()
    for host in job.hosts:
        (host.root / "fault").unlink(missing_ok=True)
    for number, sent, step in faults:
        (job.hosts[number].root / "fault").write_text(f"{sent} {step}")
    job.start(0, 1)
    return job.codes()


@pytest.mark.timeout(1000)
def test_killed_and_stopped_hosts_go_on_to_the_same_model(
    images: Container, tmp_path: Path, jobs: list[Job]
) -> None:
    """kill -9 of the host that writes, then SIGTERM of the other one, against no fault at all."""
    undisturbed = with_checkpoints(tmp_path / "undisturbed", images, 21)
    job = with_checkpoints(tmp_path / "killed", images, 22)
    jobs += [undisturbed, job]
    assert codes(undisturbed) == [0, 0], undisturbed.logs()

    assert codes(job, (0, signal.SIGKILL, 5)) == [-signal.SIGKILL, 1], job.logs()
    store = FolderStore(job.hosts[0].root / "checkpoints")
    killed_after = pointer_in(store).kept[-1]
    assert killed_after.step in {2, 3, 4}  # it is written beside the training

    assert codes(job, (1, signal.SIGTERM, 3)) == [128 + signal.SIGTERM] * 2, job.logs()
    stopped_after = pointer_in(store).kept[-1]
    assert stopped_after.step == killed_after.step + 3
    for number in (0, 1):
        assert f"goes on from checkpoint {killed_after.name}" in job.log(number)
        assert f"stopped by SIGTERM after step {stopped_after.step}" in job.log(number)

    assert codes(job) == [0, 0], job.logs()
    assert pointer_in(store).kept[-1].step == STEPS
    assert_equal(job, undisturbed)


@pytest.fixture
def bucket(cloud: Cloud, admin: Credentials) -> str:
    name = unique("checkpoints")
    cloud.client("s3", admin).create_bucket(Bucket=name)
    return name


def test_the_clouds_s3_replaces_only_what_it_was_told(
    cloud: Cloud, admin: Credentials, actor: Actor, bucket: str
) -> None:
    """By a user who may do no more than what checkpoints need, to one prefix."""
    user = actor(
        [
            allow(["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], f"arn:aws:s3:::{bucket}/job/*"),
            allow("s3:ListBucket", f"arn:aws:s3:::{bucket}"),
        ]
    )
    client = cloud.client("s3", user)
    store = S3Store(client, bucket, "job")
    with pytest.raises(ConflictError):
        store.replace(POINTER, b"1", '"0123456789abcdef0123456789abcdef"')
    old = Journal(store, "old", Keep(last=1))
    old.claim()
    for step in (1, 2):
        old.add(*entry_of("old", step))
    new = Journal(store, "new", Keep(last=1))
    new.claim()
    with pytest.raises(SupersededError):
        old.add(*entry_of("old", 3))
    new.add(*entry_of("new", 3))
    named, unnamed = entry_of("new", 3)[0], entry_of("old", 3)[0]
    assert pointer_in(store).kept == (named,)
    assert set(store.names()) == {POINTER, named.name, unnamed.name}
    Journal(store, "third", Keep()).claim()
    assert set(store.names()) == {POINTER, named.name}
    with pytest.raises(StoreError, match="AccessDenied"):
        S3Store(client, bucket, "another").replace(POINTER, b"{}", None)


def test_of_many_writers_at_once_one_wins(cloud: Cloud, admin: Credentials, bucket: str) -> None:
    client = cloud.client("s3", admin)
    store = S3Store(client, bucket, "race")
    tag = store.replace(POINTER, b"start", None)
    won: list[int] = []

    def write(number: int) -> None:
        try:
            S3Store(client, bucket, "race").replace(POINTER, str(number).encode(), tag)
        except ConflictError:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    found = store.read(POINTER)
    assert found is not None
    assert found.data == str(won[0]).encode()


@pytest.mark.timeout(900)
def test_a_job_goes_on_from_s3(
    cloud: Cloud, admin: Credentials, images: Container, tmp_path: Path, bucket: str
) -> None:
    """Stopped by SIGTERM on one machine, gone on with on another, which has nothing but the address."""
    address = f"s3://{bucket}/runs/a"
    environment = os.environ | cloud.environment(admin) | {"CHECKPOINTS": address, "PYTHONUNBUFFERED": "1"}
    store = S3Store(cloud.client("s3", admin), bucket, "runs/a")
    codes, log = [], ""
    # The first one stops itself in its fifth step: whoever waits for its log may come when it has ended.
    for name, fault in (("first", f"{signal.SIGTERM:d} 5"), ("second", "0 0")):
        container = Container(tmp_path / name)
        for channel in ("train", "validation", "classes"):
            container.channel(channel, images.output(channel))
        container.hyperparameters(**(SETTINGS | {"checkpoint_keep": 1}))
        (container.root / "fault").write_text(fault)
        ended = subprocess.run(
            [sys.executable, "-c", DRIVER, "100", "20"],
            cwd=REPO,
            env=environment | {"SAGEMAKER_BASE_DIR": str(container.root)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        codes.append(ended.returncode)
        log = f"{log}{ended.stdout}{ended.stderr}"
    assert codes == [128 + signal.SIGTERM, 0], log
    assert "stopped by SIGTERM after step 5, checkpoint step-" in log
    assert "goes on from checkpoint step-" in log
    assert json.loads((tmp_path / "second" / "model" / "manifest.json").read_text())["training"]["epoch"] >= 1
    pointer = pointer_in(store)
    assert set(store.names()) == {POINTER, *(entry.name for entry in pointer.kept)}
