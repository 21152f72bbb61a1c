"""HTTP as uvicorn speaks it, with a limit on what a client may make the server wait for and keep.

A request, head and body, must have arrived some seconds after it began, and an answer be taken from the
socket's buffer in that time; a head has a largest size. uvicorn bounds only how long a connection rests
between requests.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from training.serving.telemetry import log

MAX_HEAD_BYTES = 64 * 1024
NOT_HTTP = b"400 Bad Request", b"the request is not valid HTTP"
SLOW = b"408 Request Timeout", b"the request did not arrive in time"
HEAD_TOO_LARGE = b"431 Request Header Fields Too Large", b"the request's head is too large"


def limited(seconds: float) -> type[asyncio.Protocol]:
    """The protocol, for uvicorn's setting `http`."""
    return type("LimitedProtocol", (_Limited,), {"seconds": seconds})


class _Limited(HttpToolsProtocol):  # type: ignore[misc]  # uvicorn is not followed by mypy here
    """A request that arrives in one piece, which is nearly every one, sets no timer."""

    seconds: float

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._receiving = self._in_head = False
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(HEAD_TOO_LARGE)
        if self._timer is None and (self._receiving or self._rests()):
            self._start_timer()

    def on_message_begin(self) -> None:
        self._receiving = self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()
        if self.parser.should_upgrade():
            # The parser takes what follows for another protocol, and no request in it would be answered.
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        self._receiving = False
        self._stop_timer()
        super().on_message_complete()

    def send_400_response(self, _message: str) -> None:
        """In JSON as all refusals, and never as the answer to a request before the broken one."""
        self._refuse(NOT_HTTP)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def _rests(self) -> bool:
        """No request is under way, and uvicorn's own timer of such a connection does not run."""
        return self.timeout_keep_alive_task is None and (self.cycle is None or self.cycle.response_complete)

    def _start_timer(self) -> None:
        if not self.transport.is_closing():
            self._timer = self.loop.call_later(self.seconds, self._time_is_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_up(self) -> None:
        self._timer = None
        if self._waits_for_us():
            self._start_timer()
        elif self._receiving:
            self._refuse(SLOW)
        else:
            self.transport.close()

    def _waits_for_us(self) -> bool:
        """True if the rest of a request is not read because the one before it is not answered yet."""
        cycle: Any = self.cycle
        return bool(self.pipeline) or (
            cycle is not None and not cycle.response_complete and not cycle.more_body
        )

    def _refuse(self, reason: tuple[bytes, bytes]) -> None:
        if self.transport.is_closing():
            return
        status, message = reason
        log("request", status=int(status[:3]), error=message.decode())
        begun = self.cycle is not None and self.cycle.response_started
        # To the request that is arriving, so not while the one before it has no answer.
        if not self._waits_for_us() and (self._in_head or not begun):
            body = b'{"error": "' + message + b'"}'
            self.transport.write(
                b"HTTP/1.1 " + status + b"\r\ncontent-type: application/json\r\ncontent-length: "
                + str(len(body)).encode() + b"\r\nconnection: close\r\n\r\n" + body
            )  # fmt: skip
        self.transport.close()
