"""What is waited for when a job ends."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from localcloud.containers.engine import Container
from localcloud.context import Cloud
from localcloud.folder import StateFolder
from localcloud.sagemaker.jobs import runner as runner_module
from localcloud.sagemaker.jobs.job import Job
from localcloud.sagemaker.jobs.runner import KINDS, JobRunner, Watch
from localcloud.sagemaker.store import Store

KIND, NAME = "training-job", "j"


@pytest.mark.parametrize("fails", [False, True])
def test_the_next_job_does_not_wait_for_the_folders_of_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """A tuning job starts one training job after the other; 2,000 files took 0.2 s to delete."""
    cloud = Cloud(
        account="0" * 12,
        region="us-east-1",
        endpoint_url="https://localhost:1",
        ca_bundle=tmp_path / "ca.pem",
        folder=StateFolder(tmp_path),
        run_id="",
    )
    store = Store(tmp_path / "store.db")
    store.create(
        KIND, NAME, {"_Name": NAME, "TrainingJobStatus": "InProgress", "SecondaryStatusTransitions": []}
    )
    made: list[Container] = []
    there: list[bool] = []
    ended = threading.Event()

    def run(job: Job) -> None:
        made.append(job.engine.create(NAME))
        job.leave(made)
        if fails:
            raise RuntimeError("as any job may")

    def on_end() -> None:
        there.append(made[0].base.is_dir())
        ended.set()

    monkeypatch.setitem(runner_module.KINDS, KIND, replace(KINDS[KIND], run=run))
    jobs = JobRunner(cloud, store)
    try:
        jobs.start(KIND, NAME, Watch(ended=on_end))
        assert ended.wait(60)
    finally:
        jobs.close()
        store.close()
    assert there == [True]
    # Whoever closes waits for them.
    assert not made[0].base.parent.exists()
