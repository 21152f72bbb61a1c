"""Ending processes: whole groups, and whatever escaped from them."""

from __future__ import annotations

import contextlib
import os
import signal

import psutil

CONTAINER_VARIABLE = "MODELYARD_CONTAINER"


def signal_group(group: int, number: signal.Signals) -> bool:
    """Send a signal to a process group; False when it has no process any more."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
        return False
    return True


def end_strays(container: str) -> int:
    """Kill every process that carries the container's mark in its environment; how many there were.

    A daemon that left the process group with `setsid` is found this way.
    """
    found = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(CONTAINER_VARIABLE) == container:
                process.kill()
                found += 1
    return found
