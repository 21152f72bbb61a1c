"""What is said of jobs and attempts: one line of the log, with a metric that an alarm watches."""

from __future__ import annotations

from modelyard.runtime.metrics import COUNT, emit

from .aws_names import (
    CLUSTER,
    EVICTED,
    JOBS_CANCELLED,
    JOBS_COMPLETED,
    JOBS_FAILED,
    NAMESPACE,
    STALLED,
    UNPLACED,
)
from .job import Job, State
from .ports import Notice
from .settings import Settings

_NAMES = {State.COMPLETED: JOBS_COMPLETED, State.FAILED: JOBS_FAILED, State.CANCELLED: JOBS_CANCELLED}
_NOTICES = {
    Notice.UNPLACED: UNPLACED,
    Notice.STALLED: STALLED,
    Notice.EVICTED: EVICTED,
    # By the same alarm: hosts obey no more, and the log says which of the two.
    Notice.STUCK: EVICTED,
}


class Log:
    """The function's, whose lines CloudWatch makes metrics of; `ports.Listener`."""

    def __init__(self, settings: Settings) -> None:
        self._cluster = settings.cluster.rpartition("/")[2]

    def ended(self, job: Job) -> None:
        emit(
            NAMESPACE,
            {CLUSTER: self._cluster},
            {_NAMES[job.state]: (1, COUNT)},
            event="job ended",
            job=job.request.job,
            attempt=job.attempt,
            state=job.state.value,
            reason=job.reason,
        )

    def noticed(self, what: Notice, attempt: str, value: int, reason: str) -> None:
        emit(
            NAMESPACE,
            {CLUSTER: self._cluster},
            {_NOTICES[what]: (value, COUNT)},
            event=what.value,
            attempt=attempt,
            value=value,
            reason=reason,
        )
