"""What is said of a job that has ended: one line of the log, with a metric that an alarm watches."""

from __future__ import annotations

from modelyard.runtime.metrics import COUNT, emit

from .aws_names import CLUSTER, JOBS_CANCELLED, JOBS_COMPLETED, JOBS_FAILED, NAMESPACE
from .job import Job, State
from .settings import Settings

_NAMES = {State.COMPLETED: JOBS_COMPLETED, State.FAILED: JOBS_FAILED, State.CANCELLED: JOBS_CANCELLED}


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
