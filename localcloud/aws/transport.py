"""The services' own calls of the cloud, handed to its application without a connection.

Jobs and pipelines call AWS with clients and the sessions of their roles, and the server that answers is this
very process: TLS and HTTP on both ends take half of such a call's time. The request stays what a client would
have sent, signature and all, and meets faults and IAM as any other.
"""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as Late
from io import BytesIO
from typing import Any
from urllib.parse import unquote, urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError, HTTPClientError, ReadTimeoutError
from botocore.httpsession import URLLib3Session
from urllib3 import HTTPHeaderDict, HTTPResponse

from localcloud.faults import Application

_TIMEOUT_S = 120.0


class Transport:
    """Takes the place of botocore's HTTP session.

    Args:
        loop: on which the application runs.
        application: the server's.
        ca_bundle: for the calls that need a connection all the same: streams, and calls of the loop's thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, application: Application, ca_bundle: str) -> None:
        self._loop, self._application = loop, application
        self._connected = URLLib3Session(verify=ca_bundle, max_pool_connections=32, timeout=_TIMEOUT_S)

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        """Send a signed request; the answer."""
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        if not isinstance(body, bytes | bytearray) or not self._loop.is_running() or self._is_own_thread():
            return self._connected.send(request)
        work = asyncio.run_coroutine_threadsafe(self._answer(request, bytes(body)), self._loop)
        try:
            status, headers, content = work.result(_TIMEOUT_S)
        except Late as error:
            work.cancel()
            raise ReadTimeoutError(endpoint_url=request.url) from error
        except CancelledError as error:
            raise ConnectionClosedError(endpoint_url=request.url) from error
        except Exception as error:
            # As whatever breaks a connection: clients try again, and callers know it.
            raise HTTPClientError(error=error) from error
        raw = HTTPResponse(
            BytesIO(content),
            headers=headers,
            status=status,
            preload_content=False,
            request_method=request.method,  # what HEAD tells the length of does not come
        )
        return AWSResponse(request.url, status, headers, raw)

    def close(self) -> None:
        """Let go of the connections."""
        self._connected.close()

    def _is_own_thread(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    async def _answer(self, request: AWSPreparedRequest, body: bytes) -> tuple[int, HTTPHeaderDict, bytes]:
        status, headers, parts = 0, HTTPHeaderDict(), list[bytes]()
        waiting: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            # After the body nothing comes: the caller waits for the answer.
            return waiting.pop() if waiting else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                for name, value in message["headers"]:
                    headers.add(name.decode("latin-1"), value.decode("latin-1"))
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))

        # A context of its own, as each request of a connection has.
        await asyncio.get_running_loop().create_task(
            _run(self._application, _scope(request), receive, send), context=contextvars.Context()
        )
        # No copy of an archive that comes in one part, as MiniStack sends it.
        return status, headers, parts[0] if len(parts) == 1 else b"".join(parts)


async def _run(application: Application, scope: Any, receive: Any, send: Any) -> None:
    await application(scope, receive, send)


def _scope(request: AWSPreparedRequest) -> dict[str, Any]:
    url = urlsplit(request.url)
    headers = [
        (str(name).lower().encode("latin-1"), _bytes(value)) for name, value in request.headers.items()
    ]
    if not any(name == b"host" for name, _ in headers):
        headers.insert(0, (b"host", url.netloc.encode()))
    if request.body and not any(name == b"content-length" for name, _ in headers):
        headers.append((b"content-length", str(len(_bytes(request.body))).encode()))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "https",
        "path": unquote(url.path) or "/",
        "raw_path": (url.path or "/").encode("ascii"),
        "query_string": url.query.encode("ascii"),
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 0),
        "server": (url.hostname, url.port),
        "extensions": {},
        "state": {},
    }


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
