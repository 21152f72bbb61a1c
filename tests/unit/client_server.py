"""A real HTTPS server on loopback that answers as it is told, with faults."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from localcloud import tls


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    port: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Behaviour = Callable[["_Handler"], None]


@dataclass
class Server:
    """What came, and what is said to the next requests; the last behaviour stays."""

    url: str
    ca_bundle: Path
    asked: list[Asked] = field(default_factory=list)
    script: deque[Behaviour] = field(default_factory=deque)

    def then(self, *behaviours: Behaviour) -> None:
        self.script = deque(behaviours)

    def next(self) -> Behaviour:
        return self.script.popleft() if len(self.script) > 1 else self.script[0]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    told: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, body, self.client_address[1])
        self.told.asked.append(asked)
        self.told.next()(self)

    def do_GET(self) -> None:
        self.do_POST()

    def say(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not to the test's output."""


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that leave are what is tested."""


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Serve until the block ends."""
    files = tls.ensure(folder / "tls", "us-east-1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    told = Server("", files.bundle)
    server = _Quiet(("127.0.0.1", 0), type("Handler", (_Handler,), {"told": told}))
    # The handshake in the request's thread, so that one client's fault holds up no other.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    told.url = f"https://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(status: int, document: object, **headers: str) -> Behaviour:
    """JSON; `retry_after="1"` becomes the header `retry-after: 1`."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.say(status, body, named)


def predictions(*values: object, version: int = 3) -> Behaviour:
    """As the inference function answers."""
    return answer(200, {"model": "m", "version": version, "predictions": values, "request_id": "r-1"})


def refusal(status: int, code: str, **headers: str) -> Behaviour:
    """As the inference function refuses."""
    return answer(status, {"error": {"code": code, "message": "why"}, "request_id": "r-2"}, **headers)


def reset(handler: _Handler) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True
    handler.connection.close()


def cut_off(handler: _Handler) -> None:
    """End in the middle of the body."""
    handler.say(200, b'{"model": "m", "ver', {"Content-Length": "1000"})
    handler.close_connection = True
    handler.connection.close()


def hang(seconds: float) -> Behaviour:
    """Answer after a time."""

    def behave(handler: _Handler) -> None:
        time.sleep(seconds)
        predictions(1.0)(handler)

    return behave


def drip(handler: _Handler) -> None:
    """A byte every now and then, without end."""
    handler.say(200, b"{", {"Content-Length": "1000"})
    for _ in range(1200):
        time.sleep(0.05)
        handler.wfile.write(b" ")
        handler.wfile.flush()
