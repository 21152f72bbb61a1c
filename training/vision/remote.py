"""Shards in S3, read where they are: in blocks, ahead of the training, and no more than it needs soon.

A dataset may be larger than the host's disk, and training begins with the first block. Blocks are read by
s3torchconnector, AWS's client in Rust: https://github.com/awslabs/s3-connector-for-pytorch
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Protocol

from training.common.failure import UserError
from training.vision.checkpoints.s3 import make_client
from training.vision.checkpoints.store import StoreError
from training.vision.order import BLOCK_BYTES
from training.vision.shards import Entry

READERS = 8  # requests on their way
# With pauses between them of up to 1, 2, 4, 8, 16, then 20 s, by chance, while S3 makes room: four minutes in
# all as a rule, so that what follows is what ends the waiting.
ATTEMPTS = 30
# For the blocks of a batch, all together, whatever goes on below; decoding does not count. Shorter than other
# ranks wait for one that is silent, by so much that they hear the reason: `elastic.ranks.SILENCE`.
WAIT_SECONDS = 150.0
REGIONS, ENDPOINTS = ("AWS_REGION", "AWS_DEFAULT_REGION"), ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
Block = tuple[str, int]


class Ranges(Protocol):
    """A client that reads parts of objects."""

    def read(self, address: str, offset: int, size: int) -> bytes:
        """The bytes, fewer at the object's end; raises StoreError when S3 does not give them."""


class Objects:
    """Ranges of objects in S3.

    Args:
        addresses: `s3://bucket/key` of all that will be asked for.
        client: that reads them; by default s3torchconnector, or boto3 where that cannot be used.
    """

    def __init__(self, addresses: Sequence[str], client: Ranges | None = None) -> None:
        self._client = client or (Connector(addresses) if usable() else Boto())

    def read(self, address: str, offset: int, size: int) -> bytes:
        """Raises UserError when S3 does not give them."""
        try:
            data = self._client.read(address, offset, size)
        except StoreError as error:
            # Not a mistake that would be made again: the job may go on when S3 does.
            raise UserError(f"{address} cannot be read: {' '.join(str(error).split())[:300]}") from error
        if len(data) != size:
            end = offset + size
            raise UserError(f"{address} has {offset + len(data)} bytes, its index names {end} or more")
        return data


def usable() -> bool:
    """Whether s3torchconnector is installed, and can be used here: it trusts the certificates of the system
    alone, whatever the environment says, and waits for ever for a server that it does not trust."""
    return find_spec("s3torchconnector") is not None and not os.environ.get("AWS_CA_BUNDLE")


class Connector:
    """s3torchconnector's. A reader of an object is made once, since that asks S3 for the object's size."""

    def __init__(self, addresses: Sequence[str]) -> None:
        from s3torchconnector import S3ClientConfig, S3MapDataset, S3ReaderConstructor

        endpoint = _first(ENDPOINTS)
        self._places = {address: place for place, address in enumerate(addresses)}
        self._dataset = S3MapDataset.from_objects(
            list(addresses),
            region=_first(REGIONS) or "us-east-1",
            endpoint=endpoint or None,
            s3client_config=S3ClientConfig(force_path_style=bool(endpoint), max_attempts=ATTEMPTS),
            reader_constructor=S3ReaderConstructor.range_based(buffer_size=0),
        )
        self._lock = threading.Lock()
        self._readers: dict[str, tuple[Any, threading.Lock]] = {}

    def read(self, address: str, offset: int, size: int) -> bytes:
        from s3torchconnectorclient import S3Exception

        with self._lock:
            if address not in self._readers:
                self._readers[address] = self._dataset[self._places[address]], threading.Lock()
            reader, lock = self._readers[address]
        try:
            with lock:
                reader.seek(offset)
                return bytes(reader.read(size))
        except S3Exception as error:
            raise StoreError(str(error)) from error


