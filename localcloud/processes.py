"""The processes of one run of a cloud: found by the mark they inherit, never by name or number alone.

Every child inherits `MODELYARD_CLOUD_RUN=<random id of the run>` in its environment. A process that
carries the id of a dead server is that server's orphan, whatever its number; a process that got the
number of an orphan anew does not carry it.
"""

from __future__ import annotations

import os
import time

import psutil

from localcloud.context import RUN_ID_VARIABLE

_GRACE_SECONDS = 3.0


def of_run(run_id: str) -> list[psutil.Process]:
    """Living processes of a run, the calling process not among them."""
    own = os.getpid()
    user = os.getuid()
    return [
        process for process in psutil.process_iter() if process.pid != own and _is_of(process, run_id, user)
    ]


def _is_of(process: psutil.Process, run_id: str, user: int) -> bool:
    try:
        # Others' environments are not readable anyway; asking for the owner first is cheaper.
        if user not in (0, process.uids().real) or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.environ().get(RUN_ID_VARIABLE) == run_id
    except (psutil.Error, OSError):
        # It ended meanwhile, or belongs to somebody else (a container root's user namespace).
        return False


def end_run(run_id: str) -> int:
    """End every process of a run: SIGTERM, then SIGKILL after three seconds.

    Returns:
        how many there were.
    """
    if not run_id:
        raise ValueError("a run without an id has no processes to end")
    ended: set[psutil.Process] = set()
    # Twice: a process may start another one between the look and the signal.
    for _round in range(2):
        found = of_run(run_id)
        if not found:
            break
        ended |= set(found)
        _end(found)
    return len(ended)


def _end(processes: list[psutil.Process]) -> None:
    for process in processes:
        _signal(process, kill=False)
    stubborn = _wait(processes)
    for process in stubborn:
        _signal(process, kill=True)
    _wait(stubborn)


def _wait(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Wait until the processes have ended, three seconds at most; those that have not.

    Not psutil's own wait: it would take the exit codes of our children from those who wait for them.
    """
    deadline = time.monotonic() + _GRACE_SECONDS
    while (alive := [process for process in processes if _alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return alive


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, *, kill: bool) -> None:
    try:
        # psutil compares the start time before it signals, so a reused number is safe.
        if kill:
            process.kill()
        else:
            process.terminate()
    except psutil.NoSuchProcess:
        return
