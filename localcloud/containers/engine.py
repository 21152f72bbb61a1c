"""Starts containers as process groups."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from localcloud.containers import launcher
from localcloud.containers.credentials import CredentialServer, Source
from localcloud.containers.image import Image
from localcloud.containers.network import Network, hold
from localcloud.containers.output import LinePump
from localcloud.containers.paths import ML_FOLDER, Paths, inherited, short_temporary, temporary_mounts
from localcloud.containers.processes import CONTAINER_VARIABLE, end_strays, signal_group
from localcloud.context import RUN_ID_VARIABLE, Cloud

LineSink = Callable[[list[str]], None]


class ContainerRefusedError(Exception):
    """The container cannot run on this machine; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """What to run.

    Args:
        image: from the image store.
        entrypoint: replaces the image's ENTRYPOINT and CMD; None keeps them.
        arguments: replace the image's CMD.
        environment: added to the image's ENV.
        hostname: the container's host name, where the machine allows it to have one.
        hosts: names and loopback addresses of all hosts of the job, for `/etc/hosts`; one name may have
            several.
        isolate_network: own network with nothing but a loopback interface.
        network_of: process of the `Network` that this container shares with others.
        credentials: what the container may ask for while it runs; None for a container without.
        stop_first_only: SIGTERM goes to the first process alone, as Docker sends it, not to its children too.
    """

    image: Image
    entrypoint: Sequence[str] | None = None
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    hostname: str = "algo-1"
    hosts: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    isolate_network: bool = False
    network_of: int | None = None
    credentials: Source | None = None
    stop_first_only: bool = False


class Container:
    """One container: its folder from the start, its process once started.

    `base` is its `/opt/ml`. Not started twice; `remove` ends what still runs and deletes the folder.
    `started` and `ended` are those of the main process, in epoch seconds.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine, self._folder = engine, folder
        self.base = folder / "ml"
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._code = 0
        self._first_only = False
        self.bound = engine.isolates
        self.started: float | None = None
        self.ended: float | None = None

    @property
    def pid(self) -> int | None:
        """Process id, None before the start."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """Whether the main process is alive."""
        return self._process is not None and not self._ended.is_set()

    def inside(self, path: str) -> str:
        """A path below `/opt/ml` as the container's process sees it."""
        return path if self.bound else str(self.base) + path.removeprefix(ML_FOLDER)

    def outside(self, path: str) -> Path:
        """Where a path of the container lies on this machine; ContainerRefusedError outside `/opt/ml`."""
        resolved = os.path.normpath(path)
        if resolved != ML_FOLDER and not resolved.startswith(ML_FOLDER + "/"):
            raise ContainerRefusedError(f"the path {path} must lie below {ML_FOLDER}")
        return self.base / resolved[len(ML_FOLDER) :].lstrip("/")

    def start(self, spec: ContainerSpec, sink: LineSink) -> None:
        """Start the process; lines of its output go to `sink`, in order, several at a time."""
        self._first_only = spec.stop_first_only
        self._process = self._engine.spawn(self, self._folder, spec)
        self.started = time.time()
        assert self._process.stdout is not None
        pump = LinePump(self._process.stdout, sink)
        threading.Thread(target=self._reap, args=(pump,), daemon=True, name="container-wait").start()

    def _reap(self, pump: LinePump) -> None:
        assert self._process is not None
        code = self._process.wait()
        self.ended = time.time()
        # Whoever outlives the main process would hold the pipe open and stay behind.
        signal_group(self._process.pid, signal.SIGKILL)
        if not (self.bound and self._engine.separates_processes):  # a process namespace ends with its first
            end_strays(str(self._folder))
        pump.finish()
        self._code = 128 - code if code < 0 else code
        self._engine.ended(self)
        self._ended.set()
        for callback in self._callbacks:
            callback()

    def when_ended(self, callback: Callable[[], None]) -> None:
        """Call this, in another thread, once the exit code is known. To be said before the start."""
        self._callbacks.append(callback)

    def wait(self, timeout: float | None = None) -> int | None:
        """Exit code (128 + signal if killed by one) once all output is delivered; None on time-out."""
        return self._code if self._ended.wait(timeout) else None

    def stop(self, grace: float) -> int:
        """SIGTERM to the whole group, SIGKILL after `grace` seconds, at once without any; the exit code."""
        if self._process is None:
            return 0
        if not self._ended.is_set():
            # Without grace no SIGTERM: the program may obey it before the SIGKILL, and end otherwise.
            if grace > 0 and self._first_only:
                self._process.terminate()
            elif grace > 0:
                signal_group(self._process.pid, signal.SIGTERM)
            if not self._ended.wait(grace):
                signal_group(self._process.pid, signal.SIGKILL)
        self._ended.wait()
        return self._code

    def name_hosts(self, hosts: Mapping[str, str | Sequence[str]]) -> None:
        """Change what `/etc/hosts` says; only for a container that was started with `hosts`."""
        # In place: the container has this very file mounted.
        with suppress(FileNotFoundError), (self._folder / "hosts").open("r+") as file:
            file.write(_hosts_file(hosts))
            file.truncate()

    def remove(self) -> None:
        """End the process if it runs, delete the folder."""
        self.stop(0)
        # In a process: between thousands of calls of the system, threads of this one wait for one another.
        subprocess.run(["rm", "-rf", "--", self._folder], check=False, capture_output=True)


