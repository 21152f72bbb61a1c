"""AWS for the cloud's own services, without a connection: jobs read and write thousands of small objects.

A request over TLS costs this process, which is client and server at once, four times what S3 has to do for
it. What is asked here runs as a request of its own on the server's loop, through the same dispatch: IAM, the
bucket's and the key's policies decide, the audit and CloudTrail note it. Only the signature is not made and
checked again, since the services made the session themselves.
"""

from __future__ import annotations

import asyncio
import contextvars
import uuid
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localcloud.aws import callers
from localcloud.context import Cloud, Credentials

# As long as the clients wait for an answer.
_TIMEOUT_S = 120.0
# Requests in one turn of the loop: a turn costs as much as a third of one, and others wait for its end.
_TOGETHER = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request for an object; for a bucket without a `key`; for another service without both.

    `headers` have lower-case names.
    """

    method: str
    service: str = "s3"
    bucket: str = ""
    key: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def path(self) -> str:
        """Of its URL, decoded."""
        return f"/{self.bucket}/{self.key}" if self.key else f"/{self.bucket}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What S3 answers."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    """The server of this process: its loop, and the file that makes requests fail while it is there."""

    loop: asyncio.AbstractEventLoop
    faults: Path


_servers: dict[str, _Server] = {}


def serve(endpoint_url: str, loop: asyncio.AbstractEventLoop, faults: Path) -> None:
    """Answer requests for the cloud with this address on its loop, in this process."""
    _servers[endpoint_url] = _Server(loop=loop, faults=faults)


def end(endpoint_url: str) -> None:
    """Answer no more."""
    _servers.pop(endpoint_url, None)


def ask(cloud: Cloud, credentials: Credentials, requests: Sequence[Request]) -> list[Answer] | None:
    """Let AWS answer requests of a session; for threads other than the loop's.

    Args:
        cloud: which is asked.
        credentials: of a session that this process has made.
        requests: not so many that their objects would not fit into memory.

    Returns:
        An answer each, refusals too. None where only a connection will do: the server is another process's,
        or faults are to meet the requests.
    """
    server = _servers.get(cloud.endpoint_url)
    if server is None or not server.loop.is_running() or server.faults.exists():
        return None
    work = asyncio.run_coroutine_threadsafe(_answer_all(cloud, credentials, requests), server.loop)
    return work.result(_TIMEOUT_S * max(1, len(requests)))


async def _answer_all(cloud: Cloud, credentials: Credentials, requests: Sequence[Request]) -> list[Answer]:
    loop, answers = asyncio.get_running_loop(), list[Answer]()
    headers = {
        service: _headers(cloud, credentials, service)
        for service in {request.service for request in requests}
    }
    for start in range(0, len(requests), _TOGETHER):
        # A context each, as the server gives each request: what one pins, the next does not see.
        decided: dict[Hashable, Any] = {}
        tasks = [
            loop.create_task(
                _answer(cloud, credentials, headers[request.service], request, decided),
                context=contextvars.Context(),
            )
            for request in requests[start : start + _TOGETHER]
        ]
        answers += await asyncio.gather(*tasks)
    return answers


async def _answer(
    cloud: Cloud,
    credentials: Credentials,
    headers: Mapping[str, str],
    request: Request,
    decided: dict[Hashable, Any],
) -> Answer:
    from ministack import app
    from ministack.core import iam_evaluator, responses

    callers.share(decided)
    responses.set_request_account_id(credentials.access_key_id)
    responses.set_request_region(cloud.region)
    responses.set_request_client_ip("127.0.0.1")
    iam_evaluator.pin_request_origin("127.0.0.1", True)
    status, answered, body = await app._dispatch_service_request(
        request.method,
        request.path,
        {**headers, **request.headers},
        request.body,
        {name: [value] for name, value in request.query.items()},
        str(uuid.uuid4()),
    )
    return Answer(status=status, headers=answered, body=body if isinstance(body, bytes) else body.encode())


def _headers(cloud: Cloud, credentials: Credentials, service: str) -> dict[str, str]:
    moment = datetime.now(UTC)
    scope = f"{credentials.access_key_id}/{moment:%Y%m%d}/{cloud.region}/{service}/aws4_request"
    return {
        "host": "127.0.0.1",
        "user-agent": "sagemaker.amazonaws.com",
        "x-forwarded-proto": "https",
        "x-amz-date": f"{moment:%Y%m%dT%H%M%SZ}",
        "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
        # Says who asks; no signature is checked that was not pinned.
        "authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
    }
