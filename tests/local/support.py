"""What tests on the local cloud share: names, refusals, statements, small functions."""

from __future__ import annotations

import io
import json
import os
import signal
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.context import Cloud, Credentials

Statements = list[dict[str, Any]]
Actor = Callable[[Statements], Credentials]
Role = Callable[[str, Statements], str]

CODE = "def handler(event, context):\n    return {'ok': True}\n"


def unique(name: str) -> str:
    """A name that no other test uses."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def where_it_hangs(cloud: Cloud) -> str:
    """What the cloud's log says last, with where each of its threads is."""
    os.kill(json.loads(cloud.folder.run_json.read_text())["pid"], signal.SIGUSR1)
    time.sleep(1)
    return cloud.folder.server_log.read_text()[-30_000:]


@contextmanager
def fault(cloud: Cloud, **members: Any) -> Iterator[None]:
    """Requests are refused or held, as `localcloud.faults.Fault` says, until the block ends."""
    cloud.folder.faults.write_text(json.dumps([members]))
    try:
        yield
    finally:
        cloud.folder.faults.unlink()


def code_of(call: Callable[..., object], **request: Any) -> tuple[str, str]:
    """Code and message of the error that a call ends in."""
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def allow(action: str | list[str], resource: str = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def archive(code: str = CODE) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("index.py", code)
    return buffer.getvalue()


def function(name: str, role: str) -> dict[str, Any]:
    return {
        "FunctionName": name,
        "Role": role,
        "Runtime": "python3.11",
        "Handler": "index.handler",
        "Code": {"ZipFile": archive()},
        # Lambda's own three seconds are less than a loaded machine may need to start a process.
        "Timeout": 30,
    }
