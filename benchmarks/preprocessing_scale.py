"""Workers of the preprocessing queue, one to as many as there are processors: what each further one adds.

Photographs of a camera's size lie in the local cloud's S3 and their events in its queue. Workers, a
processor each, take them until the queue is empty, with the ledger in DynamoDB and shards written to S3;
counted is from the first photograph that is taken to the last that is done.

The cloud runs on the same machine: beside one worker it has the other processors, beside as many workers as
there are processors it takes its share away. `possible` is what that leaves of k times one's throughput, by
the processor time of both: shown, for the bound is 0.9 k of one's throughput whatever it is. `within_cpu` is
what a photograph costs in workers' processor time, with one over that with k: near 1 they do not hinder each
other.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.catalogue import fresh_cloud
from benchmarks.decode import photographs
from benchmarks.harness import ROOT
from localcloud.context import Cloud, Credentials
from localcloud.folder import StateFolder

BOUND = 0.9
SIZE, DISTINCT, IMAGES, ROUNDS = (2048, 1536), 24, 800, 2
UPLOADS, OUTPUT, PHOTOS = "scale-uploads", "scale-output", "photographs"
# Seconds, processor seconds of the workers and of the cloud.
_Run = tuple[float, float, float]


class Queue:
    """Buckets, queue and ledger of a dataset; one run after the other has a prefix of its own."""

    def __init__(self, cloud: Cloud, administrator: Credentials) -> None:
        self._cloud, self._administrator = cloud, administrator
        self._s3, self._sqs = (cloud.client(name, administrator) for name in ("s3", "sqs"))
        for bucket in (UPLOADS, OUTPUT):
            self._s3.create_bucket(Bucket=bucket)
        keys = {"dataset": "HASH", "name": "RANGE"}
        self._dynamodb = cloud.client("dynamodb", administrator)
        self._dynamodb.create_table(
            TableName=UPLOADS,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
        )
        arn = f"arn:aws:sqs:{cloud.region}:{cloud.account}:{UPLOADS}"
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self._url = self._sqs.create_queue(QueueName=UPLOADS, Attributes={"Policy": policy})["QueueUrl"]
        chosen = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "run"}]}}
        self._s3.put_bucket_notification_configuration(
            Bucket=UPLOADS,
            NotificationConfiguration={
                "QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": chosen}]
            },
        )
        self._sqs.purge_queue(QueueUrl=self._url)  # of S3's test event
        with tempfile.TemporaryDirectory() as folder:
            photographs(Path(folder), SIZE, DISTINCT)
            for path in sorted(Path(folder).iterdir()):
                self._s3.put_object(Bucket=UPLOADS, Key=f"{PHOTOS}/{path.name}", Body=path.read_bytes())

    def fill(self, run: str) -> None:
        """Upload a dataset, and wait until all of its events are in the queue."""
        for number in range(IMAGES):
            source = {"Bucket": UPLOADS, "Key": f"{PHOTOS}/{number % DISTINCT:03d}.jpg"}
            key = f"{run}/class-{number % 4}/{number:05d}.jpg"
            self._s3.copy_object(Bucket=UPLOADS, Key=key, CopySource=source)
        until = time.monotonic() + 60
        while (waiting := self._depth()[0]) < IMAGES:
            if time.monotonic() > until:
                raise RuntimeError(f"{waiting} of {IMAGES} events came")
            time.sleep(0.1)

    def empty(self, run: str, workers: int) -> tuple[float, float]:
        """Let so many workers prepare the dataset; seconds, and their processor seconds together."""
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "DATASET": run,
            "DATA_URI": f"s3://{UPLOADS}/{run}",
            "OUTPUT_URI": f"s3://{OUTPUT}/{run}",
            "QUEUE_URL": self._url,
            "LEDGER_TABLE": UPLOADS,
            **self._cloud.environment(self._administrator),
        }
        command = [sys.executable, "-m", "training.preprocessing.worker", "--until-empty", "--batch", "40"]
        before = _children_cpu()
        processes = []
        for cpu in sorted(os.sched_getaffinity(0))[:workers]:
            with _pinned(cpu):
                process = subprocess.Popen(
                    command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
                )
            processes.append(process)
        while self._depth() == (IMAGES, 0):
            time.sleep(0.05)
        began = time.monotonic()
        # Their own words, not the queue's: to ask it takes processors from what is measured.
        with ThreadPoolExecutor(workers) as readers:
            ended = max(readers.map(_last_batch, processes))
        self._check(run)
        return ended - began, _children_cpu() - before

    def _depth(self) -> tuple[int, int]:
        """Events that wait, and that a worker holds."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=names)
        waiting, held = (int(found["Attributes"][name]) for name in names)
        return waiting, held

    def _check(self, run: str) -> None:
        """The ledger has all of the images."""
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=UPLOADS,
            KeyConditionExpression="dataset = :run",
            ExpressionAttributeValues={":run": {"S": run}},
        )
        states = Counter(item["state"]["S"] for page in pages for item in page["Items"])
        if states != {"image": IMAGES}:
            raise RuntimeError(f"the ledger has {dict(states)}, not {IMAGES} images")


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    counts = range(1, len(os.sched_getaffinity(0)) + 1)
    runs: dict[int, list[_Run]] = {count: [] for count in counts}
    with fresh_cloud() as (cloud, administrator, folder):
        queue = Queue(cloud, administrator)
        pid = int(json.loads(StateFolder(folder / "state").run_json.read_text())["pid"])
        for number in range(rounds):
            for count in counts:
                name = f"run-{number}-{count}"
                queue.fill(name)
                before = _cpu(pid)
                seconds, cpu = queue.empty(name, count)
                runs[count].append((seconds, cpu, _cpu(pid) - before))
    found = {count: _of(runs[1], runs[count], count) for count in counts}
    return {
        "images": IMAGES,
        "workers": found,
        "bound": BOUND,
        "holds": all(each["throughput_over_k_times_one"] >= BOUND for each in found.values()),
    }


def _of(one: list[_Run], ours: list[_Run], count: int) -> dict[str, Any]:
    pairs = list(zip(one, ours, strict=True))
    seconds, workers, cloud = (statistics.median(each[place] for each in ours) for place in range(3))
    processors = len(os.sched_getaffinity(0))
    return {
        "images_per_second": round(IMAGES / seconds, 1),
        "throughput_over_k_times_one": round(statistics.median(a[0] / b[0] / count for a, b in pairs), 3),
        "possible": round(min(1.0, processors / count * workers / (workers + cloud)), 3),
        "within_cpu": round(statistics.median(a[1] / b[1] for a, b in pairs), 3),
        "worker_cpu_ms_an_image": round(1000 * workers / IMAGES, 2),
        "cloud_cpu_ms_an_image": round(1000 * cloud / IMAGES, 2),
    }


def _last_batch(process: subprocess.Popen[str]) -> float:
    """Of a worker, when it said that its last batch was done; on the monotonic clock."""
    said, at = "", 0.0
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        if "; queue: " in line:
            at = time.monotonic()
    if process.wait():
        raise RuntimeError(f"a worker ended with {process.returncode}: {said[-1000:]}")
    return at


@contextmanager
def _pinned(cpu: int) -> Iterator[None]:
    """What is started in it has this processor alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _children_cpu() -> float:
    """Processor seconds of children that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system
