"""What the training loop sees of telemetry.

The loop only notes its steps; a thread of its own makes a line of them every few seconds. So the lines go on,
and tell how long ago the last step was, when the loop hangs.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from training.common.failure import say
from training.common.paths import base_dir
from training.vision.telemetry import names
from training.vision.telemetry.goodput import Account, Record, Usual
from training.vision.telemetry.lines import Output, Value, json_line, metric_line
from training.vision.telemetry.machine import Machine
from training.vision.telemetry.progress import progress_line
from training.vision.telemetry.settings import OFF, STDOUT, Settings
from training.vision.telemetry.weights_and_biases import CLOSE_SECONDS, FOLDER, WeightsAndBiases
from training.vision.telemetry.window import Step, Window, spread

Item = TypeVar("Item")
END_SECONDS = 1.0  # for a line that somebody does not read


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """This one among those of the job: its `rank` of `world`, on `hosts` hosts; `gpu`: the identifier of the
    GPU that it computes on."""

    rank: int = 0
    world: int = 1
    hosts: int = 1
    gpu: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the first process tells with each of its lines. `step`: done, of the whole training. `hosts`: that
    are paid. `world`: processes. `images_per_second`: of all of them; None without a step since the last
    line. `cost`: so far."""

    step: int
    hosts: int
    world: int
    images_per_second: float | None
    cost: float


