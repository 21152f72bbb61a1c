"""A bucket, a queue and a ledger in memory, on a clock that the test turns; they repeat as AWS may."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import quote_plus

import numpy as np
from PIL import Image

from training.common.images import TooLarge
from training.preprocessing.batch import Ports, Worker
from training.preprocessing.events import Source
from training.preprocessing.ports import Depth, Message, Stored, UnavailableError
from training.preprocessing.recipe import Recipe
from training.preprocessing.records import Record
from training.vision.preprocess import Shares

SOURCE = Source("uploads", "dogs")
OUTPUT = "datasets/dogs"
RECIPE = Recipe(image_size=8, shares=Shares(0.2, 0.2))
VISIBILITY = 60.0


@cache
def picture(number: int) -> bytes:
    """A small PNG, another one for each number; 0 is no image."""
    if number == 0:
        return b"not an image"
    pixels = np.random.default_rng(number).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@dataclass
class MemoryQueue:
    """Messages are visible again some time after they were received."""

    world: World
    messages: dict[str, str] = field(default_factory=dict)
    hidden: dict[str, float] = field(default_factory=dict)
    receipts: dict[str, str] = field(default_factory=dict)
    sent: int = 0

    def send(self, body: str) -> None:
        self.sent += 1
        self.messages[f"m{self.sent}"] = body

    def visible(self) -> list[str]:
        return [name for name in self.messages if self.hidden.get(name, 0.0) <= self.world.now]

    def take(self, name: str) -> Message:
        self.sent += 1
        receipt = f"r{self.sent}"
        self.receipts[receipt] = name
        self.hidden[name] = self.world.now + VISIBILITY
        return Message(name, receipt, self.messages[name])

    def receive(self, count: int, seconds: int, visibility: int) -> list[Message]:
        self.world.may_fail("receive")
        found = [self.take(name) for name in self.visible()[: min(10, count)]]
        if not found:
            self.world.now += seconds
        return found

    def extend(self, messages: Sequence[Message], seconds: int) -> None:
        for message in messages:
            if self.receipts[message.receipt] in self.messages:
                self.hidden[message.id] = self.world.now + seconds

    def delete(self, messages: Sequence[Message]) -> None:
        self.world.may_fail("delete")
        for message in messages:
            self.messages.pop(self.receipts[message.receipt], None)

    def depth(self) -> Depth:
        return Depth(len(self.visible()), len(self.messages) - len(self.visible()))


@dataclass
class MemoryStore:
    """A bucket; `versions` of a key, the last one the current, None for a marker of deletion."""

    world: World
    versions: dict[str, list[tuple[str, bytes | None]]] = field(default_factory=dict)

    def get(self, key: str, version: str | None, limit: int) -> bytes | None:
        self.world.may_fail("get")
        found = self.versions.get(key, [])
        current = found[-1][1] if found else None
        data = current if version is None else dict(found).get(version)
        if data is not None and len(data) > limit:
            raise TooLarge(f"is larger than {limit:,} bytes")
        return data

    def put_new(self, key: str, data: bytes) -> None:
        self.world.may_fail("put")
        if key in self.versions:
            assert self.versions[key][-1][1] == data
        else:
            self.put(key, data)

    def put(self, key: str, data: bytes) -> None:
        self.versions[key] = [("", data)]

    def list(self, prefix: str) -> Iterator[Stored]:
        for key, found in sorted(self.versions.items()):
            if key.startswith(prefix) and found[-1][1] is not None:
                yield Stored(key, len(found[-1][1]))

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            del self.versions[key]


@dataclass
class MemoryLedger:
    world: World
    records: dict[str, Record] = field(default_factory=dict)

    @property
    def at_once(self) -> int:
        return 2

    def claim(self, records: Sequence[Record]) -> Iterator[tuple[Record, bool]]:
        for record in records:
            self.world.may_fail("claim")
            known = self.records.get(record.name)
            taken = known is None or known.order < record.order
            if taken:
                self.records[record.name] = record
                # An answer may be lost after the write.
                self.world.may_fail("answer")
            yield record, taken

    def all(self) -> Iterator[Record]:
        yield from list(self.records.values())


class World:
    """All of it. `faults`: operations of which the next one fails, once each."""

    def __init__(self, *, versioned: bool = False) -> None:
        self.now = 1_000_000.0
        self.versioned = versioned
        self.faults: set[str] = set()
        self.queue = MemoryQueue(self)
        self.uploads = MemoryStore(self)
        self.output = MemoryStore(self)
        self.ledger = MemoryLedger(self)
        self.events = 0

    def may_fail(self, operation: str) -> None:
        if operation in self.faults:
            self.faults.discard(operation)
            raise UnavailableError(f"{operation} did not answer")

    def worker(self, **change: object) -> Worker:
        ports = Ports(queue=self.queue, objects=self.uploads, shards=self.output, ledger=self.ledger)
        arguments = {
            "ports": ports,
            "source": SOURCE,
            "output": OUTPUT,
            "recipe": RECIPE,
            "clock": lambda: self.now,
            "each": map,
            **change,
        }
        return Worker(**arguments)

    def upload(self, name: str, data: bytes, *, bridged: bool = True) -> None:
        key = SOURCE.key(name)
        version = f"v{self.events}" if self.versioned else None
        kept = self.uploads.versions.get(key, []) if self.versioned else []
        self.uploads.versions[key] = [*kept, (version or "", data)]
        self._tell("Created:Put", key, version, len(data), bridged)

    def remove(self, name: str, *, bridged: bool = True, last_version: bool = False) -> None:
        """Deletes an object; in a versioned bucket a marker is put on it, or the last version is deleted."""
        key = SOURCE.key(name)
        found = self.uploads.versions.get(key, [])
        if self.versioned and not last_version:
            found.append((f"v{self.events}", None))
        elif found:
            found.pop()
        if not found:
            self.uploads.versions.pop(key, None)
        self._tell("Removed:Delete", key, "v" if self.versioned else None, 0, bridged)

    def current(self) -> dict[str, bytes]:
        """What lies in the bucket, by name."""
        start = SOURCE.key("")
        return {
            key.removeprefix(start): found[-1][1]
            for key, found in self.uploads.versions.items()
            if found[-1][1] is not None
        }

    def drain(self) -> None:
        """Work until only poison is left."""
        self.faults.clear()
        for _ in range(3):
            self.now += VISIBILITY + 1
            while self.queue.visible():
                batch = [self.queue.take(name) for name in self.queue.visible()[:7]]
                for _step in self.worker().process(batch):
                    pass

    def _tell(self, what: str, key: str, version: str | None, size: int, bridged: bool) -> None:
        self.events += 1
        # Of different lengths, as S3's: 5 comes after 4F, and before 51.
        order = f"{self.events // 16:04x}" + (f"{self.events % 16:X}" if self.events % 16 else "")
        self.queue.send(event(what, key, order, version=version, size=size, bridged=bridged))


def event(
    what: str,
    key: str,
    order: str,
    *,
    version: str | None = None,
    size: int = 0,
    bridged: bool = True,
    bucket: str = SOURCE.bucket,
) -> str:
    """A message's body; `what` is `Created:Put`, `Removed:Delete` or the like."""
    item = {"key": key if bridged else quote_plus(key, safe="/"), "size": size, "sequencer": order}
    if version:
        item["version-id" if bridged else "versionId"] = version
    if bridged:
        kind = "Object Created" if what.startswith("Created") else "Object Deleted"
        detail = {"bucket": {"name": bucket}, "object": item}
        return json.dumps({"source": "aws.s3", "detail-type": kind, "detail": detail})
    record = {
        "eventSource": "aws:s3",
        "eventName": f"Object{what}",
        "s3": {"bucket": {"name": bucket}, "object": item},
    }
    return json.dumps({"Records": [record]})
