"""The queue, the bucket and the ledger, as far as the worker needs them.

Whatever a service answers that is no answer (no connection, throttled for long, not allowed) is raised as
`UnavailableError`: nothing was lost, the message comes again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from training.preprocessing.records import Record


class UnavailableError(Exception):
    """A service did not do what it was asked for; the text says which, what, and its answer."""


@dataclass(frozen=True, slots=True)
class Message:
    """A delivery of a message; `receipt` is what this delivery is deleted by."""

    id: str
    receipt: str
    body: str


@dataclass(frozen=True, slots=True)
class Stored:
    """An object in a listing; `size` in bytes."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class Depth:
    """Messages that wait, and that some worker holds; both are SQS's estimates."""

    waiting: int
    held: int


class Queue(Protocol):
    def receive(self, count: int, seconds: int, visibility: int) -> list[Message]:
        """Up to `count` messages (at most 10), hidden from others for `visibility` seconds; waits up to
        `seconds` for the first."""

    def extend(self, messages: Sequence[Message], seconds: int) -> None:
        """Hide these deliveries for `seconds` from now; 0 gives them back. Ended ones are passed over."""

    def delete(self, messages: Sequence[Message]) -> None:
        """What cannot be deleted is delivered again."""

    def depth(self) -> Depth: ...


class Objects(Protocol):
    def get(self, key: str, version: str | None, limit: int) -> bytes | None:
        """An object's bytes, or None when there is no such object or version.

        Raises:
            TooLarge: it has more than `limit` bytes; they are not read.
        """

    def put_new(self, key: str, data: bytes) -> None:
        """Write an object unless the key is taken: keys are hashes, what lies there is the same."""


class Store(Objects, Protocol):
    """What the manifest's commands need of the bucket besides."""

    def put(self, key: str, data: bytes) -> None: ...

    def list(self, prefix: str) -> Iterator[Stored]: ...

    def delete(self, keys: Iterable[str]) -> None: ...


class Ledger(Protocol):
    @property
    def at_once(self) -> int:
        """How many records a call should have."""

    def claim(self, records: Sequence[Record]) -> Iterator[tuple[Record, bool]]:
        """Write each record, all of other names, if the ledger has none of its name, or one of a smaller
        order. Gives each, with whether it was written, once that is known.

        Raises:
            UnavailableError: of what it has not given, nothing is known.
        """


class Records(Protocol):
    def all(self) -> Iterator[Record]:
        """Every record of the dataset."""
