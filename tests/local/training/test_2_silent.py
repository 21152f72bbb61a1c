"""Hosts whose agent ECS hears no more: the job goes on without them; they are taken away, by their tag."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.local.support import fault, until
from tests.local.training.hosts import lose
from tests.local.training.stage import Stage
from tests.local.training.uploads import write_manifest

JOB = "silent-1"
SETTINGS = {
    "backbone": "test_resnet",
    "image_size": 32,
    "epochs": 100_000,
    "batch_size": 32,
    "checkpoint_steps": 10,
}
DUTY = "JobsAttemptsRole"


def running(stage: Stage) -> list[dict[str, Any]]:
    return [task for task in stage.tasks(startedBy=f"{JOB}/1") if task["lastStatus"] == "RUNNING"]


def send(stage: Stage, **message: object) -> None:
    stage.client("sqs").send_message(QueueUrl=stage.outputs["JobsQueueUrl"], MessageBody=json.dumps(message))


def instances(stage: Stage, task: dict[str, Any]) -> dict[str, str]:
    """The EC2 instance of a task, by the status of its entry in ECS; none where that is forgotten."""
    found = stage.client("ecs").describe_container_instances(
        cluster=stage.outputs["ClusterName"], containerInstances=[task["containerInstanceArn"]]
    )["containerInstances"]
    return {one["status"]: one["ec2InstanceId"] for one in found}


def test_a_job_goes_on_without_a_host_that_nobody_hears(stage: Stage) -> None:
    since = time.time()
    send(stage, job=JOB, data=write_manifest(stage), hosts=2, min_hosts=1, settings=SETTINGS)
    stage.reached(JOB, "running")
    until(lambda: stage.job(JOB)["step"] > 0, lambda: stage.logs("ClusterTrainerLogs"))
    lost, kept = running(stage)
    instance = instances(stage, lost)["ACTIVE"]
    with fault(stage.cloud, service="ecs-agent", path=instance):
        until(lambda: stage.job(JOB)["worlds"][1:2], lambda: (stage.job(JOB), stage.logs("JobsAttemptsLogs")))
        job = stage.job(JOB)
        assert (job["worlds"][1]["hosts"], job["attempt"], job["tally"]["failures"]) == (1, 1, 0)
        # Its instance is gone, and ECS has forgotten it, with its task.
        until(lambda: "ACTIVE" not in instances(stage, lost), lambda: stage.logs("JobsAttemptsLogs"))
    groups = stage.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert instance not in {one["InstanceId"] for group in groups for one in group["Instances"]}
    stage.says("JobsAttemptsLogs", "hosts taken away")
    (gone,) = stage.client("ecs").describe_tasks(cluster=lost["clusterArn"], tasks=[lost["taskArn"]])["tasks"]
    assert gone["lastStatus"] == "STOPPED"
    assert kept["taskArn"] in {task["taskArn"] for task in stage.tasks(startedBy=f"{JOB}/1")}
    # Until the next step it may say so no more: the trainer on it is dead, and the other goes on.
    step = stage.job(JOB)["step"]
    until(lambda: stage.job(JOB)["step"] != step, lambda: stage.logs("ClusterTrainerLogs"))

    # The other one's instance is taken from outside, and its tag with it, which gives the right to end it.
    again = time.time()
    with fault(stage.cloud, service="ecs-agent", path=instances(stage, kept)["ACTIVE"]):
        lose(stage, kept)
        until(lambda: "ACTIVE" not in instances(stage, kept), lambda: stage.logs("JobsAttemptsLogs"))
    send(stage, cancel=JOB)
    stage.reached(JOB, "cancelled", through=("backing-off",))
    until(lambda: stage.tasks(startedBy=f"{JOB}/1") == [])

    decisions = [one for one in stage.decisions(since) if one.role == stage.role(DUTY)]
    refused = [one for one in decisions if not one.allowed]
    assert {one.action for one in refused} == {"ec2:TerminateInstances"}
    assert min(one.time for one in refused) >= again
    assert {one.action for one in decisions} >= {
        "ecs:DescribeContainerInstances",
        "ecs:DeregisterContainerInstance",
        "ec2:DescribeInstances",
        "ec2:TerminateInstances",
    }


def test_it_has_rung(stage: Stage) -> None:
    name = stage.resource("JobsEvicted", "AWS::CloudWatch::Alarm")

    def rang() -> bool:
        history = stage.client("cloudwatch").describe_alarm_history(
            AlarmName=name, HistoryItemType="StateUpdate"
        )
        return any("to ALARM" in item["HistorySummary"] for item in history["AlarmHistoryItems"])

    until(rang)