class Telemetry:
    """The telemetry of one process, from its begin to its end.

    Args:
        settings: see `read_settings`.
        process: which one of the job's this is.
        config: hyperparameters, for Weights & Biases.
        output: where lines go, in place of what the settings say.
        now, clock: wall and monotonic time, seconds.

    Example:
        with Telemetry(read_settings(), Process(rank=0, world=2, hosts=2)) as telemetry:
            telemetry.begin(total=1000, record=None)
            for batch in telemetry.batches(loader):
                ...
                telemetry.step(number, epoch=1, loss=loss, images=64, rate=0.001)
    """

    def __init__(
        self,
        settings: Settings,
        process: Process,
        *,
        config: Mapping[str, Any] | None = None,
        output: Output | None = None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._process, self._now, self._clock = settings, process, now, clock
        self._first = process.rank == 0
        self._dimensions = {
            names.CLUSTER: settings.cluster,
            names.JOB: settings.job,
            names.RANK: str(process.rank),
        }
        began = now()
        self._account = Account(
            attempt=settings.attempt,
            hosts=process.hosts,
            began=began if settings.began is None else settings.began,
            now=began,
            price=settings.price,
            before=settings.before,
        )
        self._usual = Usual()
        self._window, self._lock, self._emitting = Window(), threading.Lock(), threading.Lock()
        self._total = self._number = 0
        self._asked = self._stepped = self._emitted = clock()
        self._got: float | None = None
        self._saved: float | None = began
        self._begun = self._stopped = False
        self._alarmed = -math.inf
        self._output = output or _output(settings, process.rank)
        self._machine = Machine(process.gpu)
        self._dashboard = self._weights_and_biases(config or {}) if settings.project and self._first else None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join(END_SECONDS)
        self.emit()
        reason = "stopped" if self._stopped else "done"
        self.event("ended", reason=reason if kind is None else f"{kind.__name__}: {error}"[:200])
        if self._dashboard:
            # Who lost another host must be back with the others soon.
            self._dashboard.close(CLOSE_SECONDS if kind is None else 0)
        if self._output:
            if self._output.lost:
                _tell(f"telemetry: {self._output.lost} lines could not be written")
            self._output.close()

    def begin(
        self,
        *,
        total: int,
        done: int = 0,
        record: Mapping[str, Any] | None = None,
        checkpoints: bool = True,
    ) -> None:
        """The loop begins, or goes on from a checkpoint.

        Args:
            total: steps of the training.
            done: of them.
            record: what `record` gave to that checkpoint; None where there is none.
            checkpoints: whether any will be written.
        """
        found = Record.from_state(record)
        with self._lock:
            self._total, self._number = total, done
            self._asked = self._stepped = self._clock()
            if found:
                self._account.resume(found)
            # What would be lost now is nothing, however old the checkpoint is.
            self._begun, self._saved = True, self._now() if checkpoints else None
        self.event("resumed" if found else "started", step=done)

    def batches(self, source: Iterable[Item]) -> Iterator[Item]:
        """The same, and how long the loop waits for each."""
        self._asked = self._clock()
        for item in source:
            self._got = self._clock()
            yield item
            self._asked = self._clock()

    def step(
        self, number: int, *, epoch: int, loss: float, images: float, rate: float, norm: Any = None
    ) -> None:
        """Note a step that has ended. A loss, or gradient, that is no number is told at once.

        Args:
            number: of the whole training, from 1.
            loss: mean over `images`, of all hosts.
            rate: of learning.
            norm: of the gradient, what `float` takes; not needed in each step, see `wants_norm`.
        """
        ended = self._clock()
        seconds = ended - self._stepped
        wait = 0.0 if self._got is None else min(seconds, max(0.0, self._got - self._asked))
        computed = seconds if self._got is None else max(0.0, ended - self._got)
        done = Step(
            number=number,
            epoch=epoch,
            seconds=seconds,
            wait=wait,
            images=images,
            loss=loss,
            rate=rate,
            norm=None if norm is None else float(norm),
        )
        with self._lock:
            self._window.add(done)
            self._account.worked(self._usual.work(computed))
            self._stepped, self._number, self._got = ended, number, None
        if done.broken and ended - self._alarmed >= self._settings.seconds:
            self._alarmed = ended
            self.emit()

    @property
    def wants_norm(self) -> bool:
        """Whether the next line has no norm of the gradient yet: it costs a pass over all parameters."""
        return self._first and self._window.norm is None

    def record(self, *, closed: bool = False) -> dict[str, Any]:
        """For a checkpoint of this moment's state; `closed`: the process ends after it."""
        with self._lock:
            self._stopped = closed
            return self._account.record(self._now(), closed=closed).to_state()

    def saved(self, record: Mapping[str, Any], step: int, seconds: float = 0.0) -> None:
        """A checkpoint is written, `seconds` after that began; may be called from any thread."""
        with self._lock:
            self._saved = max(self._saved or 0.0, float(record["at"]))
        self.event("checkpoint", step=step, seconds=round(seconds, 3))

    def evaluated(self, epoch: int, **values: float) -> None:
        """Figures of an epoch's evaluation, which counts as a sign of life."""
        with self._lock:
            self._stepped = self._asked = self._clock()
            number = self._number
        self.event("evaluated", epoch=epoch, step=number, **values)
        if self._dashboard:
            self._dashboard.log({"step": number, "epoch": epoch, **values})

    def event(self, name: str, **members: Any) -> None:
        """A line of the log that is no metric; all of them together are the job's history."""
        if self._output and self._first:
            settings, process = self._settings, self._process
            told = {"event": name, "time": round(self._now(), 3), names.JOB: settings.job}
            self._output.write(
                json_line({**told, "attempt": settings.attempt, "hosts": process.hosts, **members})
            )

    def emit(self) -> None:
        """Write what there is since the last line."""
        with self._emitting:
            with self._lock:
                window, self._window = self._window, Window()
                at, ended = self._now(), self._clock()
                passed, self._emitted = ended - self._emitted, ended
                age, number = ended - self._stepped, self._number
                saved = None if self._saved is None else max(0.0, at - self._saved)
                goodput, cost = self._account.goodput(at), self._account.cost(at)
                recent = self._account.recent(at) if self._begun else None
            metrics = self._of_rank(window, age)
            if self._first:
                metrics |= _of_steps(window)
                metrics |= {names.CHECKPOINT_AGE: saved, names.HOSTS: self._process.hosts, names.STEP: number}
                if self._begun:
                    metrics[names.RECENT_GOODPUT] = None if recent is None else 100 * recent
                    metrics |= {names.GOODPUT: 100 * goodput, names.COST: cost}
            self._write(at, metrics, window)
            if self._first and self._begun and (window.last or not self._end.is_set()):
                line = progress_line(
                    window,
                    total=self._total,
                    goodput=goodput,
                    cost=cost,
                    checkpoint_age=saved,
                    age=age,
                    clock=passed,
                )
                _tell(line)
        if self._first and self._begun:
            self.told(
                Figures(
                    step=number,
                    hosts=self._process.hosts,
                    world=self._process.world,
                    images_per_second=window.images_per_second,
                    cost=cost,
                )
            )

    def told(self, figures: Figures) -> None:
        """Called after each line of the first process, mostly by the thread of its own; for others to use."""

    def _of_rank(self, window: Window, age: float) -> dict[str, Value | None]:
        share = window.wait_share
        return {
            names.STEP_TIME: [1000 * seconds for seconds in spread(window.times)] or None,
            names.DATA_WAIT: None if share is None else 100 * share,
            names.STEP_AGE: age,
            **self._machine.look(),
        }

    def _write(self, at: float, metrics: Mapping[str, Value | None], window: Window) -> None:
        last = window.last
        if self._output:
            told = {"event": "training", "attempt": self._settings.attempt, "world": self._process.world}
            if last:
                told |= {"epoch": last.epoch, "steps": window.steps}
            self._output.write(metric_line(round(at * 1000), self._dimensions, metrics, told))
        if self._dashboard and last:
            values = {name: value for name, value in metrics.items() if isinstance(value, float | int)}
            self._dashboard.log({"step": last.number, "epoch": last.epoch, **values})

    def _run(self) -> None:
        while not self._end.wait(self._settings.seconds):
            self.emit()

    def _weights_and_biases(self, config: Mapping[str, Any]) -> WeightsAndBiases | None:
        settings = self._settings
        folder = Path(os.environ.get(FOLDER) or base_dir() / "output" / "data")
        begin = {"project": settings.project, "group": settings.job, "config": dict(config)}
        name = f"{settings.job}-{settings.attempt}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            _tell(f"Weights & Biases is off, training goes on without it: {error}")
            return None
        return WeightsAndBiases({**begin, "name": name, "dir": str(folder)}, _tell)


def _of_steps(window: Window) -> dict[str, Value | None]:
    return {
        names.IMAGES: window.images_per_second,
        names.LOSS: window.loss,
        names.RATE: window.last.rate if window.last else None,
        names.NORM: window.norm,
        names.NON_FINITE: window.broken,
    }


def _tell(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
        say(line)


def _output(settings: Settings, rank: int) -> Output | None:
    if settings.target == OFF:
        return None
    if settings.target == STDOUT:
        return Output(1)
    job = re.sub(r"[^A-Za-z0-9_-]", "_", settings.job)
    name = f"attempt-{settings.attempt:03d}-rank-{rank:05d}.jsonl"
    try:
        return Output(Path(settings.target) / job / name)
    except OSError as error:
        _tell(f"telemetry: no lines of metrics, training goes on without them: {error}")
        return None
