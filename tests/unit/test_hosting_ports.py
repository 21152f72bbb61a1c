"""Model servers get ports that nobody else is given, and another one if they cannot have theirs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import pytest

from localcloud.containers.engine import Engine
from localcloud.containers.image import Image
from localcloud.sagemaker.hosting.ports import Port
from localcloud.sagemaker.hosting.server import ModelServer, ServerFailed

# `REUSE` is what most servers do; `BLOCK` makes the first start find its port in use.
_SERVER = """
import http.server, os, pathlib, socket
port, mark = int(os.environ["SAGEMAKER_BIND_TO_PORT"]), pathlib.Path(os.environ["MARKS"])
number = len(list(mark.iterdir()))
(mark / str(port)).touch()
if os.environ["BLOCK"] == "always" or (os.environ["BLOCK"] == "once" and number == 0):
    other = socket.socket()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    other.bind(("127.0.0.1", port))
    other.listen()
class Server(http.server.HTTPServer):
    allow_reuse_address = os.environ["REUSE"] == "1"
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *arguments):
        pass
Server(("127.0.0.1", port), Handler).serve_forever()
"""


class Process:
    """A container as far as a server needs it."""

    def __init__(self, base: Path) -> None:
        self.base = base
        base.mkdir()

    def start(self, spec: Any, sink: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            env={**os.environ, **spec.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=lambda: sink(list(cast(Any, self.process.stdout))))
        self._reader.start()

    def wait(self, _timeout: float | None = None) -> int | None:
        code = self.process.poll()
        if code is not None:
            self._reader.join()
        return code

    def stop(self, _grace: float) -> int:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        cast(Any, self.process.stdout).close()
        return 0

    def remove(self) -> None:
        self.stop(0)


class Engines:
    def __init__(self, root: Path) -> None:
        self.root, self.made = root, 0

    def create(self, _name: str) -> Process:
        self.made += 1
        return Process(self.root / f"container-{self.made}")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Any]:
    """Start a server of this behaviour; the server, and the ports that were tried."""
    servers: list[ModelServer] = []
    marks = tmp_path / "marks"
    marks.mkdir()

    def start(*, reuse: bool, block: str = "") -> tuple[ModelServer, set[str]]:
        environment = {"REUSE": "1" if reuse else "0", "BLOCK": block, "MARKS": str(marks)}
        server = ModelServer(
            cast(Engine, Engines(tmp_path)),
            name="model",
            image=cast(Image, type("NoImage", (), {"notes": ()})()),
            environment=environment,
            sink=lambda _lines: None,
        )
        servers.append(server)
        (server.base / "model" / "weights").write_text("1")
        server.start()
        server.wait_healthy(20)
        return server, {path.name for path in marks.iterdir()}

    yield start
    for server in servers:
        server.stop(0)


LINUX = sys.platform == "linux"  # elsewhere ports are not kept, only chosen anew


def test_nobody_is_given_a_kept_port() -> None:
    ports = [Port() for _ in range(200)]
    try:
        given = set()
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            given.add(other.getsockname()[1])
        assert len({port.number for port in ports} | given) == 201
        with socket.socket() as rival, pytest.raises(OSError, match="in use") if LINUX else nullcontext():
            rival.bind(("127.0.0.1", ports[0].number))
    finally:
        for port in ports:
            port.release()
    with socket.socket() as later:
        later.bind(("127.0.0.1", ports[0].number))


def test_a_server_listens_on_its_kept_port(serve: Any) -> None:
    _server, tried = serve(reuse=True)
    assert len(tried) == 1


@pytest.mark.parametrize(("reuse", "block"), [(True, "once"), (False, "")])
def test_a_server_that_cannot_have_its_port_gets_another(serve: Any, reuse: bool, block: str) -> None:
    """One whose port is taken, and one that shares it with nobody."""
    server, tried = serve(reuse=reuse, block=block)
    assert len(tried) == (2 if reuse or LINUX else 1)
    assert (server.base / "model" / "weights").read_text() == "1"


def test_in_the_end_it_fails(serve: Any) -> None:
    with pytest.raises(ServerFailed, match="already in use"):
        serve(reuse=True, block="always")
