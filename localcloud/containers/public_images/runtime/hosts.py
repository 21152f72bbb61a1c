"""Brings the hosts of a training job together for XGBoost's collective operations."""

from __future__ import annotations

import os
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .environment import Surroundings

_CONNECT_SECONDS = 300.0
_PAUSE = 0.05


@contextmanager
def together(found: Surroundings) -> Iterator[None]:
    """While the block runs, all hosts do the same collective operations in the same order.

    The first host keeps the tracker, and tells its port to those who ask at a port that follows from the
    job's name: hosts of several jobs share the machine's addresses.

    Raises:
        TimeoutError: the first host is not there.
    """
    import xgboost
    from xgboost.tracker import RabitTracker

    meeting = 10_000 + zlib.crc32(os.environ.get("TRAINING_JOB_ARN", "").encode()) % 20_000
    first = _address(found.hosts[0])
    tracker = None
    if found.host == found.hosts[0]:
        tracker = RabitTracker(n_workers=len(found.hosts), host_ip=first, sortby="task")
        tracker.start()
        port = int(tracker.worker_args()["dmlc_tracker_port"])
        _announce(first, meeting, port)
    else:
        port = _ask(first, meeting)
    with xgboost.collective.CommunicatorContext(
        dmlc_tracker_uri=first,
        dmlc_tracker_port=port,
        dmlc_task_id=f"{found.hosts.index(found.host):04d}",
        dmlc_timeout=int(_CONNECT_SECONDS),
    ):
        yield
    if tracker is not None:
        tracker.wait_for(timeout=30)


def _address(host: str) -> str:
    try:
        return socket.gethostbyname(host)
    except socket.gaierror:  # no /etc/hosts of the job's own: all hosts are this machine
        return "127.0.0.1"


def _announce(address: str, meeting: int, port: int) -> None:
    listener = socket.create_server((address, meeting))

    def answer() -> None:
        while True:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.sendall(str(port).encode())

    threading.Thread(target=answer, daemon=True).start()


def _ask(address: str, meeting: int) -> int:
    deadline = time.monotonic() + _CONNECT_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError, ValueError), socket.create_connection((address, meeting), 5) as connection:
            return int(connection.recv(16))
        time.sleep(_PAUSE)
    raise TimeoutError(f"the first host did not answer within {_CONNECT_SECONDS:g} s")
