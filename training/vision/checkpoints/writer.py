"""Writing beside the training: one thread, and one snapshot that waits for it at most."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from training.common.failure import UserError, say
from training.vision.checkpoints.format import Identity, encode
from training.vision.checkpoints.journal import Journal, SupersededError
from training.vision.checkpoints.pointer import Entry
from training.vision.checkpoints.store import StoreError


class ReplacedError(UserError):
    """Another run of the job writes its checkpoints now."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state to be written; `top1` where it ends the best epoch so far."""

    state: Mapping[str, Any] = field(repr=False)
    step: int
    epoch: int
    top1: float | None = None


class Writer:
    """Writes snapshots in a thread of its own, in the order in which they come.

    A write that fails is logged, and training goes on: the last good checkpoint stays, and the next one is
    another try. A newer snapshot takes the place of one that still waits.

    Args:
        told: called in the thread with each that is written, and the seconds that took.
    """

    def __init__(
        self,
        journal: Journal,
        identity: Identity,
        run: str,
        told: Callable[[Entry, Snapshot, float], None] = lambda *_: None,
    ) -> None:
        self._journal, self._identity, self._run, self._told = journal, identity, run, told
        self._change = threading.Condition()
        self._waiting: Snapshot | None = None
        self._busy = False
        self._closed = False
        self._fatal: Exception | None = None
        self._failure = ""
        self.written: Entry | None = None
        self._thread = threading.Thread(target=self._work, name="checkpoints", daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        """False while another snapshot would have to wait."""
        with self._change:
            return not self._busy and self._waiting is None

    def put(self, snapshot: Snapshot) -> None:
        """Have it written; returns at once."""
        with self._change:
            self._waiting = snapshot
            self._change.notify_all()

    def check(self) -> None:
        """Raises ReplacedError when another run has taken over, or what broke the writer, a defect."""
        if isinstance(self._fatal, SupersededError):
            raise ReplacedError(f"checkpoints: {self._fatal}; this one ends here") from self._fatal
        if self._fatal:
            raise self._fatal

    def flush(self) -> str:
        """Wait until all is written; returns the reason why the last one was not, or nothing."""
        with self._change:
            self._change.wait_for(lambda: self._fatal or (not self._busy and self._waiting is None))
        self.check()
        return self._failure

    def close(self) -> None:
        """End the thread after what it is writing; what waits is dropped."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._closed or self._waiting is not None)
                if self._closed:
                    return
                snapshot, self._waiting, self._busy = self._waiting, None, True
            try:
                if snapshot:
                    self._write(snapshot)
            except (StoreError, MemoryError) as error:
                self._failure = str(error) or "out of memory"
                say(f"checkpoint of step {snapshot.step if snapshot else 0} not written: {self._failure}")
            except Exception as error:
                self._fatal = error
            finally:
                snapshot = None  # its tensors are as large as the network's
                with self._change:
                    self._busy = False
                    self._change.notify_all()
            if self._fatal:
                return

    def _write(self, snapshot: Snapshot) -> None:
        started = time.monotonic()
        name, data = encode(snapshot.state, self._identity, self._run, snapshot.step, snapshot.epoch)
        entry = Entry(
            name=name, step=snapshot.step, epoch=snapshot.epoch, bytes=len(data), top1=snapshot.top1
        )
        self._journal.add(entry, data)
        self.written, self._failure = entry, ""
        seconds = time.monotonic() - started
        say(f"checkpoint {name}: {len(data) / 1e6:.1f} MB in {seconds:.2f} s")
        self._told(entry, snapshot, seconds)
