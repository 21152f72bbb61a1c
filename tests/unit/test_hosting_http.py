"""The connection pool, against servers that close, stall and break off."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from localcloud.sagemaker.hosting.http import Pool, Unreachable

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Who: me\r\n\r\nhi"


@contextmanager
def server(talk: Callable[[socket.socket, int], None]) -> Iterator[int]:
    """Calls `talk(connection, number)` for each connection; its end closes the connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        for number in range(100):
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                talk(connection, number)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def test_connections_are_kept() -> None:
    seen: list[int] = []

    def talk(connection: socket.socket, number: int) -> None:
        received = b""
        # Head and body may arrive apart.
        while more := connection.recv(65536):
            received += more
            if received.endswith(b"\r\n\r\n1"):
                received = b""
                seen.append(number)
                connection.sendall(OK)

    with server(talk) as port:
        pool = Pool(port)
        for _ in range(3):
            answer = pool.request("POST", "/x", body=b"1", timeout=60)
            assert (answer.status, answer.body, answer.headers["x-who"]) == (200, b"hi", "me")
        pool.close()
    assert seen == [0, 0, 0]


def test_an_idle_connection_that_was_closed_is_replaced() -> None:
    def talk(connection: socket.socket, _: int) -> None:
        connection.recv(65536)
        connection.sendall(OK)  # and close, without having said so

    with server(talk) as port:
        pool = Pool(port)
        assert [pool.request("GET", "/", timeout=60).status for _ in range(4)] == [200] * 4


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b"nonsense\r\n\r\n"]
)
def test_no_whole_answer_is_unreachable(said: bytes) -> None:
    def talk(connection: socket.socket, _: int) -> None:
        connection.recv(65536)
        connection.sendall(said)

    with server(talk) as port, pytest.raises(Unreachable):
        Pool(port).request("GET", "/", timeout=60)


def test_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable):
            Pool(probe.getsockname()[1]).request("GET", "/", timeout=60)


def test_a_stalled_server_times_out() -> None:
    release = threading.Event()

    def talk(connection: socket.socket, _: int) -> None:
        connection.recv(65536)
        release.wait(60)

    with server(talk) as port:
        with pytest.raises(TimeoutError):
            Pool(port).request("GET", "/", timeout=0.1)
        release.set()
