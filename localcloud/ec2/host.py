"""One host: a process group in a private folder, with a network, a role and a desk of its own."""

from __future__ import annotations

import logging
import secrets
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcloud.containers.engine import Container, ContainerSpec, Engine
from localcloud.containers.image import Image, ImageStore
from localcloud.context import Cloud, Credentials
from localcloud.ec2 import agent, network, programs, tools
from localcloud.ec2.desk import Desk, Say
from localcloud.ec2.desk_address import DESK, TOKEN_VARIABLE
from localcloud.ec2.docker import Docker, Surroundings
from localcloud.ec2.instance_metadata import InstanceMetadata
from localcloud.ec2.relay import Relay

_log = logging.getLogger(__name__)
_PROGRAMS = ("docker", "shutdown", "systemctl", "dnf")
_FOLDER = "/usr/local/sbin"
_GRACE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """What is known of a host when it starts.

    Args:
        instance_id: for example `i-0123456789abcdef0`.
        address: its private one.
        name: its host name.
        user_data: in base64.
        role_arn: of the instance profile's role; empty without one.
        tokens_required: of its metadata service.
    """

    instance_id: str
    address: str
    name: str
    user_data: str
    role_arn: str
    tokens_required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """What a host tells whoever keeps it; each in a thread of its own.

    Args:
        facts: what its metadata service says now.
        heard: a message of its agent.
        shut_down: it was told to end, from inside.
    """

    facts: Callable[[], Mapping[str, str]]
    heard: Callable[[dict[str, Any]], None]
    shut_down: Callable[[], None]


class Host:
    """Runs from `start` to `end`."""

    def __init__(
        self,
        cloud: Cloud,
        engine: Engine,
        spec: HostSpec,
        credentials: Callable[[], Credentials] | None,
        calls: Calls,
    ) -> None:
        self._cloud, self._engine, self.spec = cloud, engine, spec
        self._credentials, self._calls = credentials, calls
        self._parts: list[Any] = []
        self._desk: Desk | None = None
        self._lock = threading.Lock()
        self._over = False

    def start(self) -> None:
        """Make its network and start its first process.

        Raises:
            NetworkError, ContainerRefusedError: this machine cannot; with the reason.
        """
        with self._lock:
            if not self._over:
                self._start()

    def _start(self) -> None:
        made = network.make(self._engine, self._cloud, self.spec.address)
        self._parts.append(made)
        self._parts.append(Relay(made.cloud, int(self._cloud.endpoint_url.rpartition(":")[2])))
        metadata = InstanceMetadata(
            facts=self._calls.facts,
            role=self.spec.role_arn.rpartition("/")[2],
            credentials=self._credentials,
            tokens_required=self.spec.tokens_required,
        )
        metadata.serve(made.metadata)
        self._parts.append(metadata)
        self._boot(made.network.pid, made.desk)

    def _boot(self, holder: int, listening: Any) -> None:
        token, surroundings = secrets.token_urlsafe(32), self._surroundings()
        docker = Docker(
            Surroundings(
                cloud=self._cloud,
                engine=self._engine,
                images=ImageStore(self._cloud.folder.images),
                network=holder,
                instance_id=self.spec.instance_id,
                hostname=self.spec.name,
                address=self.spec.address,
                role_arn=self.spec.role_arn,
                credentials=self._credentials,
                environment=surroundings,
            )
        )
        self._parts.append(docker)
        shutdown = programs.Shutdown(self._calls.shut_down)
        self._parts.append(_Closing(shutdown.cancel))

        def run(program: str, arguments: list[str], given: str, say: Say) -> int:
            if program == "docker":
                return docker.run(arguments, given, say)
            if program == "shutdown":
                return shutdown.run(arguments, say)
            return (
                programs.systemctl(arguments, say) if program == "systemctl" else programs.dnf(arguments, say)
            )

        self._desk = Desk(token, run=run, hear=self._calls.heard, user_data=self.spec.user_data)
        self._desk.serve(listening)
        self._parts.append(self._desk)
        machine = self._engine.create(self.spec.instance_id)
        self._parts.append(_Closing(lambda: _put_out(machine)))
        machine.when_ended(self._calls.shut_down)
        machine.start(
            ContainerSpec(
                image=_image(machine.base.parent / "image"),
                entrypoint=[sys.executable, "-I", "-S", agent.__file__],
                arguments=[DESK[1:], TOKEN_VARIABLE, shutil.which("bash") or "bash"],
                environment=surroundings | {TOKEN_VARIABLE: token},
                hostname=self.spec.name,
                hosts={self.spec.name: self.spec.address},
                network_of=holder,
            ),
            self._say,
        )

    def _surroundings(self) -> dict[str, str]:
        """Of its programs and of its containers: their credentials are what the metadata service gives."""
        variables = self._cloud.environment(None)
        del variables["AWS_EC2_METADATA_DISABLED"]
        return variables

    def _say(self, lines: list[str]) -> None:
        """What user data print: a machine's console."""
        with (self._cloud.folder.logs / f"{self.spec.instance_id}.log").open("a") as file:
            file.writelines(f"{line}\n" for line in lines)

    def command(self, command_id: str, script: str, seconds: float) -> None:
        """Let the agent run a script; what becomes of it is heard later. ConnectionError without an agent."""
        assert self._desk is not None
        self._desk.tell_agent(command=command_id, script=script, seconds=seconds)

    def end(self) -> None:
        """End all of it; returns when no process is left. Safe to call again."""
        with self._lock:
            over, self._over = self._over, True
        if over:
            return
        # The processes first, then what they talk to.
        for part in reversed(self._parts):
            try:
                part.close()
            except Exception:
                _log.exception("a part of the host %s could not be closed", self.spec.instance_id)


class _Closing:
    def __init__(self, close: Callable[[], None]) -> None:
        self.close = close


def _put_out(machine: Container) -> None:
    machine.stop(_GRACE_SECONDS)
    machine.remove()


def _image(folder: Path) -> Image:
    """A machine image: this machine's programs, and those that only a host has before them."""
    place = folder / "root" / _FOLDER[1:]
    place.mkdir(parents=True)
    for name in _PROGRAMS:
        file = place / name
        words = f'"{sys.executable}" -I -S "{tools.__file__}" "{DESK[1:]}" {TOKEN_VARIABLE} {name}'
        file.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        file.chmod(0o755)
    return Image(
        digest="",
        folder=folder,
        base="",
        environment={"PATH": f"{_FOLDER}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        workdir="/",
        entrypoint=(),
        command=(),
    )
