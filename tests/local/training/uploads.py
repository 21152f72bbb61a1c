"""Uploading images, and looking at what becomes of them."""

from __future__ import annotations

import contextlib
import io
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.local.training.stage import DATASET, Stage
from tools import image_data
from training.preprocessing import manifest

IMAGES = 200


def upload(stage: Stage, folder: Path, count: int, first: int = 0) -> None:
    """Some of the digits, of all classes, as a person would upload them."""
    image_data.write(folder)
    files = sorted((folder / "images").glob("*/*.png"), key=lambda path: path.name)[first : first + count]
    s3 = stage.client("s3")
    for file in files:
        key = f"uploads/{DATASET}/{file.parent.name}/{file.name}"
        s3.put_object(Bucket=stage.bucket, Key=key, Body=file.read_bytes())


def depth(stage: Stage) -> tuple[int, int]:
    """Messages that wait, and that workers hold."""
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    found = stage.client("sqs").get_queue_attributes(
        QueueUrl=stage.outputs["Queue0Url"], AttributeNames=list(names)
    )["Attributes"]
    waiting, held = (int(found[name]) for name in names)
    return waiting, held


def counts(stage: Stage) -> tuple[int, int]:
    """Workers that are wanted, and that run."""
    (service,) = stage.client("ecs").describe_services(
        cluster=stage.outputs["ClusterName"],
        services=[stage.resource("DatasetdigitsService", "AWS::ECS::Service")],
    )["services"]
    return service["desiredCount"], service["runningCount"]


def written(stage: Stage) -> int:
    """Uploads of which the ledger knows what became of them."""
    pages = (
        stage.client("dynamodb")
        .get_paginator("scan")
        .paginate(TableName=stage.outputs["LedgerTableName"], Select="COUNT", ConsistentRead=True)
    )
    return sum(page["Count"] for page in pages)


def told(stage: Stage, since: float) -> dict[str, float]:
    """What workers have told CloudWatch since then, by metric."""
    dimensions = {"Cluster": stage.outputs["ClusterName"], "Dataset": DATASET}
    found = {}
    for name in ("Prepared", "Quarantined"):
        points = stage.client("cloudwatch").get_metric_statistics(
            Namespace="Modelyard/Training",
            MetricName=name,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            StartTime=datetime.fromtimestamp(since - 60, UTC),
            EndTime=datetime.fromtimestamp(time.time() + 60, UTC),
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        found[name] = sum(point["Sum"] for point in points)
    return found


def write_manifest(stage: Stage) -> str:
    """Of all that is prepared; its address."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        manifest.main(
            ["write", "--dataset", DATASET, "--table", stage.outputs["LedgerTableName"],
             "--output", f"s3://{stage.bucket}/datasets/{DATASET}"]
        )  # fmt: skip
    return said.getvalue().split()[-1]


def dataset_of(stage: Stage) -> dict[str, Any]:
    """The manifest itself."""
    address = write_manifest(stage)
    bucket, _, key = address.removeprefix("s3://").partition("/")
    body = stage.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    found: dict[str, Any] = json.loads(body)
    return found
