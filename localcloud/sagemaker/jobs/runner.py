"""Runs jobs, each on a thread of its own."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from localcloud.containers.engine import Engine
from localcloud.containers.image import ImageStore
from localcloud.context import Cloud
from localcloud.sagemaker.jobs import processing, training, transform
from localcloud.sagemaker.jobs.failure import MAX_REASON, JobFailure
from localcloud.sagemaker.jobs.job import CLOSED, Job
from localcloud.sagemaker.store import Store, now

_log = logging.getLogger(__name__)
_CLOSE_SECONDS = 10.0
ACTIVE = ("InProgress", "Stopping")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What sets a kind of job apart. `grace`: seconds between SIGTERM and SIGKILL when it is stopped."""

    run: Callable[[Job], None]
    status: str
    end_time: str
    grace: float


KINDS = {
    "processing-job": Kind(
        run=processing.run, status="ProcessingJobStatus", end_time="ProcessingEndTime", grace=30
    ),
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StopTrainingJob.html: 120 seconds
    "training-job": Kind(run=training.run, status="TrainingJobStatus", end_time="TrainingEndTime", grace=120),
    "transform-job": Kind(
        run=transform.run, status="TransformJobStatus", end_time="TransformEndTime", grace=30
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Who wants to know of a job as it goes. Called on the job's own threads: to be brief.

    Args:
        ended: the job's final status is written.
        emitted: a training job's log shows a metric: its name and its value.
    """

    ended: Callable[[], None]
    emitted: Callable[[str, float], None] | None = None


class JobRunner:
    """Starts and stops the jobs of one cloud.

    Jobs that a stop of the cloud cut off become Failed when the next one starts.

    Example:
        >>> runner.start("training-job", "my-job")
        >>> store.wait("training-job", "my-job", lambda record: record["TrainingJobStatus"] == "Completed")
    """

    def __init__(self, cloud: Cloud, store: Store) -> None:
        self._cloud, self._store = cloud, store
        folder = cloud.folder.containers / "jobs"
        shutil.rmtree(folder, ignore_errors=True)
        self._engine = Engine(folder, cloud)
        self._images = ImageStore(cloud.folder.images)
        self._lock = threading.Lock()
        self._running: dict[tuple[str, str], tuple[Job, threading.Thread]] = {}
        self._closed = False
        for kind, facts in KINDS.items():
            for record in store.query(kind):
                if record[facts.status] in ACTIVE:
                    self._fail(kind, record["_Name"], CLOSED)

    def start(self, kind: str, name: str, watch: Watch | None = None) -> None:
        """Run a job that has just been stored as InProgress.

        Args:
            kind: `processing-job`, `training-job` or `transform-job`.
            name: of the job.
            watch: who follows it.
        """
        with self._lock:
            if self._closed:
                self._fail(kind, name, CLOSED)
                return
            job = Job(
                cloud=self._cloud,
                store=self._store,
                engine=self._engine,
                images=self._images,
                kind=kind,
                name=name,
                grace=KINDS[kind].grace,
                on_metric=watch.emitted if watch else None,
            )
            thread = threading.Thread(target=self._run, args=(job, watch), daemon=True, name=f"{kind}-{name}")
            self._running[(kind, name)] = (job, thread)
        thread.start()

    def stop(self, kind: str, name: str) -> None:
        """Stop a running job; its record says Stopping until its containers have ended."""
        with self._lock:
            entry = self._running.get((kind, name))
        if entry is not None:
            entry[0].stop()

    def _run(self, job: Job, watch: Watch | None) -> None:
        try:
            KINDS[job.kind].run(job)
        except JobFailure as failure:
            # Whatever a job cut off by the end of the cloud complains about, that is the reason.
            self._fail(job.kind, job.name, CLOSED if job.closing else failure.reason)
        except Exception as error:
            _log.exception("%s %s failed", job.kind, job.name)
            self._fail(job.kind, job.name, CLOSED if job.closing else f"InternalServerError: {error!r}")
        finally:
            if watch is not None:
                watch.ended()
            job.clean()
            with self._lock:
                self._running = {key: entry for key, entry in self._running.items() if entry[0] is not job}

    def _fail(self, kind: str, name: str, reason: str) -> None:
        facts = KINDS[kind]

        def change(record: dict[str, Any]) -> None:
            moment = now()
            record[facts.status] = "Failed"
            record["FailureReason"] = reason[:MAX_REASON]
            record[facts.end_time] = record["LastModifiedTime"] = moment
            if kind == "training-job":
                training.fail(record, moment)

        self._store.update(kind, name, change)

    def close(self) -> None:
        """Stop every job; they become Failed."""
        with self._lock:
            self._closed = True
            running = list(self._running.values())
        for job, _ in running:
            job.closing = True
            job.stop()
        for _, thread in running:
            thread.join(_CLOSE_SECONDS)
        self._engine.close()
