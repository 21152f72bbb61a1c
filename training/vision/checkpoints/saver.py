"""Checkpoints as the training loop sees them.

    at, best = saver.resume(network, optimizer, average, batches)
    ...
    numbers, wishes = ...                          # each host's `saver.wishes()`, added up over all of them
    if saver.after(at, best, wishes):              # all hosts write, and stop, after the same step
        return best

The first host writes, for all: their weights are equal. It reads for all as well, so that only its store
counts, and so that the others need none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any

from training.common.failure import UserError, say
from training.common.paths import checkpoint_dir
from training.vision.average import Average
from training.vision.checkpoints.format import Identity, decode, digest
from training.vision.checkpoints.journal import Journal, SupersededError, newest
from training.vision.checkpoints.pointer import Entry, Keep
from training.vision.checkpoints.state import Best, Place, random_state, restore, snapshot
from training.vision.checkpoints.store import Store, StoreError, open_store
from training.vision.checkpoints.writer import Snapshot, Writer
from training.vision.config import FREE, Config
from training.vision.data import Split
from training.vision.distributed import Group
from training.vision.order import Blocks
from training.vision.watch import Watch

ADDRESS = "CHECKPOINTS"
OFF, NONE, ONE = b"-", b"0", b"1"
STOPPED = 128 + signal.SIGTERM


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """Between two checkpoints, by whichever comes first; 0: not by this one."""

    steps: int
    seconds: float


def address_of(argument: str | None) -> str | None:
    """Where the job's checkpoints lie: as its argument says, or the environment variable CHECKPOINTS, or in
    SageMaker's folder; None: it has none."""
    folder = checkpoint_dir()
    return argument or os.environ.get(ADDRESS) or (str(folder) if folder else None)


def key_of(place: str, name: str) -> str:
    """A checkpoint's key in its bucket, or its path.

    >>> key_of("s3://bucket/dogs-1/checkpoints/", "step-1.ckpt"), key_of("/tmp/run", "step-1.ckpt")
    ('dogs-1/checkpoints/step-1.ckpt', '/tmp/run/step-1.ckpt')
    """
    if place.startswith("s3://"):
        return place.removeprefix("s3://").partition("/")[2] + name
    return f"{place}/{name}"


def identity_of(config: Config, network: Any, train: Split, validation: Split) -> Identity:
    """What a checkpoint must agree with. How often they are written, the number of hosts, and what else is
    `FREE` may change."""
    tensors = [[name, list(value.shape), str(value.dtype)] for name, value in network.state_dict().items()]
    images = hashlib.sha256()
    for split in (train, validation):
        for entry in split.entries:
            images.update(f"{entry.key} {entry.label} {entry.size}\n".encode())
    blocks = Blocks.cut(train.entries)
    if not blocks.fit(train.window):
        # Then the order depends on how images lie in shards as well.
        images.update(blocks.of.tobytes())
    values = {
        name: value
        for name, value in asdict(config).items()
        if name not in FREE and not name.startswith("checkpoint_")
    }
    return Identity(
        model=digest(tensors), data=digest([images.hexdigest(), asdict(train.input)]), config=values
    )


@contextlib.contextmanager
def saving(
    address: str | None, config: Config, identity: Identity, group: Group, watch: Watch
) -> Iterator[Saver]:
    """A job's checkpoints. SIGTERM means: stop after this step, with a checkpoint; a second one, at once.

    Args:
        watch: is told of each that is written, and has its account kept in it.

    Raises:
        UserError: the store cannot be used, or another run of the job has taken it over.
    """
    store = open_store(address) if address and group.hosts.is_first else None
    saver = Saver(store, config, identity, group, watch)
    try:
        yield saver
        saver.finish()
    finally:
        saver.close()


