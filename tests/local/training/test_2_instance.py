"""The same job on one host without a cluster: to its end, and with the host taken away on the way."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tests.local.support import fault, noticed, until
from tests.local.training.people import acting_as
from tests.local.training.stage import Stage
from tests.local.training.test_2_logs import logs
from tests.local.training.uploads import write_manifest

SETTINGS = {"backbone": "test_resnet", "image_size": 32, "batch_size": 32, "checkpoint_steps": 10}
LOG = "InstanceLogs"


def start(stage: Stage, job: str, attempt: int, **settings: Any) -> str:
    """An execution of the driver."""
    folder = f"s3://{stage.bucket}/training-jobs/{job}"
    given = {
        "job": job,
        "attempt": attempt,
        "dataset": write_manifest(stage),
        "checkpoints": f"{folder}/checkpoints/",
        "output": f"{folder}/output/",
        "hyperparameters": {**SETTINGS, **settings},
    }
    answer = stage.client("stepfunctions").start_execution(
        stateMachineArn=stage.outputs["InstanceDriverArn"], input=json.dumps(given)
    )
    return str(answer["executionArn"])


def ended(stage: Stage, execution: str) -> Mapping[str, Any]:
    """The execution once it is over."""
    client = stage.client("stepfunctions")

    def look() -> Mapping[str, Any] | None:
        found: Mapping[str, Any] = client.describe_execution(executionArn=execution)
        return None if found["status"] == "RUNNING" else found

    found: Mapping[str, Any] = until(look, lambda: (hosts(stage), stage.logs(LOG)))
    return found


def hosts(stage: Stage) -> dict[str, str]:
    """States by instance, of those with the construct's own tag."""
    pages = stage.client("ec2").get_paginator("describe_instances")
    filters = [{"Name": "tag-key", "Values": ["modelyard:training-instance"]}]
    return {
        one["InstanceId"]: one["State"]["Name"]
        for page in pages.paginate(Filters=filters)
        for reservation in page["Reservations"]
        for one in reservation["Instances"]
    }


def nothing_runs(stage: Stage) -> None:
    until(lambda: set(hosts(stage).values()) <= {"terminated"}, lambda: hosts(stage))


def test_a_job_trains_on_one_host_which_then_is_gone(stage: Stage) -> None:
    since, job = time.time(), "single-1"
    done = ended(stage, start(stage, job, 1, epochs=2))
    assert done["status"] == "SUCCEEDED", (done, stage.logs(LOG))
    assert any(key.endswith("model.tar.gz") for key in stage.keys(f"training-jobs/{job}/output/"))
    nothing_runs(stage)
    decisions = stage.decisions(since)
    assert [one for one in decisions if not one.allowed] == []
    used = {role: {one.action for one in decisions if one.role == stage.role(role)} for role in ROLES}
    assert used == {role: used[role] | needed for role, needed in ROLES.items()}


ROLES = {
    "InstanceDriverRole": {
        "ec2:RunInstances", "ec2:CreateTags", "ec2:DescribeInstances", "ec2:TerminateInstances",
        "iam:PassRole", "ssm:SendCommand", "ssm:GetCommandInvocation", "ssm:GetParameters",
    },
    "InstanceHostRole": {
        "ssm:UpdateInstanceInformation", "ecr:BatchGetImage", "logs:PutLogEvents", "s3:GetObject",
        "s3:PutObject",
    },
}  # fmt: skip


def test_a_job_goes_on_from_its_checkpoint_when_spot_took_its_host(stage: Stage) -> None:
    job, settings = "single-2", {"epochs": 50}
    checkpoints = f"training-jobs/{job}/checkpoints/"
    first = start(stage, job, 1, **settings)
    until(lambda: len(stage.keys(checkpoints)) > 1, lambda: (hosts(stage), stage.logs(LOG)))
    (host,) = (name for name, state in hosts(stage).items() if state == "running")
    # Each epoch takes longer than the notice needs to be seen: the job does not end before. It is read within
    # the seconds that a container has to stop.
    held = {"service": "s3", "operation": "GET", "path": "/shards/", "when": "before", "hold_s": 8}
    with noticed(stage.cloud.folder, {host: 120}):
        with fault(stage.cloud, **held):
            until(lambda: "stopped by SIGTERM" in stage.logs(LOG, 10_000), lambda: stage.logs(LOG))
        done = ended(stage, first)
    assert (done["status"], done.get("error")) == ("FAILED", "HostEnded"), (done, stage.logs(LOG))
    nothing_runs(stage)
    assert stage.keys(f"training-jobs/{job}/output/") == []

    again = ended(stage, start(stage, job, 2, **settings))
    assert again["status"] == "SUCCEEDED", (again, stage.logs(LOG))
    assert stage.keys(f"training-jobs/{job}/output/")
    # The last step of the one was where the other began.
    log = stage.logs(LOG, 10_000)
    (left,) = re.findall(r"stopped by SIGTERM after step \d+, checkpoint (\S+);", log)
    assert f"goes on from checkpoint {left}:" in log
    nothing_runs(stage)


def execution_of(stage: Stage, name: str) -> str:
    """Of the driver, by its name."""
    return f"{stage.outputs['InstanceDriverArn'].replace(':stateMachine:', ':execution:')}:{name}"


def settings(**values: Any) -> list[str]:
    return [part for name, value in {**SETTINGS, **values}.items() for part in ("-s", f"{name}={value}")]


@pytest.fixture
def scientist(stage: Stage) -> Iterator[dict[str, str]]:
    with acting_as(stage, "DataScientist") as environment:
        yield environment


def test_a_job_on_a_single_host_is_asked_for_and_told_of_as_any(
    stage: Stage, train: Callable[..., Any], scientist: dict[str, str]
) -> None:
    since, data = time.time(), write_manifest(stage)
    job = train("submit", "single-3", "--data", data, "--instance", *settings(epochs=2))
    assert (job["state"], job["attempt"], job["step"]) == ("completed", 1, 8), stage.logs(LOG)
    assert job["cost"] > 0
    assert job["checkpoint"]["key"] in stage.keys("training-jobs/single-3/checkpoints/")
    assert ended(stage, execution_of(stage, "single-3_1"))["status"] == "SUCCEEDED"
    nothing_runs(stage)
    told = logs(scientist, "single-3")
    assert " 1/0 epoch 2 of 2: train-loss:" in told.stdout, (told, stage.logs(LOG))
    # Its telemetry is found as that of the cluster's jobs, which alarms watch.
    cluster = {"Name": "Cluster", "Value": stage.outputs["ClusterName"]}
    until(
        lambda: stage.client("cloudwatch").list_metrics(
            Namespace="Modelyard/Training",
            MetricName="StepTime",
            Dimensions=[cluster, {"Name": "Job", "Value": "single-3"}],
        )["Metrics"],
        lambda: stage.logs(LOG),
    )

    train("submit", "single-4", "--data", data, "--instance", *settings(epochs=1000), "--detach")
    until(lambda: stage.job("single-4").get("checkpoint"), lambda: (stage.job("single-4"), stage.logs(LOG)))
    train("cancel", "single-4")
    stage.reached("single-4", "cancelled")
    nothing_runs(stage)
    told = {one["job"]: one["state"] for one in train("list")}
    assert (told["single-3"], told["single-4"]) == ("completed", "cancelled")
    # It was on none of the cluster's hosts, and nobody was refused anything.
    assert stage.tasks(startedBy="single-4/1") == []
    assert [one for one in stage.decisions(since) if not one.allowed] == []
