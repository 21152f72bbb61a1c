"""Jobs on two hosts: cancelled, resumed, one host lost on the way, to the end; all by `modelyard train`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from tests.local.support import fault, until
from tests.local.training.hosts import lose
from tests.local.training.stage import Stage
from tests.local.training.uploads import write_manifest

JOB = "digits-1"
SETTINGS = {
    "backbone": "test_resnet",
    "image_size": 32,
    "epochs": 24,
    "batch_size": 32,
    "checkpoint_steps": 10,
}
RULE = "EC2 Spot Instance Interruption Warning"


def running(stage: Stage) -> list[dict[str, Any]]:
    return [task for task in stage.tasks(startedBy=f"{JOB}/2") if task["lastStatus"] == "RUNNING"]


def worlds(job: dict[str, Any]) -> list[tuple[int, int]]:
    """Of the second attempt, hosts too."""
    return [(one["attempt"], one["hosts"]) for one in job["worlds"] if one["attempt"] == 2]


def test_a_job_survives_its_cancellation_and_the_loss_of_a_host(
    stage: Stage, train: Callable[..., Any]
) -> None:
    since, address = time.time(), write_manifest(stage)
    settings = [part for name, value in SETTINGS.items() for part in ("-s", f"{name}={value}")]
    asked = train("submit", JOB, "--data", address, "--hosts", "2", *settings, "--detach")
    assert asked["request"]["hosts"] == 2
    # A model that cannot be delivered: the job does not end before it was cancelled, or has lost a host.
    with fault(stage.cloud, service="s3", operation="PUT", path=f"/training-jobs/{JOB}/output/", hold_s=10):
        stage.reached(JOB, "running")
        assert train("cancel", JOB)["state"] in ("cancelling", "cancelled")
        stage.reached(JOB, "cancelled")
        assert stage.tasks(startedBy=f"{JOB}/1") == []

        train("resume", JOB)
        stage.reached(JOB, "running")
        until(lambda: len(stage.keys(f"training-jobs/{JOB}/checkpoints/")) > 1, lambda: stage.logs(LOG))
        first, second = running(stage)
        # Each on a host of its own, which came for it.
        assert first["containerInstanceArn"] != second["containerInstanceArn"]
        assert first["capacityProviderName"] == stage.outputs["CapacityProviders"].split(",")[0]
        lose(stage, second)
        # After a minute another host may have come for the lost one.
        until(lambda: worlds(stage.job(JOB))[:2] == [(2, 2), (2, 1)], lambda: stage.job(JOB))

    # They had met.
    stage.says(LOG, "host 2 of 2 on cpu")

    job = train("watch", JOB)
    assert (job["state"], job["attempt"]) == ("completed", 2), stage.logs(LOG)
    assert worlds(job)[:2] == [(2, 2), (2, 1)]
    assert stage.keys(f"training-jobs/{JOB}/output/")
    assert {one["job"]: one["state"] for one in train("list")}[JOB] == "completed"
    until(lambda: stage.tasks(startedBy=f"{JOB}/2") == [])
    (lost,) = stage.client("ecs").describe_tasks(cluster=second["clusterArn"], tasks=[second["taskArn"]])[
        "tasks"
    ]
    assert (lost["stopCode"], lost["containers"][0]["exitCode"]) == ("TerminationNotice", 137)

    decisions = stage.decisions(since)
    assert [one for one in decisions if not one.allowed] == []
    trainer = stage.role("ClusterTrainerTaskRole")
    used = {one.action for one in decisions if one.role == trainer}
    assert used >= {"s3:GetObject", "s3:PutObject", "dynamodb:UpdateItem"}


def test_a_trainer_writes_its_report_and_no_other_record(stage: Stage) -> None:
    trainer = stage.role("ClusterTrainerTaskRole")
    keys = {
        one.conditions["dynamodb:LeadingKeys"][0]
        for one in stage.decisions(0.0)
        if one.role == trainer and one.action == "dynamodb:UpdateItem"
    }
    assert keys == {f"report/{JOB}"}


def test_hosts_go_when_no_job_wants_them(stage: Stage) -> None:
    ecs, cluster = stage.client("ecs"), stage.outputs["ClusterName"]
    until(lambda: not ecs.list_container_instances(cluster=cluster)["containerInstanceArns"])


def test_warnings_of_spot_reach_the_function_that_drains(stage: Stage) -> None:
    """AWS alone sends such events; their rule takes them, and the function knows them."""
    warning = {
        "version": "0",
        "id": "12345678-1234-1234-1234-123456789012",
        "detail-type": RULE,
        "source": "aws.ec2",
        "account": stage.cloud.account,
        "time": "2026-01-01T00:00:00Z",
        "region": stage.cloud.region,
        "resources": [f"arn:aws:ec2:{stage.cloud.region}a:instance/i-0123456789abcdef0"],
        "detail": {"instance-id": "i-0123456789abcdef0", "instance-action": "terminate"},
    }
    events = stage.client("events")
    rules = [rule for rule in events.list_rules()["Rules"] if RULE in rule.get("EventPattern", "")]
    (rule,) = rules
    matched = events.test_event_pattern(EventPattern=rule["EventPattern"], Event=json.dumps(warning))
    assert matched["Result"]
    (target,) = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
    answer = stage.client("lambda").invoke(FunctionName=target["Arn"], Payload=json.dumps(warning))
    assert json.loads(answer["Payload"].read()) == {"stopped": 0}


LOG = "ClusterTrainerLogs"
