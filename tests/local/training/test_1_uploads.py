"""What is uploaded becomes training data, by workers that come for it and go, under the worker's own role."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.local.support import until
from tests.local.training.stage import DATASET, Stage
from tests.local.training.uploads import IMAGES, counts, dataset_of, depth, told, upload, written


def test_nothing_is_left_to_deploy(stage: Stage) -> None:
    stage.cdk("diff", "Training", "--fail")


def test_images_become_shards_by_workers_that_come_and_go(stage: Stage, tmp_path: Path) -> None:
    # A service is made with one task, which ends when it has had nothing to do.
    until(lambda: counts(stage) == (0, 0), lambda: counts(stage))
    since = time.time()
    upload(stage, tmp_path, IMAGES)
    broken = f"uploads/{DATASET}/3/broken.png"
    stage.client("s3").put_object(Bucket=stage.bucket, Key=broken, Body=b"no image")
    # Events take their time to the queue, and workers may have gone again when somebody looks.
    until(lambda: written(stage) == IMAGES + 1, lambda: (written(stage), depth(stage), counts(stage)))
    # Once more: what is known already is claimed in another way than what is new.
    stage.client("s3").put_object(Bucket=stage.bucket, Key=broken, Body=b"still no image")
    until(lambda: told(stage, since) == {"Prepared": IMAGES, "Quarantined": 2}, lambda: told(stage, since))
    until(lambda: depth(stage) == (0, 0), lambda: (depth(stage), stage.logs("DatasetdigitsTaskLogs")))
    until(lambda: counts(stage) == (0, 0), lambda: counts(stage))

    manifest = dataset_of(stage)
    assert len(manifest["classes"]) == 10
    assert sum(len(shard["samples"]) for split in manifest["splits"].values() for shard in split) == IMAGES
    assert [one["name"] for one in manifest["quarantined"]] == ["3/broken.png"]
    worker = stage.role("DatasetdigitsTaskTaskRole")
    decisions = stage.decisions(since)
    assert [one for one in decisions if not one.allowed] == []
    used = {one.action for one in decisions if one.role == worker}
    claims = {"dynamodb:PartiQLInsert", "dynamodb:PutItem"}
    assert used >= {"sqs:ReceiveMessage", "sqs:DeleteMessage", "s3:PutObject"} | claims
    assert "s3:DeleteObject" not in used


def test_scaling_says_what_it_did_and_why(stage: Stage) -> None:
    service = stage.resource("DatasetdigitsService", "AWS::ECS::Service").split(":")[-1]
    activities = stage.client("application-autoscaling").describe_scaling_activities(
        ServiceNamespace="ecs", ResourceId=service
    )["ScalingActivities"]
    told = [(one["Description"], one["Cause"].rpartition(" ")[2]) for one in activities]
    assert told[0] == ("Setting desired count to 0.", "Sleep")
    assert ("Setting desired count to 1.", "Wake") in told
    policies = stage.client("application-autoscaling").describe_scaling_policies(
        ServiceNamespace="ecs", ResourceId=service
    )["ScalingPolicies"]
    (tracked,) = (one for one in policies if one["PolicyType"] == "TargetTrackingScaling")
    (alarm,) = stage.client("cloudwatch").describe_alarms(
        AlarmNames=[one["AlarmName"] for one in tracked["Alarms"]]
    )["MetricAlarms"]
    assert "waiting / IF" in json.dumps(alarm["Metrics"])
