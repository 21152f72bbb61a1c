"""A function's environment writes to one log stream, however often it is called."""

from __future__ import annotations

import contextvars
import re
from collections.abc import Iterator
from typing import Any

import pytest
from ministack.core import lambda_runtime
from ministack.services import cloudwatch_logs, lambda_svc

from localcloud.aws.differences import environment_logs

CONFIG = {
    "FunctionName": "f",
    "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
    "MemorySize": 256,
}


def spawn(worker: Any) -> None:
    """Notes what a process would be told, instead of starting one."""
    worker.told = lambda_runtime.execution_credentials(worker.config)


@pytest.fixture(autouse=True)
def streams(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Our patches, and an environment that answers without a process; all gone afterwards."""
    monkeypatch.setattr(lambda_runtime.Worker, "__init__", lambda_runtime.Worker.__init__)
    monkeypatch.setattr(lambda_runtime.Worker, "_spawn", spawn)
    monkeypatch.setattr(lambda_runtime.Worker, "invoke", lambda *_arguments, **_named: {"status": "ok"})
    monkeypatch.setattr(lambda_runtime, "execution_credentials", lambda _config: {"AWS_ACCESS_KEY_ID": "A"})
    monkeypatch.setattr(lambda_svc, "_emit_lambda_logs", lambda_svc._emit_lambda_logs)
    environment_logs.apply()
    yield
    cloudwatch_logs.reset()


def call(worker: Any, number: int, config: dict[str, Any] = CONFIG) -> None:
    def run() -> None:
        worker.invoke({}, f"r{number}")
        lambda_svc._emit_lambda_logs(config, f"r{number}", "one\ntwo", False, 12, log_source=None)

    contextvars.copy_context().run(run)


def streams_of(group: str) -> dict[str, list[str]]:
    found = (cloudwatch_logs._log_groups.get(group) or {}).get("streams", {})
    return {name: [event["message"] for event in stream["events"]] for name, stream in found.items()}


def test_a_thousand_calls_of_two_environments_leave_two_streams() -> None:
    workers = [lambda_runtime.Worker("f", CONFIG, b"") for _ in range(2)]
    for number in range(1000):
        call(workers[number % 2], number)
    found = streams_of("/aws/lambda/f")
    assert sorted(found) == sorted(worker.log_stream for worker in workers)
    assert sum(len(messages) for messages in found.values()) == 5 * 1000
    assert found[workers[1].log_stream][:5] == [
        "START RequestId: r1 Version: $LATEST",
        "one",
        "two",
        "END RequestId: r1",
        found[workers[1].log_stream][4],
    ]
    assert re.fullmatch(
        r"REPORT RequestId: r1\tDuration: 12 ms\tBilled Duration: 12 ms\tMemory Size: 256 MB\t"
        r"Max Memory Used: \d+ MB",
        found[workers[1].log_stream][4],
    )


def test_a_functions_own_group_and_version_are_kept() -> None:
    config = {**CONFIG, "Version": "7", "LoggingConfig": {"LogGroup": "/shared"}}
    worker = lambda_runtime.Worker("f", config, b"")
    call(worker, 1, config)
    (name,) = streams_of("/shared")
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[7\][0-9a-f]{32}", name)
    assert not streams_of("/aws/lambda/f")


def test_a_process_is_told_the_name_of_its_stream() -> None:
    worker = lambda_runtime.Worker("f", CONFIG, b"")
    worker._spawn()
    assert worker.told["AWS_LAMBDA_LOG_STREAM_NAME"] == worker.log_stream
    assert lambda_runtime.execution_credentials(CONFIG) == {"AWS_ACCESS_KEY_ID": "A"}


def test_what_no_such_process_ran_has_a_stream_of_its_own() -> None:
    for number in range(2):
        lambda_svc._emit_lambda_logs(CONFIG, f"r{number}", "", False, 1, log_source=None)
    assert len(streams_of("/aws/lambda/f")) == 2
