"""What the chapters on canaries share: a version that breaks, requests by version, the deployer's record."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from tests.local.loop.story import MODEL, Story

# Registered anew with what a version was registered with, but for these.
_OF_THE_REGISTRY = {
    "ModelPackageName", "ModelPackageArn", "ModelPackageVersion", "CreationTime", "ModelPackageStatus",
    "ModelPackageStatusDetails", "CreatedBy", "LastModifiedTime", "LastModifiedBy", "ResponseMetadata",
    "ApprovalDescription", "ModelLifeCycle", "ModelPackageRegistrationType",
}  # fmt: skip


def models(story: Story) -> dict[str, Any]:
    """What `modelyard models` shows of the group."""
    (row,) = story.modelyard(story.administrator, "models", MODEL)
    return dict(row)


def canary_of(story: Story) -> dict[str, Any]:
    """The canary that runs; AssertionError without one."""
    canary = models(story)["canary"]
    assert canary is not None
    return dict(canary)


def pause_until(moment: datetime) -> None:
    time.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))


def first_whole_minute(canary: dict[str, Any]) -> datetime:
    """From when a canary's requests count: CloudWatch keeps minutes, and none of before may be among them."""
    since = datetime.fromisoformat(canary["since"])
    return since.replace(second=0, microsecond=0) + timedelta(minutes=bool(since.second))


@contextmanager
def unwatched(story: Story) -> Iterator[None]:
    """Without the schedule, which would end a canary that has baked while requests are still sent."""
    events = story.administrator.client("events")
    rules = [story.names.physical(f"serving/DeployerPeriodic{number}") for number in (1, 2)]
    for rule in rules:
        events.disable_rule(Name=rule)
    try:
        yield
    finally:
        for rule in rules:
            events.enable_rule(Name=rule)


def ask(story: Story, requests: int) -> Counter[int]:
    """Which versions answer so many requests; each of them is answered."""
    return Counter(story.predict(story.data.examples[:1])["version"] for _ in range(requests))


def invocations(story: Story, version: int, metric: str = "Invocations") -> int:
    """What CloudWatch counts of a version in the last hour."""
    now = datetime.now(UTC)
    points = story.administrator.client("cloudwatch").get_metric_statistics(
        Namespace="Modelyard/Inference",
        MetricName=metric,
        Dimensions=[{"Name": "Model", "Value": MODEL}, {"Name": "Version", "Value": str(version)}],
        StartTime=now - timedelta(hours=1), EndTime=now + timedelta(minutes=1), Period=60, Statistics=["Sum"],
    )["Datapoints"]  # fmt: skip
    return round(sum(point["Sum"] for point in points))


def register_changed(story: Story, version: int, change: Callable[[bytes], bytes]) -> int:
    """Register a version again, with the JSON files of its archive changed; returns the new version."""
    sagemaker, s3 = story.administrator.client("sagemaker"), story.administrator.client("s3")
    arn = f"arn:aws:sagemaker:{story.region}:{story.account}:model-package/{MODEL}/{version}"
    known = sagemaker.describe_model_package(ModelPackageName=arn)
    package = {name: value for name, value in known.items() if name not in _OF_THE_REGISTRY}
    (container,) = package["InferenceSpecification"]["Containers"]
    place = urlsplit(container["ModelDataUrl"])
    body = s3.get_object(Bucket=place.netloc, Key=place.path[1:])["Body"].read()
    key = f"pipelines/{MODEL}/changed-{version}/model.tar.gz"
    s3.put_object(Bucket=place.netloc, Key=key, Body=_changed(body, change))
    container["ModelDataUrl"] = f"s3://{place.netloc}/{key}"
    package |= {"ModelApprovalStatus": "PendingManualApproval"}
    metadata = package.get("CustomerMetadataProperties", {})
    package["CustomerMetadataProperties"] = {k: v for k, v in metadata.items() if not k.startswith("canary-")}
    made = sagemaker.create_model_package(**package)["ModelPackageArn"]
    return int(made.rsplit("/", 1)[-1])


def with_another_column(document: bytes) -> bytes:
    """The model wants its first feature under another name, as after a change of what is sent to it."""
    if "features" not in json.loads(document):
        return document
    name = json.loads(document)["features"][0]["name"]
    return document.replace(f'"{name}"'.encode(), f'"{name}_new"'.encode())


def _changed(archive: bytes, change: Callable[[bytes], bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as old, tarfile.open(fileobj=out, mode="w:gz") as new:
        for member in old:
            if not member.isfile():
                continue
            content = old.extractfile(member)
            assert content is not None
            data = content.read()
            data = change(data) if member.name.endswith(".json") else data
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    return out.getvalue()
