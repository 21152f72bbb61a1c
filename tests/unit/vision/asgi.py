"""Requests to an ASGI application, without a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    status: int
    content_type: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Call = Callable[..., Answer]


async def ask(
    app: Any, method: str, path: str, body: bytes = b"", content_type: str = "", accept: str = ""
) -> Answer:
    """One request to an application."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", content_type.encode()), (b"accept", accept.encode())]
    scope = {"type": "http", "method": method, "path": path, "headers": headers, "query_string": b""}
    await app(scope, receive, send)
    kinds = dict(sent[0]["headers"])
    return Answer(sent[0]["status"], kinds[b"content-type"].decode(), sent[1]["body"])


def requests_to(app: Any) -> Call:
    def request(*arguments: Any, **members: Any) -> Answer:
        return asyncio.run(ask(app, *arguments, **members))

    return request
