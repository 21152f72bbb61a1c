"""Uploads become a dataset: real buckets, queue and ledger, two worker processes, of which one is killed.

The workers act as a user with the permissions that the worker's role needs, and no others.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from localcloud.context import Cloud, Credentials
from tests.local.support import Actor, allow, unique
from training.vision.classes import read_classes
from training.vision.preprocess import SPLITS
from training.vision.shards import read_shards

IMAGES = 60
BROKEN = ("a/broken.jpg", "b/empty.png", "nowhere.png")
PATIENCE = 300.0


def drawn(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (40, 36, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def wait_for(reached: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < until, f"not within {PATIENCE:.0f} s: {what}"
        time.sleep(0.2)


class Yard:
    """A dataset's buckets, queues and table, and the processes that work on it."""

    def __init__(self, cloud: Cloud, admin: Credentials, actor: Actor, folder: Path) -> None:
        self.cloud, self.folder, self.name = cloud, folder, unique("dogs")
        self.s3, self.sqs = cloud.client("s3", admin), cloud.client("sqs", admin)
        self.dynamodb = cloud.client("dynamodb", admin)
        self.uploads, self.output = f"{self.name}-uploads", f"{self.name}-output"
        for bucket in (self.uploads, self.output):
            self.s3.create_bucket(Bucket=bucket)
        versioning = {"Status": "Enabled"}
        self.s3.put_bucket_versioning(Bucket=self.uploads, VersioningConfiguration=versioning)
        self.dynamodb.create_table(
            TableName=self.name,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[
                {"AttributeName": "dataset", "KeyType": "HASH"},
                {"AttributeName": "name", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"} for name in ("dataset", "name")
            ],
        )
        self.dead, dead_arn = self._queue("dead")
        redrive = {"deadLetterTargetArn": dead_arn, "maxReceiveCount": 5}
        self.url, self.arn = self._queue("work", RedrivePolicy=json.dumps(redrive))
        self._wire(cloud.client("events", admin))
        self.key = actor(self._grants())
        self.reader = admin
        self.processes: list[subprocess.Popen[str]] = []

    def _queue(self, kind: str, **attributes: str) -> tuple[str, str]:
        name = f"{self.name}-{kind}"
        arn = f"arn:aws:sqs:{self.cloud.region}:{self.cloud.account}:{name}"
        senders = {"Service": ["s3.amazonaws.com", "events.amazonaws.com"]}
        statement = {**allow("sqs:SendMessage", arn), "Principal": senders}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        made = self.sqs.create_queue(QueueName=name, Attributes={**attributes, "Policy": policy})
        return made["QueueUrl"], arn

    def _wire(self, events: Any) -> None:
        """Both ways at once: each upload arrives twice, in two forms."""
        pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [self.uploads]}}}
        events.put_rule(Name=self.name, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=self.name, Targets=[{"Id": "queue", "Arn": self.arn}])
        notified = {"QueueArn": self.arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
        self.s3.put_bucket_notification_configuration(
            Bucket=self.uploads,
            NotificationConfiguration={"QueueConfigurations": [notified], "EventBridgeConfiguration": {}},
        )

    def _grants(self) -> list[dict[str, Any]]:
        queue = ["ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes"]
        table = f"arn:aws:dynamodb:{self.cloud.region}:{self.cloud.account}:table/{self.name}"
        return [
            allow([f"sqs:{action}" for action in queue], self.arn),
            allow(["s3:GetObject", "s3:GetObjectVersion"], f"arn:aws:s3:::{self.uploads}/raw/*"),
            allow("s3:ListBucket", f"arn:aws:s3:::{self.uploads}"),
            allow("s3:PutObject", f"arn:aws:s3:::{self.output}/dogs/shards/*"),
            allow(["dynamodb:PartiQLInsert", "dynamodb:PutItem"], table),
        ]

    def put(self, name: str, data: bytes) -> None:
        self.s3.put_object(Bucket=self.uploads, Key=f"raw/{name}", Body=data)

    def start(self, module: str, *arguments: str, key: Credentials) -> subprocess.Popen[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "SAGEMAKER_BASE_DIR": str(self.folder),
            "DATASET": "dogs",
            "LEDGER_TABLE": self.name,
            "OUTPUT_URI": f"s3://{self.output}/dogs",
            "QUEUE_URL": self.url,
            "DATA_URI": f"s3://{self.uploads}/raw",
            "IMAGE_SIZE": "32",
            "VALIDATION_SHARE": "0.2",
            "TEST_SHARE": "0.2",
            **self.cloud.environment(key),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", f"training.preprocessing.{module}", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.append(process)
        return process

    def worker(self) -> subprocess.Popen[str]:
        return self.start("worker", "--batch", "10", "--linger", "1", "--visibility", "4", key=self.key)

    def manifest(self, *arguments: str) -> str:
        """The last line of the command's output."""
        process = self.start("manifest", *arguments, key=self.reader)
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, output
        return output.splitlines()[-1]

    def names(self, state: str) -> set[str]:
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=self.name, ConsistentRead=True)
        items = [item for page in pages for item in page["Items"]]
        return {item["name"]["S"] for item in items if item["state"]["S"] == state}

    def depth(self, url: str) -> int:
        return sum(self._counts(url))

    def held(self, url: str) -> int:
        return self._counts(url)[1]

    def _counts(self, url: str) -> tuple[int, int]:
        """Messages that wait, and that workers hold."""
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))["Attributes"]
        waiting, held = (int(found[name]) for name in names)
        return waiting, held


