"""What `docker` does on a host: images of ours run as processes, with the host's network and its role.

`login`, `pull`, `run` and `stop`, with the options that are known; any other is refused by name, as Docker
refuses one that it does not know.
https://docs.docker.com/reference/cli/docker/container/run/
"""

from __future__ import annotations

import argparse
import re
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from localcloud.aws.errors import AccessDenied, RoleNotAssumable
from localcloud.aws.inside_client import InsideClient
from localcloud.aws.logs import LogStream
from localcloud.containers.engine import Container, ContainerRefusedError, ContainerSpec, Engine
from localcloud.containers.image import Image, ImageError, ImageStore
from localcloud.containers.registry import pull
from localcloud.context import Cloud, Credentials
from localcloud.ec2.desk import Say

_REFUSED = 125  # as `docker run` exits when the container could not be made
_DEFAULT_STOP_SECONDS = 10.0
_LAST_SECONDS = 2.0  # of a host that shuts down
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


class DockerError(Exception):
    """What Docker's daemon answers instead, and the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a host lends its containers."""

    cloud: Cloud
    engine: Engine
    images: ImageStore
    network: int
    instance_id: str
    hostname: str
    address: str
    role_arn: str
    credentials: Callable[[], Credentials] | None
    environment: dict[str, str]


class Docker:
    """The daemon of one host."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._lock = threading.Lock()
        self._registries: set[str] = set()
        self._pulled: dict[str, Image] = {}
        self._named: dict[str, tuple[Container, float]] = {}
        self._closed = False

    def close(self) -> None:
        """End all containers, as a shutdown does that has no time left; none starts afterwards."""
        with self._lock:
            self._closed = True
            containers = [container for container, _ in self._named.values()]
        threads = [threading.Thread(target=container.stop, args=(_LAST_SECONDS,)) for container in containers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def run(self, arguments: list[str], given: str, say: Say) -> int:
        """One call of `docker`; its exit code."""
        try:
            options = _parser().parse_args(arguments)
            code: int = getattr(self, f"_{options.command}")(options, given, say)
        except (DockerError, ImageError) as error:
            say(err=f"docker: {error}\n")
            return error.code if isinstance(error, DockerError) else 1
        return code

    def _login(self, options: argparse.Namespace, given: str, say: Say) -> int:
        if options.username != "AWS" or not given.strip():
            raise DockerError("login: no user AWS with a token of ECR on standard input was given")
        self._registries.add(options.server)
        say(out="Login Succeeded\n")
        return 0

    def _pull(self, options: argparse.Namespace, _given: str, say: Say) -> int:
        self._image(options.image)
        say(out=f"{options.image}\n")
        return 0

    def _image(self, uri: str) -> Image:
        if uri in self._pulled:
            return self._pulled[uri]
        around = self._around
        if uri.partition("/")[0] not in self._registries or around.credentials is None:
            raise DockerError(f"pull of {uri}: no basic auth credentials; log in to its registry first")
        try:
            ecr: Any = InsideClient(around.cloud, around.credentials(), "ecr")
        except RoleNotAssumable as error:
            raise DockerError(error.message) from error
        image = pull(
            uri, around.images, ecr, account=around.cloud.account, role_arn=around.role_arn, puller="EC2"
        )
        self._pulled[uri] = image
        return image

    def _stop(self, options: argparse.Namespace, _given: str, say: Say) -> int:
        with self._lock:
            found = self._named.get(options.container)
        if found is None:
            raise DockerError(f"Error response from daemon: No such container: {options.container}")
        container, usual = found
        container.stop(usual if options.time is None else options.time)
        say(out=f"{options.container}\n")
        return 0

    def _run(self, options: argparse.Namespace, _given: str, say: Say) -> int:
        if options.network != "host":
            raise DockerError("run: only --network host is served on a host of the local cloud", _REFUSED)
        if options.runtime or options.gpus:
            raise DockerError("unknown or invalid runtime name: hosts here have no GPUs", _REFUSED)
        try:
            image = self._image(options.image)
        except (DockerError, ImageError) as error:
            raise DockerError(str(error), _REFUSED) from error
        name = options.name = options.name or uuid.uuid4().hex[:12]
        if not _NAME.fullmatch(name):
            raise DockerError(
                f"Error response from daemon: Invalid container name ({name}), only {_NAME.pattern}", _REFUSED
            )
        log = self._open_log(options)
        around = self._around
        with self._lock:
            if self._closed:
                raise DockerError("the host shuts down", _REFUSED)
            if name in self._named:
                raise DockerError(f'Conflict. The container name "/{name}" is already in use.', _REFUSED)
            container = around.engine.create(f"{around.instance_id}-{name}")
            self._named[name] = (container, options.stop_timeout)
        spec = ContainerSpec(
            image=image,
            entrypoint=[options.entrypoint] if options.entrypoint else None,
            arguments=options.arguments,
            environment=around.environment | _variables(options.env),
            hostname=around.hostname,
            hosts={around.hostname: around.address},
            network_of=around.network,
            stop_first_only=True,
        )
        if log is not None:
            log.write(image.notes)
        attached: Say = _silent if options.detach else say

        def sink(lines: list[str]) -> None:
            if log is not None:
                log.write(lines)
            attached(out="".join(f"{line}\n" for line in lines))

        container.when_ended(lambda: self._forget(name, container))
        try:
            container.start(spec, sink)
        except ContainerRefusedError as error:
            self._forget(name, container)
            raise DockerError(str(error), _REFUSED) from error
        if self._closed:
            container.stop(0)
        if options.detach:
            say(out=f"{name}\n")
            return 0
        return container.wait() or 0

    def _forget(self, name: str, container: Container) -> None:
        with self._lock:
            self._named.pop(name, None)
        threading.Thread(target=container.remove, daemon=True).start()

    def _open_log(self, options: argparse.Namespace) -> LogStream | None:
        """https://docs.docker.com/engine/logging/drivers/awslogs/"""
        if options.log_driver != "awslogs":
            return None
        told = _variables(options.log_opt)
        around = self._around
        if around.credentials is None or "awslogs-group" not in told:
            raise DockerError("failed to initialize logging driver: no role, or no awslogs-group", _REFUSED)
        stream = LogStream(
            around.cloud, told["awslogs-group"], told.get("awslogs-stream", options.name), around.credentials
        )
        try:
            stream.open(make_group=told.get("awslogs-create-group", "false") == "true")
        except (AccessDenied, RoleNotAssumable) as error:
            text = f"failed to create Cloudwatch log stream: {error.message}"
            raise DockerError(f"failed to initialize logging driver: {text}", _REFUSED) from error
        except LookupError as error:
            raise DockerError(f"failed to initialize logging driver: {error}", _REFUSED) from error
        return stream


