"""Why a task did not start."""

from __future__ import annotations

_LONGEST = 1024


class TaskFailure(Exception):
    """The task cannot start; `reason` as `stoppedReason` has it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason[:_LONGEST]
