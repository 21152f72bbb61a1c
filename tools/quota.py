"""A share of a processor for some processes, as a container's task has: Linux's control groups, version 1.

Needs root, and the controller `cpu` of version 1; where that is missing `Quota` says so.
https://docs.kernel.org/scheduler/sched-bwc.html
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

CONTROLLER = Path("/sys/fs/cgroup/cpu")


class Quota:
    """A group that has so much of a processor; all its processes must have ended before it does.

    Args:
        share: of one processor, for example 0.25.

    Raises:
        OSError: this machine has no such groups, or lets nobody make one.

    Example:
        with Quota(0.25) as quota:
            subprocess.run([*quota.inside, "python", "worker.py"])
    """

    def __init__(self, share: float) -> None:
        self._folder = CONTROLLER / f"quota-{os.getpid()}-{os.urandom(4).hex()}"
        self._folder.mkdir()
        period = int((self._folder / "cpu.cfs_period_us").read_text())
        (self._folder / "cpu.cfs_quota_us").write_text(str(round(share * period)))

    @property
    def inside(self) -> list[str]:
        """Put before a command, which then runs in the group."""
        joins = f'echo $$ > {self._folder}/cgroup.procs && exec "$@"'
        return ["sh", "-c", joins, "sh"]

    def __enter__(self) -> Quota:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.rmdir()
