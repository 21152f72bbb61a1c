"""A closed-loop HTTP client that costs little: each connection sends again as soon as it has its answer."""

from __future__ import annotations

import select
import socket
import statistics
import time
from dataclasses import dataclass

HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What one stretch of load measured; `client_cpu` is the client's share of its core while it lasted."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    client_cpu: float


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    sent: float
    received: bytes = b""


def post(port: int, path: str, body: bytes, content_type: str = "application/json") -> bytes:
    """A whole request as it goes over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def exchange(port: int, request: bytes) -> bytes:
    """One request on its own connection -> the body of its answer; raises RuntimeError unless it is 200."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        received = b""
        while (body := _body(received)) is None:
            chunk = connection.recv(65536)
            if not chunk:
                raise RuntimeError(f"the server hung up after {received[:200]!r}")
            received += chunk
    return body


def load(port: int, request: bytes, *, connections: int, seconds: float) -> Window:
    """Keep `connections` requests in flight for `seconds`; raises RuntimeError for any answer but 200."""
    poll = select.epoll()
    open_: dict[int, _Connection] = {}
    for _ in range(connections):
        made = socket.create_connection(("127.0.0.1", port), timeout=30)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        open_[made.fileno()] = _Connection(made, 0.0)
        poll.register(made.fileno(), select.EPOLLIN)
    latencies: list[float] = []
    clock = time.perf_counter
    cpu, started = time.process_time(), clock()
    end = started + seconds
    try:
        for connection in open_.values():
            connection.sent = clock()
            connection.socket.sendall(request)
        waiting = len(open_)
        while waiting:
            for number, _event in poll.poll():
                connection = open_[number]
                received = connection.received + connection.socket.recv(65536)
                if _body(received) is None:
                    if received == connection.received:
                        raise RuntimeError("the server hung up")
                    connection.received = received
                    continue
                connection.received = b""
                now = clock()
                latencies.append(now - connection.sent)
                if now < end:
                    connection.sent = now
                    connection.socket.sendall(request)
                else:
                    waiting -= 1
        wall = clock() - started
        busy = (time.process_time() - cpu) / wall
    finally:
        poll.close()
        for connection in open_.values():
            connection.socket.close()
    hundredths = statistics.quantiles(latencies, n=100)
    return Window(
        requests=len(latencies),
        per_second=len(latencies) / wall,
        p50_ms=hundredths[49] * 1000,
        p99_ms=hundredths[98] * 1000,
        client_cpu=busy,
    )


def _body(received: bytes) -> bytes | None:
    """The body of a complete answer, None while it is incomplete."""
    head, found, body = received.partition(HEAD_END)
    if not found:
        return None
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"the server answered {received[:300]!r}")
    lower = head.lower()
    at = lower.index(b"content-length:") + 15
    length = int(lower[at:].partition(b"\r")[0])
    return body if len(body) >= length else None
