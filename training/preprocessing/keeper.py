"""Keeps messages hidden from other workers for as long as this one works on them."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from types import TracebackType

from training.common.failure import say
from training.preprocessing.ports import Message, Queue, UnavailableError


class Keeper(AbstractContextManager["Keeper"]):
    """Extends the visibility of what it holds, three times in each `visibility` seconds, from a thread.

    When it fails, the messages are delivered to another worker too. That costs work and nothing else: the
    ledger takes one claim.

    Example:
        >>> with Keeper(queue, visibility=120) as keeper:  # doctest: +SKIP
        ...     keeper.hold(messages)
    """

    def __init__(self, queue: Queue, visibility: int) -> None:
        self._queue = queue
        self.visibility = visibility
        self._held: list[Message] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def hold(self, messages: list[Message]) -> None:
        """Extend these too, from now on."""
        with self._lock:
            self._held += messages

    def release(self) -> None:
        """Extend no more; the messages come back when their visibility ends, unless they were deleted.

        Waits for an extension on its way: it would hide again what was given back.
        """
        with self._lock:
            self._held = []

    def __enter__(self) -> Keeper:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self.visibility / 3):
            with self._lock:
                if self._held:
                    try:
                        self._queue.extend(self._held, self.visibility)
                    except UnavailableError as error:
                        say(f"messages may be delivered to another worker as well: {error}")
