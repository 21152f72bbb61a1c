"""An execution environment of a function has one log stream, and knows its name.

MiniStack begins a stream with every invocation, so that a busy function has thousands of four lines each, and
tells the function a name that no stream has.
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html
"""

from __future__ import annotations

import time
import uuid
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

# Of the environment that is being made, or is called, in this thread.
_stream: ContextVar[str | None] = ContextVar("log_stream", default=None)


def apply() -> None:
    """Wrap what starts and calls an environment's process, and the writing of its lines.

    Before the execution role is asked whether it may write them.
    """
    from ministack.core import lambda_runtime
    from ministack.services import lambda_svc

    worker, emit = lambda_runtime.Worker, lambda_svc._emit_lambda_logs
    begin, spawn, invoke = worker.__init__, worker._spawn, worker.invoke
    credentials = lambda_runtime.execution_credentials

    def begin_with_stream(self: Any, *arguments: Any, **named: Any) -> None:
        begin(self, *arguments, **named)
        self.log_stream = stream_name(self.config.get("Version", "$LATEST"))

    def spawn_with_stream(self: Any) -> None:
        token = _stream.set(self.log_stream)
        try:
            spawn(self)
        finally:
            _stream.reset(token)

    def invoke_with_stream(self: Any, *arguments: Any, **named: Any) -> Any:
        _stream.set(self.log_stream)
        return invoke(self, *arguments, **named)

    def execution_credentials(config: dict[str, Any]) -> dict[str, str]:
        # What a process is started with beside the function's own variables.
        name = _stream.get()
        told = {} if name is None else {"AWS_LAMBDA_LOG_STREAM_NAME": name}
        return {**credentials(config), **told}

    def emit_lambda_logs(
        func: dict[str, Any], request_id: str, log_text: str, error: bool, duration_ms: int, **named: Any
    ) -> None:
        name = _stream.get()
        _stream.set(None)
        if name is None:
            emit(func, request_id, log_text, error, duration_ms, **named)
            return
        config = func.get("config") or func
        memory, peak = config.get("MemorySize", 128), lambda_svc._probe_peak_memory_mb(func)
        took = f"Duration: {duration_ms} ms\tBilled Duration: {duration_ms} ms"
        _write(
            (config.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{config['FunctionName']}",
            name,
            [
                f"START RequestId: {request_id} Version: {config.get('Version', '$LATEST')}",
                *log_text.splitlines(),
                f"END RequestId: {request_id}",
                f"REPORT RequestId: {request_id}\t{took}\t"
                f"Memory Size: {memory} MB\tMax Memory Used: {peak} MB",
            ],
        )

    worker.__init__, worker._spawn, worker.invoke = begin_with_stream, spawn_with_stream, invoke_with_stream
    lambda_runtime.execution_credentials = execution_credentials
    lambda_svc._emit_lambda_logs = emit_lambda_logs


def stream_name(version: str) -> str:
    """A new one, for example `2026/11/21/[$LATEST]0123456789abcdef0123456789abcdef`."""
    return f"{datetime.now(UTC):%Y/%m/%d}/[{version}]{uuid.uuid4().hex}"


def _write(group: str, stream: str, lines: list[str]) -> None:
    from ministack.services import cloudwatch_logs

    place = {"logGroupName": group, "logStreamName": stream}
    if stream not in (cloudwatch_logs._log_groups.get(group) or {}).get("streams", ()):
        # Both answer that they exist already where others were faster.
        cloudwatch_logs._create_log_group({"logGroupName": group})
        cloudwatch_logs._create_log_stream(place)
    moment = int(time.time() * 1000)
    events = [{"timestamp": moment, "message": line} for line in lines]
    cloudwatch_logs._put_log_events({**place, "logEvents": events})
