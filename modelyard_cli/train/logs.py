"""What the hosts of a training job have written: the streams of its tasks in CloudWatch Logs, as one log.

The job's record names its tasks, so each stream is read by its name and nothing is searched.
https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_GetLogEvents.html
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from modelyard_cli.errors import FAILED, CliError
from modelyard_cli.train.jobs import Job

# As the log driver names them: prefix and container, which both are the trainer's, and ECS's id of the task.
_STREAM = "trainer/trainer/{task}"
# As the command on a single host names them, which has no task.
_SINGLE = "trainer/{job}/{attempt}"
_RANKS = re.compile(r"starts ranks ([\d, ]+) of \d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One of a host.

    Args:
        milliseconds: Since the epoch.
        attempt: Of the job.
        ranks: Whose it may be: one where it says so or the host has but one, none before ranks start.
        task: Its id, as in the record.
        message: What was written.
    """

    milliseconds: int
    attempt: int
    ranks: tuple[int, ...]
    task: str
    message: str

    def __str__(self) -> str:
        when = datetime.fromtimestamp(self.milliseconds / 1000, UTC)
        ranks = ",".join(map(str, self.ranks)) or "-"
        return f"{when:%Y-%m-%d %H:%M:%S} {self.attempt}/{ranks} {self.message}"

    @property
    def is_metric(self) -> bool:
        """Whether it is for CloudWatch, which makes metrics of it, rather than for people."""
        return self.message.startswith('{"_aws":')

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "milliseconds": self.milliseconds,
            "attempt": self.attempt,
            "ranks": list(self.ranks),
            "task": self.task,
            "message": self.message,
        }


class Stream:
    """The log of one task, read on from where the last reading ended.

    Args:
        logs: A client.
        group: Name of the log group.
        name: Of the stream.
        attempt: That started the task.
        task: Its id.
    """

    def __init__(self, logs: Any, group: str, name: str, attempt: int, task: str) -> None:
        self._logs, self._group, self._name = logs, group, name
        self._attempt, self._task = attempt, task
        self._token: str | None = None
        self._ranks: tuple[int, ...] = ()

    def read(self) -> Iterator[Line]:
        """What is new, in order. A task that has not started, or whose log is no longer kept, has nothing."""
        while True:
            where = {"nextToken": self._token} if self._token else {"startFromHead": True}
            try:
                page = self._logs.get_log_events(logGroupName=self._group, logStreamName=self._name, **where)
            except ClientError as error:
                if error.response["Error"]["Code"] == "ResourceNotFoundException":
                    return
                raise
            # A page may be empty; the end is where the token stays.
            ended, self._token = page["nextForwardToken"] == self._token, page["nextForwardToken"]
            yield from map(self._line, page["events"])
            if ended:
                return

    def _line(self, event: Mapping[str, Any]) -> Line:
        message = event["message"].rstrip("\n")
        if found := _RANKS.fullmatch(message):
            self._ranks = tuple(map(int, found[1].split(", ")))
        told = _rank(message)
        return Line(
            milliseconds=event["timestamp"],
            attempt=self._attempt,
            ranks=self._ranks if told is None else (told,),
            task=self._task,
            message=message,
        )


class Log:
    """All of a job, or of one attempt or rank of it.

    Args:
        logs: A client.
        group: Name of the log group.
        attempt: None for all.
        rank: None for all; lines that might be of another rank of the same host are its own too.

    Example:
        >>> for line in Log(client("logs"), group, attempt=2).new(job):
        ...     print(line)
    """

    def __init__(self, logs: Any, group: str, *, attempt: int | None = None, rank: int | None = None) -> None:
        self._logs, self._group, self._attempt, self._rank = logs, group, attempt, rank
        self._streams: dict[str, Stream] = {}

    def new(self, job: Job) -> Iterator[Line]:
        """What was written since the last call, in the order of time.

        Raises:
            CliError: the job has had no such attempt.
        """
        if self._attempt is not None and not 1 <= self._attempt <= job.attempt:
            raise CliError(
                f"job {job.name} has had {job.attempt} attempts; there is none with number {self._attempt}",
                FAILED,
            )
        for attempt, task in job.tasks:
            if self._attempt in (None, attempt) and task not in self._streams:
                name = (
                    _SINGLE.format(job=job.name, attempt=attempt)
                    if job.instance
                    else _STREAM.format(task=task)
                )
                self._streams[task] = Stream(self._logs, self._group, name, attempt, task)
        lines = _in_order(stream.read() for stream in self._streams.values())
        return (line for line in lines if self._rank is None or self._rank in line.ranks)


def _in_order(streams: Iterable[Iterator[Line]]) -> Iterator[Line]:
    # Lazily, a page of each at a time; what is of the same moment stays in the order of its stream.
    return heapq.merge(*streams, key=lambda line: line.milliseconds)


def _rank(message: str) -> int | None:
    """Of a line of telemetry: events are of the first rank, metrics say whose they are."""
    if not message.startswith("{"):
        return None
    try:
        members = json.loads(message)
    except ValueError:
        return None
    if "event" in members:
        return 0
    return int(members["Rank"]) if str(members.get("Rank", "")).isdigit() else None