class Boto:
    """boto3's. Each reader has a client: with one, whatever it was told, boto3 repeats a hundred requests at
    most until some succeed, and readers that are all refused need more.
    https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # boto3 does not make clients in two threads at the same time
        self._free = [make_client(attempts=ATTEMPTS)]

    def read(self, address: str, offset: int, size: int) -> bytes:
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, _, key = address.removeprefix("s3://").partition("/")
        asked = {"Bucket": bucket, "Key": key, "Range": f"bytes={offset}-{offset + size - 1}"}
        with self._lock:
            client = self._free.pop() if self._free else make_client(attempts=ATTEMPTS)
        try:
            return bytes(client.get_object(**asked)["Body"].read())
        except (BotoCoreError, ClientError, OSError) as error:
            raise StoreError(str(error)) from error
        finally:
            self._free.append(client)


@dataclass(frozen=True, slots=True)
class Distant(Entry):
    """An image in a shard in S3, `address`, of `length` bytes; `shard` is no more than its name."""

    address: str
    length: int
    objects: Objects = field(repr=False, compare=False)

    def read(self) -> bytes:
        return self.objects.read(self.address, self.offset, self.size)

    @property
    def blocks(self) -> range:
        """Those that it lies in: one, or two."""
        return range(self.offset // BLOCK_BYTES, (self.offset + self.size - 1) // BLOCK_BYTES + 1)


class Ahead:
    """The images of an epoch, whose blocks are read before they are asked for, once each.

    A block is kept until its last image was taken. Blocks that nobody waits for yet are read as long as all
    that are kept have less than `budget` bytes.

    Args:
        entries: in the order in which they will be asked for, by several threads at the same time.
        budget: bytes.

    Example:
        with Ahead(entries, budget=512 * 1024 * 1024) as ahead, ahead.awaited():
            images = [ahead.read(place) for place in range(len(entries))]
    """

    def __init__(self, entries: Sequence[Distant], budget: int) -> None:
        self._entries, self._budget = entries, budget
        self._uses: Counter[Block] = Counter()
        self._plan: dict[Block, Distant] = {}
        for entry in entries:
            for number in entry.blocks:
                block = (entry.address, number)
                self._uses[block] += 1
                self._plan.setdefault(block, entry)
        self._numbers = {block: place for place, block in enumerate(self._plan)}
        self._order = list(self._plan)
        self._change = threading.Condition()
        self._next, self._wanted, self._held = 0, -1, 0
        self._data: dict[Block, bytes | BaseException] = {}
        self._deadline: float | None = None
        self._waiting, self._idle = 0, 0.0  # callers that lack a block, and since when there was none
        self._closed = False
        self.most = 0  # bytes that were kept at the same time

    def __enter__(self) -> Ahead:
        for _ in range(min(READERS, len(self._order))):
            threading.Thread(target=self._work, name="shards", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._change:
            self._closed = True
            self._data.clear()
            self._change.notify_all()

    @contextlib.contextmanager
    def awaited(self) -> Iterator[None]:
        """While somebody waits for a batch: its blocks are waited for so long only, all of them together.

        Those that are read while nobody waits for the batch yet have time; so has what is decoded.
        """
        self._expect(time.monotonic() + WAIT_SECONDS)
        try:
            yield
        finally:
            self._expect(None)

    def _expect(self, deadline: float | None) -> None:
        with self._change:
            self._deadline, self._idle = deadline, time.monotonic()
            self._change.notify_all()

    @contextlib.contextmanager
    def _blocked(self) -> Iterator[None]:
        """While a caller lacks a block. Time in which none does is not S3's, and moves the deadline."""
        if self._deadline is not None and not self._waiting:
            self._deadline += time.monotonic() - self._idle
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            self._idle = time.monotonic()

    def read(self, place: int) -> bytes:
        """The bytes of an image; each may be asked for once.

        Raises:
            UserError: S3 does not give them, or not in time for the batch that is `awaited`.
        """
        entry = self._entries[place]
        parts = []
        for number in entry.blocks:
            start = number * BLOCK_BYTES
            data = self._take((entry.address, number))
            parts.append(data[max(0, entry.offset - start) : entry.offset + entry.size - start])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _take(self, block: Block) -> bytes:
        with self._change:
            if self._numbers[block] > self._wanted:
                self._wanted = self._numbers[block]
                self._change.notify_all()
            with self._blocked():
                while not (self._closed or block in self._data):
                    left = None if self._deadline is None else self._deadline - time.monotonic()
                    if left is not None and left <= 0:
                        # As what S3 refuses: the job may go on when it answers.
                        slow = f"S3 has not given a batch within {WAIT_SECONDS:.0f} s"
                        raise UserError(f"{block[0]} cannot be read: {slow}") from StoreError(slow)
                    self._change.wait(left)
            if self._closed:
                raise RuntimeError("nobody asks for images any more")
            data = self._data[block]
            if isinstance(data, BaseException):
                raise data
            self._uses[block] -= 1
            if not self._uses[block]:
                del self._data[block]
                self._held -= len(data)
                self._change.notify_all()
            return data

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(self._may_go_on)
                if self._closed or self._next == len(self._order):
                    return
                block = self._order[self._next]
                self._next += 1
                entry, start = self._plan[block], block[1] * BLOCK_BYTES
                size = min(BLOCK_BYTES, entry.length - start)
                self._held += size
                self.most = max(self.most, self._held)
            try:
                data: bytes | BaseException = entry.objects.read(entry.address, start, size)
            except BaseException as error:  # whoever asks for it hears of it
                data = error
            with self._change:
                if not self._closed:
                    self._data[block] = data
                self._change.notify_all()

    def _may_go_on(self) -> bool:
        if self._closed or self._next == len(self._order):
            return True
        return self._next <= self._wanted or self._held + BLOCK_BYTES <= self._budget


def _first(names: Sequence[str]) -> str:
    return next((found for name in names if (found := os.environ.get(name))), "")
