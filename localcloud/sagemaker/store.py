"""State of the local SageMaker: documents in one SQLite file, with waiters and subscribers."""

from __future__ import annotations

import json
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Document = dict[str, Any]
Subscriber = Callable[[str, Document | None, Document | None], None]
_Change = tuple[str, Document | None, Document | None]

_log = logging.getLogger(__name__)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (kind, name)
)
"""
_INDEX = "CREATE INDEX IF NOT EXISTS alike ON documents (kind, name COLLATE NOCASE)"
_LAST = "\U0010ffff"  # sorts after every character that a name may hold


class AlreadyExists(Exception):
    """The name is taken in this kind."""


class NotFound(Exception):
    """Nothing of this kind has that name."""


def now() -> float:
    """The time as SageMaker writes it: epoch seconds with milliseconds."""
    return round(time.time(), 3)


class Store:
    """Documents by kind and name, in the shape of the API's Describe responses.

    Times are epoch seconds; members that start with `_` are private and never leave the service. Every
    method is safe to call from any thread, and every write is one transaction. Subscribers hear each
    committed change exactly once, in the order of the commits, on a thread of their own, so they may call
    the store and take their time.

    Example:
        >>> store = Store(Path(":memory:"))
        >>> store.create("model", "m", {"ModelName": "m"})
        >>> store.update("model", "m", lambda record: record.update(Size=1))["Size"]
        1
        >>> store.close()
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._depth = 0
        self._pending: list[_Change] = []
        self._subscribers: list[Subscriber] = []
        self._deliveries: queue.Queue[_Change | None] = queue.Queue()
        self._messenger: threading.Thread | None = None
        # Transactions are opened by hand: the module's implicit ones begin too late for a read-modify-write.
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute(_SCHEMA)
        self._connection.execute(_INDEX)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the writes inside one: all of them are seen, or, after an exception, none. Nests."""
        with self._lock:
            if self._depth == 0:
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
                if self._depth == 1:
                    self._connection.execute("COMMIT")
                    self._publish()
            except BaseException:
                if self._depth == 1 and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._pending.clear()

    def create(self, kind: str, name: str, record: Document) -> None:
        """Add a document. Raises AlreadyExists."""
        with self.transaction():
            body = json.dumps(record)
            try:
                self._connection.execute(
                    "INSERT INTO documents (kind, name, body) VALUES (?, ?, ?)", (kind, name, body)
                )
            except sqlite3.IntegrityError:
                raise AlreadyExists(f"{kind} {name} exists") from None
            self._pending.append((kind, None, _parse(body)))

    def get(self, kind: str, name: str) -> Document:
        """Return a copy of a document. Raises NotFound."""
        record = self.find(kind, name)
        if record is None:
            raise NotFound(f"no {kind} {name}")
        return record

    def find(self, kind: str, name: str) -> Document | None:
        """Return a copy of a document, or None."""
        return self._one("SELECT body FROM documents WHERE kind = ? AND name = ?", kind, name)

    def find_alike(self, kind: str, name: str) -> Document | None:
        """Return a copy of the document with this name, in small letters or capitals, or None."""
        return self._one("SELECT body FROM documents WHERE kind = ? AND name = ? COLLATE NOCASE", kind, name)

    def update(self, kind: str, name: str, change: Callable[[Document], None]) -> Document:
        """Read, change in place and write in one transaction; return the new document.

        Nothing is written when `change` raises, nor when it leaves the document as it was. Raises NotFound.
        """
        with self.transaction():
            old = self.get(kind, name)
            new = self.get(kind, name)
            change(new)
            if new != old:
                body = json.dumps(new)
                self._connection.execute(
                    "UPDATE documents SET body = ? WHERE kind = ? AND name = ?", (body, kind, name)
                )
                self._pending.append((kind, old, _parse(body)))
            return new

    def delete(self, kind: str, name: str) -> None:
        """Remove a document. Raises NotFound."""
        with self.transaction():
            old = self.get(kind, name)
            self._connection.execute("DELETE FROM documents WHERE kind = ? AND name = ?", (kind, name))
            self._pending.append((kind, old, None))

    def query(
        self, kind: str, *, prefix: str = "", where: Callable[[Document], bool] | None = None
    ) -> list[Document]:
        """Return copies of the documents whose names begin with `prefix`, oldest first."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT body FROM documents WHERE kind = ? AND name >= ? AND name < ? ORDER BY sequence",
                (kind, prefix, prefix + _LAST),
            ).fetchall()
        records = (_parse(row[0]) for row in rows)
        return [record for record in records if where is None or where(record)]

    def wait(
        self, kind: str, name: str, until: Callable[[Document], bool], timeout: float | None = None
    ) -> Document:
        """Block until the document satisfies `until`, and return it.

        `until` sees the newest state only: states that pass quickly may go unseen. `timeout` is in seconds.
        Raises TimeoutError, and NotFound when the document is missing or goes away.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            if self._depth:
                raise RuntimeError("wait() inside a transaction would never see another thread's write")
            while not until(record := self.get(kind, name)):
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"{kind} {name} did not get there in {timeout:g} s")
                self._changed.wait(left)
            return record

    def subscribe(self, callback: Subscriber) -> None:
        """Call `callback(kind, old, new)` after each committed change; old or new is None at either end."""
        with self._lock:
            self._subscribers.append(callback)
            if self._messenger is None:
                self._messenger = threading.Thread(target=self._deliver, name="store-changes", daemon=True)
                self._messenger.start()

    def close(self) -> None:
        """Deliver what is outstanding and close the file."""
        if self._messenger is not None:
            self._deliveries.put(None)
            self._messenger.join()
        with self._lock:
            self._connection.close()

    def _one(self, query: str, kind: str, name: str) -> Document | None:
        with self._lock:
            row = self._connection.execute(query, (kind, name)).fetchone()
        return None if row is None else _parse(row[0])

    def _publish(self) -> None:
        if self._messenger is not None:
            for change in self._pending:
                self._deliveries.put(change)
        self._changed.notify_all()

    def _deliver(self) -> None:
        while (change := self._deliveries.get()) is not None:
            for callback in list(self._subscribers):
                try:
                    callback(*change)
                except Exception:
                    # One subscriber's failure must not keep the change from the next one.
                    _log.exception("a subscriber failed on a change of a %s", change[0])


def _parse(body: str) -> Document:
    record: Document = json.loads(body)
    return record
