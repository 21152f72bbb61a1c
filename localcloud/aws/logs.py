"""CloudWatch Logs as AWS's services write them: the group appears with the first line.

Lambda and SageMaker write with the role of the function, job or endpoint. Without the permission that runs
on, and has no logs.
https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from localcloud.aws import identity
from localcloud.context import Cloud, Credentials

# Limits of PutLogEvents: 10,000 events, 256 KB an event.
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
_BATCH = 1000
_MAX_CHARACTERS = 60_000


class LogStream:
    """One stream of a log group; safe for several threads.

    Args:
        group: for example `/aws/sagemaker/TrainingJobs`; created when missing.
        stream: created when missing.
        writer: returns the credentials whose permission it takes to write, usually an execution role's; None
            for the service's own.

    Example:
        >>> LogStream(cloud, "/aws/sagemaker/TrainingJobs", "job/algo-1").write(["epoch 1"])
    """

    def __init__(
        self, cloud: Cloud, group: str, stream: str, writer: Callable[[], Credentials] | None = None
    ) -> None:
        self._cloud = cloud
        self.writer = writer
        self._group = group
        self._stream = stream
        self._lock = threading.Lock()
        self._created = False

    def write(self, lines: Iterable[str]) -> None:
        """Append lines, in order, with the time of writing; takes an endless iterable in batches.

        Lines that the writer may not write are dropped.
        """
        with self._lock:
            iterator = iter(lines)
            if not self._may_write():
                deque(iterator, maxlen=0)
                return
            self._create()
            while batch := list(islice(iterator, _BATCH)):
                self._put(batch)

    def open(self, *, make_group: bool) -> None:
        """Make the stream before the first line, as the agent of a container host does.

        Args:
            make_group: whether a group that is missing is made, too.

        Raises:
            AccessDenied: the writer may not.
            RoleNotAssumable: there is no writer.
            LookupError: the group is missing.
        """
        from ministack.core.responses import request_scope
        from ministack.services import cloudwatch_logs

        with request_scope(self._cloud.account, self._cloud.region):
            missing = self._group not in cloudwatch_logs._log_groups
        if missing and not make_group:
            raise LookupError(f"there is no log group {self._group}")
        actions = ["logs:CreateLogGroup", "logs:CreateLogStream"] if missing else ["logs:CreateLogStream"]
        if self.writer is not None:
            writer = self.writer()
            for action in actions:
                identity.require_of(self._cloud, writer, action, self._arn)
        with self._lock:
            self._create()

    @property
    def _arn(self) -> str:
        where = f"{self._cloud.region}:{self._cloud.account}"
        return f"arn:aws:logs:{where}:log-group:{self._group}:log-stream:{self._stream}"

    def _may_write(self) -> bool:
        from ministack.core.responses import request_scope
        from ministack.services import cloudwatch_logs

        if self.writer is None:
            return True
        with request_scope(self._cloud.account, self._cloud.region):
            missing = self._group not in cloudwatch_logs._log_groups
        actions = ["PutLogEvents"]
        if not self._created:
            actions = ["DescribeLogStreams", "CreateLogStream", *actions]
            actions = ["CreateLogGroup", *actions] if missing else actions
        try:
            writer = self.writer()
            for action in actions:
                identity.require_of(self._cloud, writer, f"logs:{action}", self._arn)
        except (identity.AccessDenied, identity.RoleNotAssumable):
            return False
        return True

    def _create(self) -> None:
        if self._created:
            return
        self._call("_create_log_group", {"logGroupName": self._group}, "ResourceAlreadyExistsException")
        name = {"logGroupName": self._group, "logStreamName": self._stream}
        self._call("_create_log_stream", name, "ResourceAlreadyExistsException")
        self._created = True

    def _put(self, lines: list[str]) -> None:
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": part} for line in lines for part in _parts(line)]
        request = {"logGroupName": self._group, "logStreamName": self._stream, "logEvents": events}
        if self._call("_put_log_events", request, "ResourceNotFoundException"):
            # Somebody deleted the group in between: AWS's services make it anew.
            self._created = False
            self._create()
            self._call("_put_log_events", request)

    def _call(self, operation: str, request: dict[str, Any], tolerated: str = "") -> bool:
        """Call MiniStack; True if it answered with the tolerated error."""
        from ministack.core.responses import request_scope
        from ministack.services import cloudwatch_logs

        with request_scope(self._cloud.account, self._cloud.region):
            status, _headers, body = getattr(cloudwatch_logs, operation)(request)
        if status < 300:
            return False
        answer = json.loads(body)
        if tolerated and str(answer.get("__type", "")).endswith(tolerated):
            return True
        raise RuntimeError(f"CloudWatch Logs refused {operation} for {self._group}/{self._stream}: {answer}")


def _parts(line: str) -> Iterator[str]:
    """A line in pieces that CloudWatch takes, without its line end; nothing for an empty one."""
    text = line.rstrip("\r\n")
    for start in range(0, len(text), _MAX_CHARACTERS):
        yield text[start : start + _MAX_CHARACTERS]
