"""Workers of the preprocessing queue, one and more: what each further one adds.

Photographs of a camera's size lie in the local cloud's S3 and their events in its queue. Workers take them,
with the ledger in DynamoDB and shards written to S3. A worker's throughput is counted from the end of its
first batch to that of its last full one, and that of several is their sum: neither what it takes to start nor
the end, when there is not enough left for all, is part of it.

- `beside_the_cloud`: workers of a quarter of a processor each, the smallest task that Fargate has, as many as
  fill all processors but one. That one has the local cloud: on AWS the cloud takes nothing of theirs. The
  bound is of these: 0.9 k of one's throughput.
- `with_the_cloud`: workers of a whole processor, as many as there are processors. Beside one of them the
  cloud has the others, beside as many as that it takes its share away. `possible` is what that leaves of k
  times one's throughput, by the processor time of both.

`within_cpu` is what a photograph costs in workers' processor time, their start included, with one over that
with k: near 1 they do not hinder each other.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.catalogue import fresh_cloud
from benchmarks.decode import photographs
from benchmarks.harness import ROOT
from localcloud.context import Cloud, Credentials
from localcloud.folder import StateFolder
from tools.quota import Quota

BOUND = 0.9
SIZE, DISTINCT, IMAGES, ROUNDS = (2048, 1536), 24, 800, 2
BATCH, SHARE = 20, 0.25
UPLOADS, OUTPUT, PHOTOS = "scale-uploads", "scale-output", "photographs"
# Images a second, processor seconds of the workers and of the cloud.
_Run = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker runs: its processor, and what is put before its command."""

    cpu: int
    inside: Sequence[str] = ()


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

    def empty(self, run: str, places: Sequence[Place]) -> tuple[float, float]:
        """Let a worker at each place prepare the dataset; images a second, and processor seconds, of all."""
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
        worker = [sys.executable, "-m", "training.preprocessing.worker"]
        before = _children_cpu()
        processes = []
        for place in places:
            with _pinned(place.cpu):
                process = subprocess.Popen(
                    [*place.inside, *worker, "--until-empty", "--batch", str(BATCH)],
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            processes.append(process)
        # Their own words, not the queue's: to ask it takes processors from what is measured.
        with ThreadPoolExecutor(len(places)) as readers:
            rates = list(readers.map(_throughput, processes))
        self._check(run)
        return sum(rates), _children_cpu() - before

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
    cpus = sorted(os.sched_getaffinity(0))
    whole = [Place(cpu) for cpu in cpus]
    with fresh_cloud() as (cloud, administrator, folder), contextlib.ExitStack() as quotas:
        queue = Queue(cloud, administrator)
        pid = int(json.loads(StateFolder(folder / "state").run_json.read_text())["pid"])
        told = _compare(queue, pid, whole, range(1, len(whole) + 1), rounds)
        for count, row in told.items():
            ours, theirs = row["worker_cpu_ms_an_image"], row["cloud_cpu_ms_an_image"]
            row["possible"] = round(min(1.0, len(whole) / count * ours / (ours + theirs)), 3)
        found: dict[str, Any] = {"images": IMAGES, "with_the_cloud": told}
        refused = ""
        try:
            shared = [cpu for cpu in cpus[:-1] for _ in range(round(1 / SHARE))]
            parts = [Place(cpu, quotas.enter_context(Quota(SHARE)).inside) for cpu in shared]
        except OSError as error:
            refused = f"this machine gives no shares of a processor: {error}"
        if refused or not parts:
            return found | {"not_measured": refused or "there is one processor"}
        for thread in psutil.Process(pid).threads():
            with contextlib.suppress(ProcessLookupError):  # it may have ended
                os.sched_setaffinity(thread.id, {cpus[-1]})  # those that it starts have it from them
        told = _compare(queue, pid, parts, [2**power for power in range(len(parts).bit_length())], rounds)
    holds = all(each["throughput_over_k_times_one"] >= BOUND for each in told.values())
    return found | {"beside_the_cloud": told, "bound": BOUND, "holds": holds}


def _compare(
    queue: Queue, cloud: int, places: Sequence[Place], counts: Sequence[int], rounds: int
) -> dict[int, dict[str, Any]]:
    """So many of the places, in turn; `cloud` is the process that serves them."""
    runs: dict[int, list[_Run]] = {count: [] for count in counts}
    for number in range(rounds):
        for count in counts:
            name = f"run-{len(places)}-{number}-{count}"
            queue.fill(name)
            before = _cpu(cloud)
            rate, cpu = queue.empty(name, places[:count])
            runs[count].append((rate, cpu, _cpu(cloud) - before))
    return {count: _of(runs[1], runs[count], count) for count in counts}


def _of(one: list[_Run], ours: list[_Run], count: int) -> dict[str, Any]:
    pairs = list(zip(one, ours, strict=True))
    rate, workers, cloud = (statistics.median(each[place] for each in ours) for place in range(3))
    return {
        "images_per_second": round(rate, 1),
        "throughput_over_k_times_one": round(statistics.median(b[0] / a[0] / count for a, b in pairs), 3),
        "within_cpu": round(statistics.median(a[1] / b[1] for a, b in pairs), 3),
        "worker_cpu_ms_an_image": round(1000 * workers / IMAGES, 2),
        "cloud_cpu_ms_an_image": round(1000 * cloud / IMAGES, 2),
    }


def _throughput(process: subprocess.Popen[str]) -> float:
    """Of a worker, in images a second, from the end of its first batch to that of its last full one."""
    said, ends = "", list[float]()
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        found = re.match(r"received (\d+), .*; queue: ", line)
        if found and int(found[1]) == (len(ends) + 1) * BATCH:
            ends.append(time.monotonic())
    if process.wait():
        raise RuntimeError(f"a worker ended with {process.returncode}: {said[-1000:]}")
    if len(ends) < 2:
        raise RuntimeError(f"a worker had {len(ends)} full batches: {said[-1000:]}")
    return (len(ends) - 1) * BATCH / (ends[-1] - ends[0])


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
