"""What tests on the local cloud share: names, refusals, statements, small functions."""

from __future__ import annotations

import io
import json
import os
import signal
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from localcloud.context import Cloud, Credentials
from localcloud.folder import StateFolder

Statements = list[dict[str, Any]]
Actor = Callable[[Statements], Credentials]
Role = Callable[[str, Statements], str]

_AUDIT_WITHIN_S = 120.0
# For whatever a test waits for: a machine of CI is slower than any. A bound, not a measure.
PATIENCE = 240.0

CODE = "def handler(event, context):\n    return {'ok': True}\n"


def unique(name: str) -> str:
    """A name that no other test uses."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def notify(folder: StateFolder, seconds: Mapping[str, float]) -> None:
    """Have Spot take instances back, after so many seconds of notice; see `localcloud.ec2.interruptions`."""
    whole = folder.interruptions.with_suffix(".new")
    whole.write_text(json.dumps(dict(seconds)))
    whole.replace(folder.interruptions)


@contextmanager
def noticed(folder: StateFolder, seconds: Mapping[str, float]) -> Iterator[None]:
    """The notice until the block ends: the next test begins without it."""
    notify(folder, seconds)
    try:
        yield
    finally:
        folder.interruptions.unlink()


def audited(path: Path, iam: Any) -> list[dict[str, Any]]:
    """The audit's records of all that was decided before this call.

    The cloud writes them a while later, in order: one more decision, on a name of its own, tells when all of
    them are there.

    Args:
        path: of the audit.
        iam: client of somebody who may read roles.
    """
    mark = unique("audited-until")
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName=mark)
    deadline = time.monotonic() + _AUDIT_WITHIN_S
    while mark not in (text := path.read_text()):
        assert time.monotonic() < deadline, f"the audit does not get to {mark}"
        time.sleep(0.05)
    # What is being written may end in the middle of a line.
    return [json.loads(line) for line in text[: text.index(mark)].split("\n")[:-1]]


def until(reached: Callable[[], Any], what: Callable[[], object] = str, seconds: float = PATIENCE) -> Any:
    """What the condition comes to, once that is true; else `what` is shown."""
    deadline = time.monotonic() + seconds
    while not (found := reached()):
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)
    return found


@contextmanager
def fault(cloud: Cloud, **members: Any) -> Iterator[None]:
    """A fault until the block ends, see `localcloud.faults`: a state that would pass stays."""
    file = cloud.folder.faults
    # At once: the cloud does not read it again before it changes.
    whole = file.with_suffix(".new")
    whole.write_text(json.dumps([members]))
    whole.replace(file)
    try:
        yield
    finally:
        file.unlink()


def where_it_hangs(cloud: Cloud) -> str:
    """What the cloud's log says last, with where each of its threads is."""
    os.kill(json.loads(cloud.folder.run_json.read_text())["pid"], signal.SIGUSR1)
    time.sleep(1)
    return cloud.folder.server_log.read_text()[-30_000:]


@contextmanager
def unscaled(session: boto3.Session, endpoint: str) -> Iterator[None]:
    """The endpoint has as many instances as the test says: target tracking changes nothing until the end."""
    scaling = session.client("application-autoscaling")
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }

    def suspend(state: bool) -> None:
        sides = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended")
        scaling.register_scalable_target(**target, SuspendedState=dict.fromkeys(sides, state))

    suspend(True)
    try:
        yield
    finally:
        suspend(False)


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
    }