class Engine:
    """All containers of one cloud.

    Args:
        folder: `StateFolder.containers`.
        cloud: whose state containers must not see, as far as the machine allows, and whose run they carry
            the mark of.

    Example:
        >>> container = engine.create("job-algo-1")
        >>> container.start(ContainerSpec(image=image, arguments=["train"]), print)
        >>> container.wait()
        0
    """

    def __init__(self, folder: Path, cloud: Cloud | None = None) -> None:
        self._folder = folder.resolve()
        self._cloud = cloud
        self._containers: set[Container] = set()
        self._lock = threading.Lock()
        self._closed = False
        self.credentials = CredentialServer()
        # PR_SET_PDEATHSIG fires when the *thread* that forked ends, so one thread forks for all and stays.
        self._forker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="container-fork")

    @cached_property
    def isolates(self) -> bool:
        """Whether this machine gives containers namespaces, and with them a real `/opt/ml`."""
        return self.separates_processes or _probe(processes=False)

    @cached_property
    def separates_processes(self) -> bool:
        """Whether it gives them a process namespace too: no process sees, or outlives, its container."""
        return _probe(processes=True)

    def create(self, name: str) -> Container:
        """An empty container folder, to be filled before the start. `name` is for people who look there."""
        folder = self._folder / f"{name[:80]}-{uuid.uuid4().hex[:8]}"
        for part in ("ml", "tmp", "home", "scratch", "work"):
            (folder / part).mkdir(parents=True)
        return Container(self, folder)

    def spawn(self, container: Container, folder: Path, spec: ContainerSpec) -> subprocess.Popen[bytes]:
        """Fork the container's process (for `Container.start`)."""
        image, base = spec.image, container.base
        paths = Paths(image, base, bound=self.isolates)
        if spec.isolate_network and not self.isolates:
            raise ContainerRefusedError(
                "network isolation needs Linux namespaces, which this machine does not allow; "
                "turn EnableNetworkIsolation off"
            )
        command = command_of(image, spec, paths)
        if not self.isolates:
            _refuse_hard_coded(command, base)
        preset = image.root / ML_FOLDER[1:]
        if preset.is_dir():
            shutil.copytree(preset, base, dirs_exist_ok=True)
        hosts = None
        if spec.hosts:
            hosts = folder / "hosts"
            hosts.write_text(_hosts_file(spec.hosts))
        environment = {
            **inherited(),
            "HOME": str(folder / "home"),
            "TMPDIR": short_temporary(folder, bound=self.isolates),
            "PYTHONUNBUFFERED": "1",
            "HOSTNAME": spec.hostname,
            **paths.environment(image.environment),
            "PATH": paths.search_path(),
            "SAGEMAKER_BASE_DIR": paths.ml,
            **(self.credentials.offer(folder.name, spec.credentials) if spec.credentials else {}),
            **spec.environment,
            **self._marks(folder),
        }
        folders = {top: str(image.root) + top for top in paths.folders()}
        private = [[str(folder / part), "rw"] for part in ("home", "tmp", "work")]
        kept = [*private, [str(image.root), "ro"]]
        root = str(folder / "work") if self.isolates and image.workdir == "/" else ""
        if bundle := self._own_bundle(folder, environment):
            kept.append([bundle, "ro"])
        settings = _settings(
            folder, command, folders, f"{root}/root" if root else paths.workdir(), spec.hostname
        ) | {
            "root": root,
            "hosts_file": str(hosts) if hosts else "",
            "namespaces": self.isolates,
            "processes": self.isolates and self.separates_processes,
            "isolate_network": spec.isolate_network,
            "network_of": spec.network_of,
            "stop_first_only": spec.stop_first_only,
            "hidden": str(self._cloud.folder.root.resolve()) if self._cloud else "",
            "kept": kept if self._cloud else [],
        }
        return self._forker.submit(self._fork, container, settings, environment).result()

    def _marks(self, folder: Path) -> dict[str, str]:
        """By these a killed cloud's processes are found, so nothing of a request may replace them."""
        marks = {CONTAINER_VARIABLE: str(folder)}
        if self._cloud is not None and self._cloud.run_id:
            marks[RUN_ID_VARIABLE] = self._cloud.run_id
        return marks

    def _own_bundle(self, folder: Path, environment: dict[str, str]) -> str | None:
        """Give the container a copy of the authorities' certificates: the cloud's own lie beside its keys."""
        if self._cloud is None or str(self._cloud.ca_bundle) not in environment.values():
            return None
        copy = folder / "ca.pem"
        shutil.copyfile(self._cloud.ca_bundle, copy)
        for name, value in environment.items():
            if value == str(self._cloud.ca_bundle):
                environment[name] = str(copy)
        return str(copy)

    def _fork(
        self, container: Container, settings: Mapping[str, object], environment: dict[str, str]
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise ContainerRefusedError("the local cloud is stopping")
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", launcher.__file__, json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
            self._containers.add(container)
            return process

    def network(self) -> Network:
        """A network for isolated containers that are to reach one another; closed by the caller."""
        marks = (
            {RUN_ID_VARIABLE: self._cloud.run_id} if self._cloud is not None and self._cloud.run_id else {}
        )
        return self._forker.submit(hold, marks).result()

    def ended(self, container: Container) -> None:
        """A container's process has been reaped."""
        self.credentials.withdraw(container.base.parent.name)
        with self._lock:
            self._containers.discard(container)

    def close(self, grace: float = 2.0) -> None:
        """Stop every container, all at once; nothing starts afterwards."""
        with self._lock:
            self._closed = True
            running = list(self._containers)
        if running:
            with ThreadPoolExecutor(max_workers=len(running)) as pool:
                list(pool.map(lambda container: container.stop(grace), running))
        self._forker.shutdown()
        self.credentials.close()


def command_of(image: Image, spec: ContainerSpec, paths: Paths) -> list[str]:
    """ENTRYPOINT, CMD and what replaces them, as Docker combines them."""
    if spec.entrypoint is not None:
        return paths.command(spec.entrypoint, spec.arguments)
    if image.entrypoint[:2] == ("/bin/sh", "-c"):
        return paths.command(image.entrypoint, ())
    command = paths.command(image.entrypoint, spec.arguments or image.command)
    if not command:
        raise ContainerRefusedError("the image has neither ENTRYPOINT nor CMD; add one to its Dockerfile")
    return command


def _hosts_file(hosts: Mapping[str, str | Sequence[str]]) -> str:
    lines = ["127.0.0.1 localhost"]
    for name, found in hosts.items():
        lines += [f"{address} {name}" for address in ([found] if isinstance(found, str) else found)]
    return "\n".join(lines) + "\n"


def _settings(
    folder: Path, command: list[str], image_folders: Mapping[str, str], workdir: str, hostname: str
) -> dict[str, object]:
    """What the launcher needs; `image_folders` are sources by target."""
    folders = [
        [source, target, str(folder / "changes" / str(index))]
        for index, (target, source) in enumerate(sorted(image_folders.items()))
    ]
    return {
        "command": command,
        "workdir": workdir,
        "hostname": hostname,
        "hosts_file": "",
        "folders": [*folders, [str(folder / "ml"), ML_FOLDER, ""], *temporary_mounts(folder)],
        "root": "",
        "scratch": str(folder / "scratch"),
        "namespaces": True,
        "processes": True,
        "isolate_network": True,
        "network_of": None,
        "stop_first_only": False,
        "hidden": "",
        "kept": [],
        "parent": os.getpid(),
    }


def _probe(*, processes: bool) -> bool:
    """Whether a container with everything it may ask for can be made here."""
    if sys.platform != "linux":
        return False
    with tempfile.TemporaryDirectory(prefix="modelyard-probe-") as scratch:
        probe = Path(scratch).resolve()
        for part in ("ml", "scratch", "hidden/kept"):
            (probe / part).mkdir(parents=True)
        settings = _settings(probe, ["true"], {"/modelyard-probe": str(probe / "ml")}, "/", "probe") | {
            "processes": processes,
            "hidden": str(probe / "hidden"),
            "kept": [[str(probe / "hidden/kept"), "ro"]],
        }
        command = [sys.executable, "-I", "-S", launcher.__file__, json.dumps(settings)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _refuse_hard_coded(command: Sequence[str], base: Path) -> None:
    """Without namespaces a script that writes `/opt/ml` itself would touch the machine's own folder."""
    for word in command[1:]:
        script = Path(word)
        with suppress(OSError, UnicodeDecodeError):
            text = script.read_text() if script.suffix in {".py", ".sh"} else ""
            if ML_FOLDER in text and "SAGEMAKER_BASE_DIR" not in text:
                raise ContainerRefusedError(
                    f"{script.name} hard-codes {ML_FOLDER}, and this machine allows no mount namespaces; "
                    f"let it read SAGEMAKER_BASE_DIR (here {base})"
                )
