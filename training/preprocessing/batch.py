"""A worker's steps with one batch of messages, in the order that makes it safe to die between any two.

    read the messages -> prepare the images -> store the shards -> claim in the ledger -> delete the messages

The claim is the commit. Before it nothing names the shard, and the messages come again. After it the ledger
names a shard that exists; the messages that then come again are claims of what is known, and refused. Of two
workers with the same message one is refused; its copy of the image lies in its shard, and nobody looks there.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, TypeVar

from training.common.failure import say
from training.common.hosts import usable_cpus
from training.common.images import MAX_BYTES, ImageError, TooLarge
from training.preprocessing.events import Change, PoisonError, Source, changes_in
from training.preprocessing.ports import Ledger, Message, Objects, Queue, UnavailableError
from training.preprocessing.progress import Progress
from training.preprocessing.recipe import Recipe
from training.preprocessing.records import DELETED, IMAGE, MAX_REASON, QUARANTINED, Record
from training.vision.folders import Photo, prepare
from training.vision.parallel import ordered
from training.vision.preprocess import SPLITS, split_of
from training.vision.shards import Entry, Sample, ShardWriter, read_shards

# A shard is named only in the first hour of its life: the collection of garbage relies on it.
CLAIM_WITHIN = 3600.0
# Requests wait for S3, not for a CPU.
THREADS = 16
MISPLACED = "lies in no class folder: its key must be <prefix>/<class>/<name>"

Item = TypeVar("Item")
Result = TypeVar("Result")


class Each(Protocol):
    """`map`, or one that works ahead, as `training.vision.parallel.ordered`."""

    def __call__(self, work: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a change: a `record` for the ledger, with a `sample` if it is an image, or None: it
    could not be read now."""

    change: Change
    record: Record | None = None
    sample: Sample | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What a worker works with; `objects` of the uploads' bucket, `shards` of the bucket for the output."""

    queue: Queue
    objects: Objects
    shards: Objects
    ledger: Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Turns messages into shards and records.

    Args:
        source: where the images lie.
        output: prefix of the shards in their bucket, without a slash at its end.
        clock: seconds since 1970.
        stopping: whether to prepare no more, and finish what is prepared.
        each: `map`, or one that works ahead.
    """

    ports: Ports
    source: Source
    output: str
    recipe: Recipe
    clock: Callable[[], float]
    stopping: Callable[[], bool] = lambda: False
    each: Each = field(default_factory=lambda: partial(ordered, ahead=2 * THREADS, threads=THREADS))
    progress: Progress = field(default_factory=Progress)
    _decoding: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(usable_cpus()))
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def process(self, messages: Sequence[Message]) -> Iterator[str]:
        """Work on a batch. Names each step that comes next; between any two a worker may be killed.

        Raises:
            UnavailableError: shards or records cannot be written. What is not deleted comes again.
        """
        self.progress.received += len(messages)
        readable = self._read(messages)
        changes = newest(change for _, found in readable for change in found)
        with TemporaryDirectory(prefix="batch-") as folder:
            outcomes: list[Outcome] = []
            for outcome in self.each(partial(self._prepare, folder=Path(folder)), changes):
                yield "prepare"
                outcomes.append(outcome)
                if self.stopping():
                    break
            began = self.clock()
            shards, records = self._pack(outcomes, Path(folder), datetime.fromtimestamp(began, UTC))
            for key, path in shards.items():
                yield "store"
                self.ports.shards.put_new(key, path.read_bytes())
        settled = set()
        yield "claim"
        for names in self.each(partial(self._claim, began=began), _parts(records, self.ports.ledger.at_once)):
            settled |= names
            yield "claim"
        failed = {outcome.change.name for outcome in outcomes if outcome.record is None}
        self.progress.failed += len(failed)
        finished, unfinished = [], []
        for message, found in readable:
            names = {change.name for change in found}
            if names <= settled:
                finished.append(message)
            elif not names & failed:  # what failed waits until its visibility ends
                unfinished.append(message)
        yield "delete"
        self.ports.queue.delete(finished)
        yield "give back"
        self.ports.queue.extend(unfinished, 0)

    def _read(self, messages: Sequence[Message]) -> list[tuple[Message, list[Change]]]:
        """The messages that can be understood, with what they say."""
        readable = []
        for message in messages:
            try:
                changes = changes_in(message.body, self.source)
            except PoisonError as error:
                self.progress.poison += 1
                say(f"message {message.id} is left to the dead-letter queue: it {error}")
                continue
            self.progress.ignored += not changes
            readable.append((message, changes))
        return readable

    def _prepare(self, change: Change, folder: Path) -> Outcome:
        """Runs in a thread; whatever is wrong with the image is in the answer."""
        try:
            data = self._read_object(change)
        except ImageError as error:
            return self._quarantined(change, str(error))
        except UnavailableError as error:
            say(f"{change.name!r} will be tried again: {error}")
            return Outcome(change)
        if data is None:
            return Outcome(change, self._record(change, DELETED))
        path = folder / hashlib.sha256(change.name.encode()).hexdigest()
        path.write_bytes(data)
        del data
        with self._decoding:  # an image in memory is much larger than its file
            prepared = prepare(Photo(path, change.name), self.recipe.side)
        path.unlink()
        if prepared.sample is None:
            return self._quarantined(change, prepared.problem)
        record = replace(
            self._record(change, IMAGE),
            digest=prepared.digest,
            key=prepared.sample.key,
            label=prepared.sample.label,
            split=split_of(prepared.digest, self.recipe.shares),
        )
        return Outcome(change, record, prepared.sample)

    def _read_object(self, change: Change) -> bytes | None:
        if change.size > MAX_BYTES:
            raise TooLarge(f"is larger than {MAX_BYTES:,} bytes")
        # None: it is gone. If another version is the current one now, an event of its own says so.
        data = self.ports.objects.get(self.source.key(change.name), change.version, MAX_BYTES)
        if data is not None and change.misplaced:
            raise ImageError(MISPLACED)
        return data

    def _record(self, change: Change, state: str, reason: str = "") -> Record:
        return Record(
            name=change.name, order=change.order, state=state, recipe=str(self.recipe), reason=reason
        )

    def _quarantined(self, change: Change, reason: str) -> Outcome:
        say(f"{change.name!r} is quarantined: {reason}")
        return Outcome(change, self._record(change, QUARANTINED, reason[:MAX_REASON]))

    def _pack(
        self, outcomes: Sequence[Outcome], folder: Path, day: datetime
    ) -> tuple[dict[str, Path], list[Record]]:
        """Shards by their keys, and all records, those of images with their places."""
        places: dict[str, tuple[str, Entry]] = {}
        shards: dict[str, Path] = {}
        for split in SPLITS:
            below = folder / split
            below.mkdir()
            with ShardWriter(below, 0) as writer:
                for outcome in outcomes:
                    if outcome.sample and outcome.record and outcome.record.split == split:
                        writer.write(outcome.sample)
            keys = {path: shard_key(self.output, day, path.read_bytes()) for path in below.glob("*.tar")}
            shards |= {key: path for path, key in keys.items()}
            places |= {entry.name: (keys[entry.shard], entry) for entry in read_shards(below)}
        records = [outcome.record for outcome in outcomes if outcome.record]
        placed = [
            record.in_shard(*places[record.name]) if record.state == IMAGE else record for record in records
        ]
        return shards, placed

    def _claim(self, records: Sequence[Record], began: float) -> set[str]:
        """Runs in a thread, and counts there: what was claimed counts also when another claim fails."""
        if self.clock() - began > CLAIM_WITHIN:
            raise UnavailableError("the shards of this batch are too old to be named; it comes again")
        for record, accepted in self.ports.ledger.claim(records):
            with self._counting:
                self.progress.claimed(record, accepted)
        return {record.name for record in records}


def newest(changes: Iterable[Change]) -> list[Change]:
    """The last change of each object, by name: the same changes in any order give the same list, and so the
    same bytes."""
    found: dict[str, Change] = {}
    for change in changes:
        if change.name not in found or found[change.name].order < change.order:
            found[change.name] = change
    return [found[name] for name in sorted(found)]


def shard_key(output: str, day: datetime, data: bytes) -> str:
    """Where a shard is stored: below its day, named by the hash of its bytes.

    With the day in it no worker names a shard that is about to be collected as an old one's garbage.
    """
    return f"{output}/shards/{day:%Y-%m-%d}/{hashlib.sha256(data).hexdigest()}.tar"


def _parts(records: Sequence[Record], size: int) -> Iterator[Sequence[Record]]:
    for start in range(0, len(records), size):
        yield records[start : start + size]
