"""Training jobs through the queue that takes requests and the table that says what became of them.

The form of both: constructs/modelyard/training/jobs.md.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from modelyard_cli.aws import client, stack_outputs
from modelyard_cli.errors import FAILED, CliError

ENDED = frozenset({"completed", "failed", "cancelled"})
_JOB = re.compile(r"[a-z0-9](-?[a-z0-9]){0,62}")
_INDEX = "standing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A record: what was asked for, and how far it is; `as_json` has all of it. `tasks`: attempt and id of
    each that was started, ECS's or, with `instance`, of the execution that starts a single host."""

    name: str
    state: str
    reason: str
    attempt: int
    hosts: int
    asked_hosts: int
    step: int
    images_per_second: float
    saved_step: int | None
    cost: float
    submitted: float
    updated: float
    tasks: tuple[tuple[int, str], ...]
    instance: bool
    document: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """For machines: the record as it is stored, and the cost of all attempts together."""
        return {"job": self.name, **self.document, "cost": round(self.cost, 4)}


class Cluster:
    """The deployed queue and table of this environment.

    Args:
        sqs: A client.
        dynamodb: A client.
        queue: URL of the queue.
        table: Name of the table.
    """

    def __init__(self, sqs: Any, dynamodb: Any, queue: str, table: str) -> None:
        self._sqs, self._dynamodb, self._queue, self._table = sqs, dynamodb, queue, table

    def send(self, message: Mapping[str, Any]) -> None:
        """Ask for something."""
        self._sqs.send_message(QueueUrl=self._queue, MessageBody=json.dumps(message))

    def find(self, name: str) -> Job | None:
        """A job as it is now."""
        if not _JOB.fullmatch(name):
            raise CliError(f"{name!r} is no name of a job: 1 to 63 small letters, digits and inner hyphens")
        answer = self._dynamodb.get_item(
            TableName=self._table, Key={"id": {"S": f"job/{name}"}}, ConsistentRead=True
        )
        return _job(answer["Item"]) if "Item" in answer else None

    def get(self, name: str) -> Job:
        """Likewise; raises CliError where there is none."""
        job = self.find(name)
        if job is None:
            raise CliError(f"there is no job {name}. See: modelyard train list", FAILED)
        return job

    def list(self, limit: int) -> list[Job]:
        """Those that go on, then those that have ended, each newest first."""
        return [*islice(self._standing("open"), limit), *islice(self._standing("ended"), limit)][:limit]

    def _standing(self, standing: str) -> Iterator[Job]:
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=_INDEX,
            KeyConditionExpression="standing = :standing",
            ExpressionAttributeValues={":standing": {"S": standing}},
            ScanIndexForward=False,
        )
        for page in pages:
            yield from (_job(item) for item in page["Items"])

    def until(
        self,
        name: str,
        reached: Callable[[Job], bool],
        *,
        seconds: float = 60,
        pause: Callable[[float], None] = time.sleep,
    ) -> Job:
        """The job once what was asked for has been taken up.

        Raises:
            CliError: that did not happen in time; a message that cannot be served is among the dead letters.
        """
        deadline = time.monotonic() + seconds
        while True:
            job = self.find(name)
            if job is not None and reached(job):
                return job
            if time.monotonic() > deadline:
                raise CliError(
                    f"job {name}: nothing happened within {seconds:.0f} s. If the message could not be "
                    "served, it is in the dead-letter queue, with the reason as an attribute",
                    FAILED,
                )
            pause(0.5)


def cluster() -> Cluster:
    """The one of this environment. Raises CliError where none is deployed."""
    queue, table = stack_outputs(client("cloudformation"), "training", "JobsQueueUrl", "JobsTableName")
    return Cluster(client("sqs"), client("dynamodb"), queue, table)


def trainers_log(job: Job) -> tuple[Any, str]:
    """A client, and the group of the log of the job's trainers. Raises CliError where none is deployed."""
    output = "InstanceLogGroup" if job.instance else "TrainerLogGroup"
    (group,) = stack_outputs(client("cloudformation"), "training", output)
    return client("logs"), group


def request(job: str, data: str, settings: list[str], **members: Any) -> dict[str, Any]:
    """A message that asks for a job; members that are None are left to their defaults.

    Raises:
        CliError: a setting that is not NAME=VALUE, or is given twice.
    """
    values: dict[str, Any] = {}
    for assignment in settings:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise CliError(f"setting {assignment!r}: expected NAME=VALUE")
        if name in values:
            raise CliError(f"setting {name} is given twice")
        values[name] = _value(value)
    asked = {name: value for name, value in members.items() if value is not None}
    return {"job": job, "data": data, **asked, **({"settings": values} if values else {})}


def _value(text: str) -> str | int | float | bool:
    """A number or a truth where it is one as JSON has them, or else the text itself."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float | bool) else text


def _job(item: Mapping[str, Any]) -> Job:
    record = json.loads(item["record"]["S"])
    saved = record["checkpoint"]
    return Job(
        name=record["request"]["job"],
        state=record["state"],
        reason=record["reason"],
        attempt=record["attempt"],
        hosts=record["hosts"],
        asked_hosts=record["request"]["hosts"],
        step=record["step"],
        images_per_second=record.get("images_per_second", 0.0),
        saved_step=saved["step"] if saved else None,
        cost=record["spent"] + record["attempt_cost"],
        submitted=record["submitted"],
        updated=record["updated"],
        tasks=tuple((one["attempt"], one["task"]) for one in record.get("tasks", ())),
        instance=record["request"].get("instance", False),
        document=record,
    )
