"""One run of a cloud on its state folder: the lock, what an unclean stop left, and the published address."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import psutil

from localcloud import processes
from localcloud.connect import sagemaker_sdk_defaults, shell_exports
from localcloud.context import Cloud, Credentials
from localcloud.folder import StateFolder, write_private

_REGION = "us-east-1"


class Refused(Exception):
    """The cloud cannot start; one line that says why and what to do."""


class Run:
    """Holds a state folder for as long as the `with` block lasts.

    `begin` ends the processes that an unclean run left. If that run had served, it also discards its
    state: what MiniStack saves only at a clean stop, and what SageMaker writes at once, would not fit
    together. A start that was refused, failed or was interrupted has served nothing and costs nothing.

    Args:
        region: None for the folder's, `us-east-1` for a new one.

    Raises:
        Refused: another cloud serves the folder, or its resources lie in another region.
    """

    def __init__(self, folder: StateFolder, *, region: str | None, run_id: str) -> None:
        self.run_id = run_id
        self.region = region_of(folder, region)
        self.last_port = _number(folder.port)
        self.discarded = False
        self._folder = folder
        self._served = False
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        self._lock = _take(self._folder)
        return self

    def begin(self) -> None:
        """Clean up after the last run and note this one; call it once nothing can refuse the start."""
        self._recover()
        shutil.rmtree(self._folder.temporary, ignore_errors=True)
        self._folder.temporary.mkdir(mode=0o700)
        write_private(self._folder.region, self.region)
        self._note()

    def serving(self) -> None:
        """Note that from now on only a clean stop keeps the state; call it before the first request."""
        self._served = True
        self._note()

    def _note(self) -> None:
        me = psutil.Process()
        record = {
            "run_id": self.run_id,
            "pid": me.pid,
            "started": me.create_time(),
            "region": self.region,
            "served": self._served,
        }
        write_private(self._folder.run_json, json.dumps(record))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()

    def publish(self, cloud: Cloud, key: Credentials) -> dict[str, Any]:
        """Write `cloud.json` and the environment file, which say that the cloud is ready."""
        record = {
            "endpoint_url": cloud.endpoint_url,
            "account": cloud.account,
            "region": cloud.region,
            "ca_bundle": str(cloud.ca_bundle),
            "clock": cloud.clock,
            "pid": os.getpid(),
            "started": time.time(),
            "state_discarded": self.discarded,
            "credentials": {
                "access_key_id": key.access_key_id,
                "secret_access_key": key.secret_access_key,
            },
        }
        self._folder.port.write_text(cloud.endpoint_url.rpartition(":")[2])
        write_private(self._folder.sagemaker_sdk, sagemaker_sdk_defaults(cloud))
        write_private(self._folder.env_file, shell_exports(cloud, key))
        write_private(self._folder.cloud_json, json.dumps(record, indent=2) + "\n")
        return record

    def finish(self) -> None:
        """Note a clean stop."""
        shutil.rmtree(self._folder.temporary, ignore_errors=True)
        self._folder.cloud_json.unlink(missing_ok=True)
        self._folder.env_file.unlink(missing_ok=True)
        self._folder.run_json.unlink(missing_ok=True)

    def _recover(self) -> None:
        last = read_json(self._folder.run_json)
        if last is None:
            return
        processes.end_run(str(last["run_id"]))
        if last.get("served", True):
            discard_state(self._folder)
            self.discarded = True


def discard_state(folder: StateFolder) -> None:
    """Remove every resource of the account; credentials, certificates, logs and the audit stay."""
    for part in (folder.ministack, folder.images, folder.containers):
        shutil.rmtree(part, ignore_errors=True)
    databases = (
        folder.sagemaker_db,
        folder.autoscaling_db,
        folder.codedeploy_db,
        folder.ecs_db,
        folder.ssm_db,
    )
    for database in databases:
        for suffix in ("", "-wal", "-shm", "-journal"):
            database.with_name(database.name + suffix).unlink(missing_ok=True)
    for stale in (folder.cloud_json, folder.env_file, folder.region):
        stale.unlink(missing_ok=True)
    folder.create()


def region_of(folder: StateFolder, asked: str | None) -> str:
    """The region to serve a folder in.

    Raises:
        Refused: its resources lie in another one than is asked for; their ARNs name it.
    """
    kept = folder.region.read_text().strip() if folder.region.exists() else ""
    if asked and kept and asked != kept:
        raise Refused(
            f"The resources of {folder.root} lie in {kept}, not in {asked}; leave --region out, or choose "
            "another folder with --state."
        )
    return asked or kept or _REGION


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file, None if there is no such file or it is torn."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def locked(folder: StateFolder) -> bool:
    """Whether a server holds this folder now."""
    if not folder.lock.exists():
        return False
    with folder.lock.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return True
            raise
    return False


def take_start(folder: StateFolder) -> IO[str]:
    """The right to start a server, until the file is closed: of two starts at once one touches nothing.

    Raises:
        Refused: somebody else is starting one.
    """
    return _take(folder, folder.starting)


def _take(folder: StateFolder, lock: Path | None = None) -> IO[str]:
    file = (lock or folder.lock).open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise Refused(already_running(folder)) from None
        raise
    return file


def already_running(folder: StateFolder) -> str:
    """One line for a second start on the same folder."""
    record = read_json(folder.cloud_json)
    where = f"at {record['endpoint_url']} (process {record['pid']})" if record else "or starting"
    return f"A local cloud on {folder.root} is already running {where}; stop it with `modelyard down`."


def bind(port: int, last: int | None) -> tuple[socket.socket, int]:
    """A loopback socket for the gateway and its port.

    Args:
        port: that one, or 0 for the last run's, so that URLs in the state stay right, or any free one.

    Raises:
        Refused: the port is taken or not permitted.
    """
    if port == 0 and last is not None:
        try:
            return _bind(last)
        except OSError:
            return _bind(0)
    try:
        return _bind(port)
    except OSError as error:
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise Refused(
            f"Port {port} of 127.0.0.1 {reason}; choose another with --port, or leave it out for a free one."
        ) from None


def _bind(port: int) -> tuple[socket.socket, int]:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Connections of the last run that are still closing must not keep its port from us.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise
    return listener, int(listener.getsockname()[1])


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
