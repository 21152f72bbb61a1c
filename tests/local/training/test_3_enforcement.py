"""Without a grant that it needs, each role is refused just that, and whoever waits learns of it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import boto3
import pytest

from tests.local.loop.grants import Decision, without
from tests.local.support import until
from tests.local.training.stage import Stage
from tests.local.training.uploads import IMAGES, upload, write_manifest


def refusals(stage: Stage, since: float, role: str) -> list[Decision]:
    return [one for one in stage.decisions(since) if one.role == role and not one.allowed]


def submit(stage: Stage, job: str, hosts: int = 1) -> None:
    message = {"job": job, "data": write_manifest(stage), "hosts": hosts}
    stage.client("sqs").send_message(QueueUrl=stage.outputs["JobsQueueUrl"], MessageBody=json.dumps(message))


def cancel(stage: Stage, job: str) -> None:
    stage.client("sqs").send_message(
        QueueUrl=stage.outputs["JobsQueueUrl"], MessageBody=json.dumps({"cancel": job})
    )
    # It may have failed for good before it heard of that.
    stage.reached(job, "cancelled", "failed", through=("backing-off",))


@pytest.mark.parametrize(
    ("role", "action", "says"),
    [
        ("ClusterTrainerTaskRole", "s3:GetObject", "s3:GetObject"),
        ("ClusterTrainerExecutionRole", "ecr:BatchGetImage", "ecr:BatchGetImage"),
        ("JobsAttemptsRole", "ecs:RunTask", "not authorized to perform: ecs:RunTask"),
    ],
)
def test_a_job_cannot_go_on(stage: Stage, role: str, action: str, says: str) -> None:
    name, since, job = stage.role(role), time.time(), f"denied-{role.lower()}"
    with without(boto3.Session(), name, action):
        submit(stage, job)
        reason = stage.reached(job, "backing-off", "failed")["reason"]
        assert {one.action for one in refusals(stage, since, name)} == {action}
    if says not in reason:
        stage.says("ClusterTrainerLogs", says)
    cancel(stage, job)


def test_a_worker_loses_nothing(stage: Stage, tmp_path: Path) -> None:
    """What it may not claim comes back to the queue, and is done once it may."""
    name, since = stage.role("DatasetdigitsTaskTaskRole"), time.time()
    with without(boto3.Session(), name, "dynamodb:PartiQLInsert"):
        upload(stage, tmp_path, 1, first=IMAGES)
        until(lambda: refusals(stage, since, name), lambda: stage.logs("DatasetdigitsTaskLogs"))
        # IAM's decision comes first, then the worker hears of it.
        stage.says("DatasetdigitsTaskLogs", "dynamodb:PartiQLInsert")
    assert {one.action for one in refusals(stage, since, name)} == {"dynamodb:PartiQLInsert"}
