"""Start, stop and look at a local cloud from outside its process."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import psutil

from localcloud import processes
from localcloud.environment import kept_of
from localcloud.folder import StateFolder
from localcloud.run import (
    Refused,
    already_running,
    discard_state,
    locked,
    read_json,
    region_of,
    take_start,
)

_START_SECONDS = 120.0
_END_SECONDS = 10.0
# Jobs get their stop signal first and two minutes to save a model, as on AWS.
_STOP_SECONDS = 150.0


def up(root: Path, *, port: int = 0, region: str | None = None, clock: float = 1.0) -> dict[str, Any]:
    """Start a cloud in the background and return when it answers.

    Args:
        root: its state folder; one cloud at most serves it.
        port: 0 for the one of the last run, or else any free one.
        region: None for the one of the folder's resources, or else `us-east-1`.
        clock: see `Cloud.clock`; of this run alone.

    Returns:
        the content of `cloud.json`; `state_discarded` is true if the last run did not end cleanly,
        so that its resources are gone.

    Raises:
        Refused: it is running already, the port is in use, the folder's resources lie in another
            region, or it failed to start (with the reason).
    """
    folder = StateFolder(root.resolve())
    if locked(folder):
        raise Refused(already_running(folder))
    region = region_of(folder, region)
    folder.create()
    with take_start(folder):
        # Again: another start may have ended between the first look and now.
        if locked(folder):
            raise Refused(already_running(folder))
        return _start(folder, port, region, clock)


def _start(folder: StateFolder, port: int, region: str, clock: float) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "localcloud.server", "--state", str(folder.root)]
    command += ["--port", str(port), "--region", region, "--clock", str(clock)]
    if folder.server_log.exists():
        folder.server_log.replace(folder.server_log.with_suffix(".log.1"))
    with folder.server_log.open("w") as log:
        server = subprocess.Popen(
            command,
            cwd=folder.root,
            env=kept_of(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            # Ctrl-C in the user's terminal is not for the cloud.
            start_new_session=True,
        )
    assert server.stdout is not None
    try:
        line = _first_line(server.stdout, _START_SECONDS)
    except BaseException:
        _end(server)
        raise
    finally:
        server.stdout.close()
    if line:
        # Left running on purpose; Popen would otherwise warn about it when collected.
        server.returncode = 0
        record: dict[str, Any] = json.loads(line)
        return record
    raise Refused(_why_not(server, folder))


def _first_line(stream: IO[str], timeout: float) -> str:
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return stream.readline() if selector.select(timeout) else ""


def _end(server: subprocess.Popen[str]) -> None:
    """Stop a server that is starting; politely, since it may serve by now."""
    server.terminate()
    try:
        server.wait(timeout=_END_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _why_not(server: subprocess.Popen[str], folder: StateFolder) -> str:
    try:
        # One that has given up has its threads to end first.
        code = server.wait(timeout=_END_SECONDS)
    except subprocess.TimeoutExpired:
        _end(server)
        return f"The local cloud was not ready after {_START_SECONDS:.0f} s; its log is {folder.server_log}."
    lines = folder.server_log.read_text().splitlines()
    if code == 1 and len(lines) == 1:
        return lines[0]
    last = lines[-1] if lines else f"exit code {code}"
    return f"The local cloud failed to start: {last} (log: {folder.server_log})"


def down(root: Path) -> dict[str, Any]:
    """Stop the cloud and everything that it started.

    Returns:
        `was_running`; `ended`, how many processes had to be ended from outside; and `state_kept`,
        false if the stop was not clean, which discards the state.
    """
    folder = StateFolder(root.resolve())
    record = read_json(folder.run_json)
    if record is None:
        return {"was_running": False, "ended": 0, "state_kept": True}
    server = _server(record) if locked(folder) else None
    if server is not None:
        _signal(server, signal.SIGTERM)
        _wait_for(folder, server, _STOP_SECONDS)
    left = read_json(folder.run_json)
    ended = processes.end_run(str(record["run_id"]))
    # A server that was killed before it served has changed nothing.
    kept = left is None or not left.get("served", True)
    if not kept:
        discard_state(folder)
    folder.run_json.unlink(missing_ok=True)
    return {"was_running": server is not None, "ended": ended, "state_kept": kept}


def _server(record: dict[str, Any]) -> psutil.Process | None:
    """The server's process, None if it is gone and another one has its number."""
    try:
        process = psutil.Process(int(record["pid"]))
        # A clock step may shift the start time that the kernel reports by a second.
        same = abs(process.create_time() - float(record["started"])) < 2
    except psutil.NoSuchProcess:
        return None
    return process if same else None


def _signal(server: psutil.Process, number: int) -> None:
    try:
        server.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _wait_for(folder: StateFolder, server: psutil.Process, seconds: float) -> None:
    """Wait for the end of the server, which is the release of its lock (it may be a zombie of ours)."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not locked(folder):
            return
        time.sleep(0.05)
    _signal(server, signal.SIGKILL)


def status(root: Path) -> dict[str, Any]:
    """What runs on a state folder.

    Returns:
        `running`, and if so `endpoint_url`, `region`, `account`, `pid`, `uptime_seconds`,
        `processes`, `memory_bytes` (resident, of all of them), `ca_bundle`, `clock` and `state`.
    """
    folder = StateFolder(root.resolve())
    record = read_json(folder.cloud_json)
    run = read_json(folder.run_json)
    if record is None or run is None or not locked(folder):
        return {"running": False, "state": str(folder.root), "starting": locked(folder)}
    running = [psutil.Process(record["pid"]), *processes.of_run(str(run["run_id"]))]
    # The server's own environment shows no mark: it set the mark after its start.
    unique = {process.pid: process for process in running}
    return {
        "running": True,
        "endpoint_url": record["endpoint_url"],
        "region": record["region"],
        "account": record["account"],
        "pid": record["pid"],
        "uptime_seconds": round(time.time() - record["started"], 1),
        "processes": len(unique),
        "memory_bytes": sum(_resident(process) for process in unique.values()),
        "ca_bundle": record["ca_bundle"],
        "clock": record.get("clock", 1.0),
        "state": str(folder.root),
    }


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


__all__ = ["Refused", "down", "status", "up"]
