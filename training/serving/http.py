"""Requests and responses over bare ASGI."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote, unquote_to_bytes

Scope = Mapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON = "application/json"


class HttpError(Exception):
    """An answer that is not the one hoped for: status and one line for the caller.

    retry_after: seconds after which the caller may try again, for a header that says so.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = " ".join(message.split())  # one line, whatever of the request it quotes
        self.retry_after = retry_after

    def response(self) -> Response:
        headers = () if self.retry_after is None else ((b"retry-after", str(self.retry_after).encode()),)
        return Response(self.status, json.dumps({"error": self.message}).encode(), headers=headers)


class ClientGone(Exception):
    """The caller hung up before the request was complete; there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class Response:
    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(slots=True)
class Request:
    """An HTTP request; `headers` as ASGI has them, names in lower case, read when they are asked for.
    `route`: what it turned out to be asked for, as metrics and log name it."""

    method: str
    path: str
    raw_path: bytes
    headers: Sequence[tuple[bytes, bytes]]
    query: dict[str, str]
    receive: Receive = field(repr=False)
    route: str = "other"

    @classmethod
    def of(cls, scope: Scope, receive: Receive) -> Request:
        raw = scope["query_string"]
        try:
            query = (
                {name: values[-1] for name, values in parse_qs(raw.decode("latin-1")).items()} if raw else {}
            )
        except ValueError:  # more members than it takes
            query = {}
        path = scope["path"]
        raw_path = scope.get("raw_path") or quote(path, errors="replace").encode()
        return cls(scope["method"], path, raw_path, scope["headers"], query, receive)

    def segments(self) -> list[str]:
        """The path's parts, decoded one by one: a name may hold a slash that was sent as %2F."""
        try:
            return [unquote_to_bytes(part).decode() for part in self.raw_path.split(b"/")[1:]]
        except UnicodeDecodeError:
            raise HttpError(400, "the path is not UTF-8 text") from None

    def header(self, name: bytes) -> str:
        """The last value of a header, or an empty text."""
        for found, value in reversed(self.headers):
            if found == name:
                return value.decode("latin-1")
        return ""

    async def body(self, limit: int, hold: Callable[[int], None] = lambda _size: None) -> bytes:
        """The whole body; HttpError 413 as soon as it is known to exceed `limit` bytes.

        hold: told the size of each piece that is kept; may raise instead.
        """
        length = self.header(b"content-length")
        if length.isdigit() and int(length) > limit:
            raise _too_large(limit)
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            hold(len(chunk))
            chunks.append(chunk)
            if not message.get("more_body"):
                return b"".join(chunks)


def json_response(document: Any, status: int = 200) -> Response:
    return Response(status, json.dumps(document).encode())


async def send_response(send: Send, response: Response, request_id: str) -> None:
    headers = [
        (b"content-type", response.content_type.encode("latin-1")),
        (b"content-length", str(len(response.body)).encode()),
        (b"x-amzn-requestid", request_id.encode("latin-1")),
        *response.headers,
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


def _too_large(limit: int) -> HttpError:
    return HttpError(413, f"the body is larger than {limit} bytes")