@pytest.fixture
def yard(cloud: Cloud, admin: Credentials, actor: Actor, tmp_path: Path) -> Iterator[Yard]:
    made = Yard(cloud, admin, actor, tmp_path)
    yield made
    for process in made.processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_two_workers_of_which_one_is_killed(yard: Yard, tmp_path: Path) -> None:
    good = {f"{'ab'[number % 2]}/{number} ü+.png": drawn(number) for number in range(IMAGES)}
    yard.put("a/0 ü+.png", drawn(999))
    for name, data in good.items():
        yard.put(name, data)
    for name, data in zip(BROKEN, (b"\xff\xd8\xff", b"", drawn(5)), strict=True):
        yard.put(name, data)
    yard.put("b/gone.png", drawn(7))
    yard.s3.delete_object(Bucket=yard.uploads, Key="raw/b/gone.png")
    yard.sqs.send_message(QueueUrl=yard.url, MessageBody="not an event")
    # Each twice, and S3's test event and the poison.
    wait_for(lambda: yard.depth(yard.url) == 2 * (IMAGES + len(BROKEN) + 3) + 2, "all events are queued")

    killed = yard.worker()
    # Else the other one might leave nothing to it.
    wait_for(lambda: yard.held(yard.url) > 0, "it has messages")
    other = yard.worker()
    assert killed.stdout is not None
    lines: list[str] = []
    while not lines or not lines[-1].startswith("received"):
        lines.append(killed.stdout.readline())
        assert lines[-1], f"the worker ended: {''.join(lines)}"
    os.kill(killed.pid, signal.SIGKILL)
    wait_for(lambda: yard.depth(yard.url) == 0, "the queue is empty")
    other.send_signal(signal.SIGTERM)
    log, _ = other.communicate(timeout=PATIENCE)
    assert other.returncode == 0, log
    assert "stopped: received" in log
    assert "is left to the dead-letter queue: it is not JSON" in log
    assert yard.depth(yard.dead) == 1

    assert yard.names("image") == set(good)
    assert yard.names("quarantined") == set(BROKEN)
    assert yard.names("deleted") == {"b/gone.png"}
    uri = yard.manifest("write")
    assert yard.manifest("write") == uri
    yard.manifest("copy", "--manifest", uri, "--to", str(tmp_path / "copy"))
    assert read_classes(tmp_path / "copy" / "classes").names == ("a", "b")
    entries = [entry for split in SPLITS for entry in read_shards(tmp_path / "copy" / split)]
    assert sorted(entry.name for entry in entries) == sorted(good)
    for entry in entries:
        with Image.open(io.BytesIO(entry.read())) as image:
            assert min(image.size) == 37
    newest = next(entry for entry in entries if entry.name == "a/0 ü+.png")
    with Image.open(io.BytesIO(newest.read())) as image, Image.open(io.BytesIO(drawn(0))) as uploaded:
        assert abs(np.asarray(image).mean() - np.asarray(uploaded).mean()) < 1
    assert "queue: 0 waiting, 0 held" in yard.manifest("progress")
    assert yard.manifest("collect").startswith("0 shards deleted")