class Saver:
    """Decides when to write; see `saving`."""

    def __init__(
        self, store: Store | None, config: Config, identity: Identity, group: Group, watch: Watch
    ) -> None:
        self._store, self._identity, self._group, self._watch = store, identity, group, watch
        self._cadence = Cadence(steps=config.checkpoint_steps, seconds=config.checkpoint_seconds)
        self._epochs = config.epochs
        self._keep = Keep(last=config.checkpoint_keep, every=config.checkpoint_keep_every)
        self._writer: Writer | None = None
        self._signals = _Signals()
        self._network: Any = None
        self._optimizer: Any = None
        self._average: Any = None
        self._batches = 1
        self._steps = self._saved_step = 0
        self._saved_at = time.monotonic()
        self._seconds: list[float] = []
        self.stopped = ""

    def resume(self, network: Any, optimizer: Any, average: Average, batches: int) -> tuple[Place, Best]:
        """Where to go on, with the state put back; the start where there is no checkpoint. The watch begins.

        Args:
            batches: in an epoch.

        Raises:
            UserError: the last checkpoint cannot be used.
        """
        self._network, self._optimizer, self._average = network, optimizer, average
        self._batches = batches
        message = self._group.shared(self._group.alone(self._open) or OFF)
        place, best, account = Place(), Best(), None
        if message != OFF:
            self._signals.install()
        if message.startswith(ONE):
            name, _, data = message[1:].partition(b"\n")
            state = decode(name.decode(), data, self._identity)
            hosts = self._group.hosts
            place, best = restore(state, network, optimizer, average, hosts.rank, hosts.count)
            account = state.get("account")
            say(f"goes on from checkpoint {name.decode()}: epoch {place.epoch}, {place.batch} batches done")
        self._steps = self._saved_step = place.step(batches)
        self._saved_at = time.monotonic()
        self._watch.begin(
            total=self._epochs * batches,
            done=self._steps,
            record=account,
            checkpoints=message != OFF,
        )
        return place, best

    def wishes(self) -> list[float]:
        """This host's after a step, to be added up: that all stop, that a checkpoint is written."""
        return [float(self._signals.received), float(self._due(self._steps + 1))]

    def after(self, place: Place, best: Best, wishes: Sequence[float]) -> bool:
        """Call on all hosts with the sums of their wishes; returns whether to stop.

        Raises:
            UserError: another run of the job has taken the checkpoints over.
        """
        self._steps = place.step(self._batches)
        stop, write = (wish > 0 for wish in wishes)
        if self._writer:
            self._writer.check()
        if stop or write:
            self._save(place, best, stop=stop)
        if stop:
            self._stop()
        return stop

    def between(self, place: Place, best: Best, *, must: bool = False) -> bool:
        """As `after`, but with no further step since the last time: while an epoch is evaluated, and then.

        Args:
            must: write a checkpoint, whether or not the cadence says so.
        """
        write = self._writer is not None and (must or self._due(self._steps))
        return self.after(place, best, self._group.summed([float(self._signals.received), float(write)]))

    def finish(self) -> None:
        """Wait until the last checkpoint is written."""
        if not self.stopped:
            self._group.alone(self._flush)
        if self._seconds:
            mean = 1000 * sum(self._seconds) / len(self._seconds)
            say(f"checkpoints: {len(self._seconds)} copies of the state, {mean:.1f} ms of training each")

    def close(self) -> None:
        self._signals.restore()
        if self._writer:
            self._writer.close()

    def _open(self) -> bytes:
        """Claim the store, if there is one; what the other hosts are told."""
        if not self._store:
            return OFF
        run = secrets.token_hex(8)
        journal = Journal(self._store, run, self._keep)
        try:
            journal.claim()
            found = newest(journal, self._store.read)
        except (StoreError, SupersededError) as error:
            raise UserError(f"checkpoints cannot be used: {error}") from error
        self._writer = Writer(journal, self._identity, run, self._written)
        return NONE if found is None else b"".join((ONE, found[0].name.encode(), b"\n", found[1]))

    def _due(self, step: int) -> bool:
        if not self._writer or not self._writer.idle or step == self._saved_step:
            return False
        by_steps = 0 < self._cadence.steps <= step - self._saved_step
        return by_steps or 0 < self._cadence.seconds <= time.monotonic() - self._saved_at

    def _save(self, place: Place, best: Best, *, stop: bool) -> None:
        random = self._group.gathered(random_state(self._group.device))
        if not self._writer:
            return
        started = time.monotonic()
        account = self._watch.record(closed=stop)
        parts = (self._network, self._optimizer, self._average)
        state = snapshot(*parts, place, best, random, account)
        top1 = best.top1 if place.batch == 0 and best.epoch == place.epoch - 1 else None
        self._writer.put(Snapshot(state, self._steps, place.epoch, top1))
        self._saved_step, self._saved_at = self._steps, time.monotonic()
        self._seconds.append(self._saved_at - started)

    def _written(self, entry: Entry, snapshot: Snapshot, seconds: float) -> None:
        self._watch.saved(
            snapshot.state["account"], entry.step, seconds, key_of(str(self._store), entry.name)
        )

    def _stop(self) -> None:
        self.stopped = f"stopped by SIGTERM after step {self._steps}"
        # None leaves before it is written: the first host that does might have the others ended.
        failure = self._group.alone(self._flush)
        if self._writer:
            written = self._writer.written
            if not failure and written:
                self.stopped += f", checkpoint {written.name}; start the job again to go on from there"
            else:
                self.stopped += f", without a checkpoint of it: {failure}"

    def _flush(self) -> str:
        return self._writer.flush() if self._writer else ""


class _Signals:
    """SIGTERM as a question that the loop asks."""

    def __init__(self) -> None:
        self.received = False
        self._previous: Any = None

    def install(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._note)

    def restore(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)
            self._previous = None

    def _note(self, _signum: int, _frame: FrameType | None) -> None:
        self.received = True
        self.restore()
