"""Which requests a fault of the local cloud meets, and what they get."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localcloud.faults import Fault, Faults, operation_of, service_of


def scope(service: str, *, method: str = "POST", path: str = "/", target: str = "") -> dict[str, Any]:
    signature = f"AWS4-HMAC-SHA256 Credential=AKIAX/20260101/us-east-1/{service}/aws4_request, Signature=0"
    headers = [(b"authorization", signature.encode())]
    if target:
        headers.append((b"x-amz-target", target.encode()))
    return {"type": "http", "method": method, "path": path, "headers": headers, "query_string": b""}


def ask(
    faults: Path, request: dict[str, Any], carry_out: Callable[[], None] = lambda: None
) -> tuple[int, bytes]:
    """Status and body; 200 and nothing where the application was asked."""
    sent: list[dict[str, Any]] = []

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        carry_out()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Faults(application, faults)(request, receive, send))
    return sent[0]["status"], sent[1]["body"]


@pytest.fixture
def faults(tmp_path: Path) -> Path:
    return tmp_path / "faults.json"


def test_without_the_file_nothing_fails(faults: Path) -> None:
    assert ask(faults, scope("s3")) == (200, b"")


@pytest.mark.parametrize(
    ("fault", "request_", "met"),
    [
        ({"service": "s3"}, scope("s3"), True),
        ({"service": "s3"}, scope("dynamodb"), False),
        ({"service": "s3", "operation": "PUT"}, scope("s3", method="PUT"), True),
        ({"service": "s3", "operation": "PUT"}, scope("s3", method="GET"), False),
        ({"service": "s3", "path": "/models/"}, scope("s3", path="/bucket/models/multi/a"), True),
        ({"service": "s3", "path": "/models/"}, scope("s3", path="/bucket/raw/a"), False),
        ({"service": "dynamodb", "operation": "PutItem"}, scope("dynamodb", target="D_2.PutItem"), True),
        ({"service": "dynamodb", "operation": "PutItem"}, scope("dynamodb", target="D_2.GetItem"), False),
        ({"service": "s3", "share": 0.0}, scope("s3"), False),
        ({"service": "s3", "when": "before"}, scope("s3"), False),
        ({"service": "s3", "when": "after"}, scope("s3"), False),
    ],
)
def test_a_fault_meets_what_it_names(
    faults: Path, fault: dict[str, Any], request_: dict[str, Any], met: bool
) -> None:
    faults.write_text(json.dumps([fault]))
    assert ask(faults, request_)[0] == (503 if met else 200)


@pytest.mark.parametrize(("when", "said_before"), [("instead", True), ("before", True), ("after", False)])
def test_a_fault_is_logged_when_it_strikes(
    faults: Path, when: str, said_before: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Who counts them may rely on a request held `after` having been carried out."""
    faults.write_text(json.dumps([{"service": "s3", "when": when}]))
    carried_out: list[bool] = []
    ask(faults, scope("s3"), lambda: carried_out.append("fault: s3" in caplog.text))
    assert carried_out == ([] if when == "instead" else [said_before])
    assert caplog.text.count("fault: s3") == 1


def test_all_is_well_once_the_file_is_gone(faults: Path) -> None:
    faults.write_text('[{"service": "s3"}]')
    assert ask(faults, scope("s3"))[0] == 503
    faults.unlink()
    assert ask(faults, scope("s3"))[0] == 200


def test_a_file_that_was_seen_while_it_was_written_is_read_again(faults: Path) -> None:
    """Writing empties it first; the clock of files may stand still in between."""
    faults.touch()
    moment = faults.stat().st_mtime_ns
    fails = Faults(_nothing, faults)
    assert fails._current() == []
    faults.write_text('[{"service": "s3"}]')
    os.utime(faults, ns=(moment, moment))
    assert fails._current() == [Fault(service="s3")]


async def _nothing(_scope: Any, _receive: Any, _send: Any) -> None:
    """An application that answers nothing."""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_request_is_held_until_its_fault_is_taken_away(faults: Path, when: str) -> None:
    faults.write_text(json.dumps([{"service": "s3", "when": when, "hold_s": 3600}]))
    answered: list[int] = []
    asking = threading.Thread(target=lambda: answered.append(ask(faults, scope("s3"))[0]), daemon=True)
    asking.start()
    asking.join(0.2)
    assert asking.is_alive()
    faults.unlink()
    asking.join(60)
    assert answered == [200]


def test_refusals_have_the_form_of_their_service(faults: Path) -> None:
    table = {"service": "dynamodb", "status": 400, "code": "Throttling"}
    faults.write_text(json.dumps([{"service": "s3", "code": "SlowDown"}, table]))
    assert ask(faults, scope("s3"))[1].startswith(b"<Error><Code>SlowDown</Code>")
    status, body = ask(faults, scope("dynamodb"))
    assert (status, json.loads(body)["__type"]) == (400, "Throttling")


@pytest.mark.parametrize("text", ["{", '{"service": "s3"}', '[{"servise": "s3"}]'])
def test_what_is_no_list_of_faults_is_said_and_does_nothing(
    faults: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    faults.write_text(text)
    assert ask(faults, scope("s3"))[0] == 200
    assert "is no list of faults" in caplog.text


def test_a_url_that_is_signed_names_its_service_too() -> None:
    query = b"X-Amz-Credential=AKIAX%2F20260101%2Fus-east-1%2Fs3%2Faws4_request"
    assert service_of({"headers": [], "query_string": b"X-Amz-Algorithm=a&" + query}) == "s3"
    assert service_of({"headers": [], "query_string": b""}) is None
    assert operation_of(scope("s3", method="GET")) == "GET"
    assert Fault(service="s3").fits("s3", "GET", "/")