def _silent(**_message: Any) -> None:
    """Nobody is attached."""


def _variables(pairs: list[str]) -> dict[str, str]:
    """Of NAME=VALUE; a name alone would take the caller's value, and callers have none to give."""
    return {name: value for name, equals, value in (pair.partition("=") for pair in pairs) if equals}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise DockerError(f"{message}; the local cloud serves login, pull, run and stop", _REFUSED)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="docker", add_help=False, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, dest="command")

    def command(name: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, add_help=False, allow_abbrev=False)

    login = command("login")
    login.add_argument("--username", "-u", default="")
    login.add_argument("--password-stdin", action="store_true", required=True)
    login.add_argument("server")
    pull_ = command("pull")
    pull_.add_argument("--quiet", "-q", action="store_true")
    pull_.add_argument("image")
    stop = command("stop")
    stop.add_argument("--time", "--timeout", "-t", type=float)
    stop.add_argument("container")
    run = command("run")
    run.add_argument("--detach", "-d", action="store_true")
    run.add_argument("--rm", action="store_true")
    for name in ("name", "network", "log-driver", "entrypoint", "runtime", "gpus"):
        run.add_argument(f"--{name}", default="")
    run.add_argument("--stop-timeout", type=float, default=_DEFAULT_STOP_SECONDS)
    # Nothing here has limits of its own.
    for name in ("shm-size", "ulimit"):
        run.add_argument(f"--{name}", action="append")
    for name in ("log-opt", "env"):
        run.add_argument(f"--{name}", action="append", default=[])
    run.add_argument("image")
    run.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser
