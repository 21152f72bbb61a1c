"""Runs tuning jobs, each on a thread of its own."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from localcloud.sagemaker.jobs.job import CLOSED
from localcloud.sagemaker.jobs.tuning.records import KIND, STATUS, settle
from localcloud.sagemaker.jobs.tuning.run import TuningRun
from localcloud.sagemaker.store import Store

if TYPE_CHECKING:
    from localcloud.sagemaker.service import SageMaker

_log = logging.getLogger(__name__)
_CLOSE_SECONDS = 10.0
_CUT_OFF = CLOSED.replace("the job", "the tuning job")
ACTIVE = ("InProgress", "Stopping")


class TuningRunner:
    """Starts and stops the tuning jobs of one cloud.

    Tuning jobs that a stop of the cloud cut off end when the next one starts: what their training jobs have
    found is kept, and may be the start of another one.

    Example:
        >>> sagemaker.tuning.start(sagemaker, "my-tuning-job")
    """

    def __init__(self, store: Store) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, tuple[TuningRun, threading.Thread]] = {}
        for record in store.query(KIND, where=lambda record: record[STATUS] in ACTIVE):
            settle(store, record["HyperParameterTuningJobName"], _CUT_OFF)

    def start(self, sagemaker: SageMaker, name: str) -> None:
        """Run a tuning job that has just been stored as InProgress."""
        run = TuningRun(sagemaker, name)
        thread = threading.Thread(target=self._run, args=(name, run), daemon=True, name=f"tuning-{name}")
        with self._lock:
            self._running[name] = (run, thread)
        thread.start()

    def stop(self, name: str) -> None:
        """Stop a running tuning job and its training jobs."""
        with self._lock:
            entry = self._running.get(name)
        if entry is not None:
            entry[0].stop()

    def close(self) -> None:
        """Start nothing more and write nothing more: the cloud is closing, and the next start settles it."""
        with self._lock:
            running = list(self._running.values())
        for run, _ in running:
            run.abandon()
        for _, thread in running:
            thread.join(_CLOSE_SECONDS)

    def _run(self, name: str, run: TuningRun) -> None:
        try:
            run.run()
        except Exception as error:
            _log.exception("tuning job %s failed", name)
            run.fail(f"InternalServerError: {error!r}")
        finally:
            with self._lock:
                self._running.pop(name, None)
