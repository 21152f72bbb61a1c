"""AWS that fails for a while: requests to a service are refused, or held, as `faults.json` says.

The file lies in the state folder and counts from the next request on; take it away and all is well again. It
holds a list of faults, the first that fits a request counts:

    [{"service": "s3", "status": 503, "code": "SlowDown"}]
    [{"service": "dynamodb", "operation": "GetItem", "status": 400, "code": "Throttling", "share": 0.5}]
    [{"service": "s3", "operation": "PUT", "path": "/models/multi/", "hold_s": 30, "when": "after"}]
    [{"service": "ecs-agent", "path": "i-0123456789abcdef0"}]

The last one is of no request: ECS does not hear the agents of these instances, see `localcloud.ecs.agents`.

The answers have the form of AWS's own. Whatever signs its requests is met: callers, functions, jobs, the
endpoint's download of a model. https://docs.aws.amazon.com/fis/latest/userguide/fis-actions-reference.html is
AWS's way to do the same.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote
from xml.sax.saxutils import escape

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_log = logging.getLogger(__name__)
# How often a request that is held looks whether it still is.
_LOOK_S = 0.1
_SCOPE = re.compile(rb"Credential=[^/,]+/\d{8}/[^/,]+/(?P<service>[^/,]+)/aws4_request")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to some requests.

    Args:
        service: that the request is signed for, for example `s3`, `dynamodb`, `sagemaker`.
        operation: of it, as in `X-Amz-Target`, or the HTTP method for S3; all of them by default.
        path: part of the request's path.
        share: of these requests, 0 to 1.
        when: `instead` of being carried out it is refused; or it is held `before` or `after` that.
        hold_s: how long it is held, seconds; at most, since a fault that is taken away lets go.
        status, code: of the refusal.
    """

    service: str
    operation: str = ""
    path: str = ""
    share: float = 1.0
    when: Literal["instead", "before", "after"] = "instead"
    hold_s: float = 0.0
    status: int = 503
    code: str = "ServiceUnavailable"

    def fits(self, service: str, operation: str, path: str) -> bool:
        """Whether a request is of those that it is about."""
        return self.service == service and self.operation in ("", operation) and self.path in path


class Faults:
    """Stands before an application.

    Args:
        application: what answers otherwise.
        file: where the faults stand; none while it is missing.
    """

    def __init__(self, application: Application, file: Path) -> None:
        self._application, self._current = application, FaultFile(file).read

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        fault = self._fault(scope) if scope["type"] == "http" else None
        if fault is None:
            await self._application(scope, receive, send)
            return
        said = f"fault: {fault.service} {operation_of(scope)} {scope['path']}"
        if fault.when == "after":
            await self._application(scope, receive, self._held(send, fault, said))
            return
        _log.warning(said)
        await self._hold(fault)
        if fault.when == "before":
            await self._application(scope, receive, send)
        else:
            await _refuse(fault, receive, send)

    def _fault(self, scope: Message) -> Fault | None:
        faults = self._current()
        service = service_of(scope) if faults else None
        if service is None:
            return None
        operation, path = operation_of(scope), str(scope["path"])
        for fault in faults:
            if fault.fits(service, operation, path):
                return fault if random.random() < fault.share else None  # noqa: S311 - hides nothing
        return None

    def _held(self, send: Send, fault: Fault, said: str) -> Send:
        async def later(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Only now: who reads it may count on the request having been carried out.
                _log.warning(said)
                await self._hold(fault)
            await send(message)

        return later

    async def _hold(self, fault: Fault) -> None:
        until = time.monotonic() + fault.hold_s
        while (left := until - time.monotonic()) > 0 and fault in self._current():
            await asyncio.sleep(min(left, _LOOK_S))


class FaultFile:
    """The list of faults, read when it changes; empty while the file is missing or is none."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read: tuple[tuple[int, ...], list[Fault]] = ((), [])

    def read(self) -> list[Fault]:
        """As they are now."""
        try:
            status = self._file.stat()
            # Not the time alone: half of the file may have been read with that of all of it.
            changed = status.st_mtime_ns, status.st_size, status.st_ino
            if changed == self._read[0]:
                return self._read[1]
            text = self._file.read_text()
        except FileNotFoundError:
            return []
        try:
            self._read = changed, [Fault(**entry) for entry in json.loads(text)]
        except (ValueError, TypeError) as error:
            _log.error("%s is no list of faults: %s", self._file, error)
            self._read = changed, []
        return self._read[1]


def service_of(scope: Message) -> str | None:
    """The service that a request is signed for, in its header or its URL."""
    signed = _header(scope, b"authorization") + unquote(scope.get("query_string", b"").decode()).encode()
    found = _SCOPE.search(signed)
    return found["service"].decode() if found else None


def operation_of(scope: Message) -> str:
    """`PutItem` of `X-Amz-Target: DynamoDB_20120810.PutItem`, else the method."""
    target = _header(scope, b"x-amz-target").decode("latin-1")
    return target.rpartition(".")[2] or str(scope["method"])


def _header(scope: Message, name: bytes) -> bytes:
    return next((bytes(value) for key, value in scope["headers"] if key.lower() == name), b"")


async def _refuse(fault: Fault, receive: Receive, send: Send) -> None:
    # All of it first: a client that still sends would take the answer for a broken connection.
    while True:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            break
    headers, body = _error(fault)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": fault.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _error(fault: Fault) -> tuple[Mapping[str, str], bytes]:
    text = "A fault of the local cloud, by its faults.json."
    if fault.service == "s3":
        content = f"<Error><Code>{escape(fault.code)}</Code><Message>{text}</Message></Error>".encode()
        return {"content-type": "application/xml", "content-length": str(len(content))}, content
    content = json.dumps({"__type": fault.code, "message": text}).encode()
    return {
        "content-type": "application/x-amz-json-1.1",
        "x-amzn-errortype": fault.code,
        "content-length": str(len(content)),
    }, content
