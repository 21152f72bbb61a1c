"""One container that serves a model: start, health, requests.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from localcloud.containers.credentials import Source
from localcloud.containers.engine import Container, ContainerSpec, Engine
from localcloud.containers.image import Image
from localcloud.sagemaker.hosting.http import Answer, Pool, Unreachable
from localcloud.sagemaker.hosting.ports import Port

ISOLATION_NOTE = (
    "[local cloud] EnableNetworkIsolation: the container has no credentials; its network is not cut off, "
    "since requests must reach it"
)
PING_SECONDS = 2.0  # what AWS gives a container to answer a ping
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.1
_FOLDERS = ("model", "models", "input", "output")
# What Python, Java, Go and Node say when they cannot have the port.
_PORT_TAKEN = "address already in use"
_STARTS = 3


class ServerFailed(Exception):
    """The server ended, or did not become healthy in time; the message says which."""


class ModelServer:
    """A server process and the connections to it.

    Args:
        engine: starts the container.
        name: for the container's folder.
        image: what runs, with the argument `serve`.
        environment: the model's variables and what reaches the cloud.
        sink: takes the output's lines.
        credentials: of the execution role, None without.
        multi_model: whether the server loads models on demand.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        name: str,
        image: Image,
        environment: Mapping[str, str],
        sink: Callable[[list[str]], None],
        multi_model: bool = False,
        entrypoint: list[str] | None = None,
        credentials: Source | None = None,
    ) -> None:
        self._engine, self._name = engine, name
        self.container: Container = engine.create(name)
        for part in _FOLDERS:
            (self.base / part).mkdir()
        self._image, self._sink, self._entrypoint = image, sink, entrypoint
        self._credentials = credentials
        self._environment = {**environment, **({"SAGEMAKER_MULTI_MODEL": "true"} if multi_model else {})}
        self.pool = Pool(0)
        self.last_line = ""
        self._port: Port | None = None
        self._starts, self._port_taken = 0, False

    @property
    def base(self) -> Path:
        """The container's `/opt/ml`."""
        return self.container.base

    def start(self) -> None:
        """Start the process on a free port of loopback."""
        if self._image.notes:
            self._sink(list(self._image.notes))
        self._listen()

    def _listen(self) -> None:
        # Who was refused the port once may be a server that cannot share it even with what keeps it.
        self._port = Port(kept=self._starts == 0)
        port = self._port.number
        self._starts, self._port_taken = self._starts + 1, False
        self.pool = Pool(port)
        environment = {
            # Servers that read it must not listen on the machine's other interfaces.
            "UVICORN_HOST": "127.0.0.1",
            "SAGEMAKER_SAFE_PORT_RANGE": f"{port}-{port}",
            **self._environment,
            "SAGEMAKER_BIND_TO_PORT": str(port),
        }
        spec = ContainerSpec(
            image=self._image,
            entrypoint=self._entrypoint,
            arguments=["serve"],
            environment=environment,
            hostname="model.aws.local",
            credentials=self._credentials,
        )
        self.container.start(spec, self._write)

    def _write(self, lines: list[str]) -> None:
        self.last_line = next((line for line in reversed(lines) if line.strip()), "") or self.last_line
        self._port_taken |= any(_PORT_TAKEN in line.lower() for line in lines)
        self._sink(lines)

    def healthy(self) -> bool:
        """Whether `/ping` answers 200 in time."""
        try:
            return self.pool.request("GET", "/ping", timeout=PING_SECONDS).status == 200
        except (Unreachable, TimeoutError):
            return False

    def wait_healthy(self, seconds: float, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Wait until the server answers its pings.

        Raises:
            ServerFailed: it ended, or time is up, or `cancelled()`.
        """
        deadline, pause = time.monotonic() + seconds, _FIRST_PAUSE
        while not self.healthy():
            code = self.container.wait(0)
            if code is not None and self._port_taken and self._starts < _STARTS and not cancelled():
                self._start_again()
            elif code is not None:
                raise ServerFailed(f"the container ended with exit code {code}: {self.last_line}")
            if cancelled():
                raise ServerFailed("the start was cancelled")
            if time.monotonic() > deadline:
                raise ServerFailed(f"no answer to /ping within {seconds:g} s: {self.last_line}")
            time.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 1.5)

    def _start_again(self) -> None:
        former, self.container = self.container, self._engine.create(self._name)
        for part in _FOLDERS:
            shutil.move(former.base / part, self.base / part)
        self._let_go()
        former.remove()
        self._listen()

    def _let_go(self) -> None:
        self.pool.close()
        if self._port is not None:
            self._port.release()

    def request(self, method: str, path: str, **options: Any) -> Answer:
        """See `Pool.request`."""
        return self.pool.request(method, path, **options)

    def stop(self, grace: float) -> None:
        """End the process and delete its folder."""
        self.container.stop(grace)
        self._let_go()
        self.container.remove()
