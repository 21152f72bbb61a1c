"""What is sent to the model server that nobody should send, as bytes on a socket, and what must come back."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

DEADLINE_S = 60.0
# No room for one more model, which only who loads one is told.
EXCUSED, LOADS = 507, b"POST /models"
# What the server says before it reads on, if it was asked to wait.
CONTINUE = b"HTTP/1.1 100 "


@dataclass(frozen=True, repr=False)
class Case:
    """`pieces` are sent one after the other, `pause` seconds apart.

    after: `read` the answers until the server closes; `half` close the sending side first; `close` without
    reading, at once; `reset` the connection.
    must_answer: how many answers have to come, at least.
    """

    pieces: tuple[bytes, ...]
    after: str = "read"
    pause: float = 0.0
    must_answer: int = 0
    heads_only: bool = False

    def __repr__(self) -> str:
        shown = b"|".join(piece[:1500] for piece in self.pieces)[:2500]
        return f"Case({shown!r}, {self.after}, answers {self.must_answer})"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes


def talk(port: int, case: Case, seconds: float = DEADLINE_S) -> list[Answer]:
    """Raises TimeoutError if the server neither answers nor closes in time."""
    received = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in case.pieces:
                connection.sendall(piece)
                if case.pause:
                    time.sleep(case.pause)
            if case.after == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if case.after in ("reset", "close"):
                return []
            if case.after == "half":
                connection.shutdown(socket.SHUT_WR)
        except TimeoutError:
            raise
        except OSError:
            pass  # it has answered, and does not want the rest: what came is read below
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except TimeoutError:
            raise
        except OSError:
            pass  # closed with bytes unread; what came before counts
    return list(answers(bytes(received), heads_only=case.heads_only))


def answers(received: bytes, *, heads_only: bool) -> Iterator[Answer]:
    """Takes a stream of answers apart; raises ValueError where it is none."""
    while received:
        head, found, received = received.partition(b"\r\n\r\n")
        if not found:
            raise ValueError(f"not an answer: {head[:200]!r}")
        if head.startswith(CONTINUE):
            continue
        first, *lines = head.split(b"\r\n")
        version, status, _reason = first.split(b" ", 2)
        if version != b"HTTP/1.1":
            raise ValueError(f"not an answer: {first[:200]!r}")
        headers = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}
        length = int(headers[b"content-length"])
        if heads_only and (not received or received.startswith(b"HTTP/1.1 ")):
            length = 0
        body, received = received[:length], received[length:]
        yield Answer(int(status), headers, body)


def complaint(case: Case, found: list[Answer]) -> str | None:
    """What is wrong with the answers, or None."""
    if len(found) < case.must_answer:
        return f"{len(found)} answers instead of {case.must_answer}"
    for answer in found:
        excused = answer.status == EXCUSED and any(LOADS in piece for piece in case.pieces)
        if answer.status >= 500 and not excused:
            return f"{answer.status}: {answer.body[:300]!r}"
        if answer.status < 400 or case.heads_only:
            continue
        message = json.loads(answer.body)["error"]
        if not isinstance(message, str) or not message.strip() or "\n" in message or len(message) > 2000:
            return f"{answer.status} with the message {message!r}"
    return None
