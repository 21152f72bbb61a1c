"""What the training loop tells of itself: to logs by its telemetry, and to the job's record, if it has one.

The record is written by telemetry's thread, with each of its lines: a table that is slow, throttled or gone
holds up no step. It says at the next line what it could not say at this one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from training.common.failure import UserError, say
from training.vision.job_record import JobRecord, OutdatedError, Saved, UntoldError
from training.vision.telemetry.recorder import Figures, Process, Telemetry
from training.vision.telemetry.settings import Settings

# Between two tries to say that the training has finished; a gap of the service is longer rarely.
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


class Watch(Telemetry):
    """Telemetry that keeps the job's record as well.

    Args:
        settings, process, config: see `Telemetry`.
        record: of the job; the first process alone writes it.
    """

    def __init__(
        self,
        settings: Settings,
        process: Process,
        *,
        config: Mapping[str, Any] | None = None,
        record: JobRecord | None = None,
    ) -> None:
        super().__init__(settings, process, config=config)
        self._record = record if process.rank == 0 else None
        self._change = threading.Lock()
        self._checkpoint: Saved | None = None
        self._outdated: OutdatedError | None = None
        self._silent = False

    def step(self, number: int, **figures: Any) -> None:
        """Note a step, as `Telemetry` does.

        Raises:
            OutdatedError: another attempt has reported, or the job is over: this process is to end.
        """
        super().step(number, **figures)
        if self._outdated:
            raise self._outdated

    def saved(self, record: Mapping[str, Any], step: int, seconds: float = 0.0, key: str = "") -> None:
        """A checkpoint is written, as `Telemetry` notes it; `key`: where."""
        super().saved(record, step, seconds)
        with self._change:
            self._checkpoint = Saved(step=step, key=key)

    def told(self, figures: Figures) -> None:
        record = self._record
        if record is None or self._outdated:
            return
        saved = self._news()
        try:
            record.progress(
                figures.step,
                saved,
                hosts=figures.hosts,
                world=figures.world,
                images_per_second=figures.images_per_second,
                cost=figures.cost,
            )
            self._silent = False
        except OutdatedError as error:
            self._outdated = error
        except (UntoldError, OSError) as error:
            self._keep(saved)
            if not self._silent:
                say(f"training goes on, {error}")
            self._silent = True

    def finished(self, models: Sequence[Mapping[str, Any]] = ()) -> None:
        """All there was is trained, and the models are where they belong.

        Raises:
            OutdatedError: as `step`.
            UserError: the record cannot be written for a minute; the model is there, and a further attempt
                only says so.
        """
        # The figures of the last steps; a job of seconds has told none yet.
        self.emit()
        record, self._record = self._record, None
        if record is None:
            return
        saved = self._news()
        for pause in (*PAUSES, None):
            try:
                record.finished(self._number, saved, models)
                return
            except (UntoldError, OSError) as error:
                if pause is None:
                    raise UserError(f"the model is there, but nobody can be told: {error}") from error
                time.sleep(pause)

    def _news(self) -> Saved | None:
        with self._change:
            saved, self._checkpoint = self._checkpoint, None
        return saved

    def _keep(self, saved: Saved | None) -> None:
        with self._change:
            self._checkpoint = self._checkpoint or saved
