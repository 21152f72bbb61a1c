"""What looks around again and again, in the background."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod


class Ticking(ABC):
    """Calls `tick` from `start` until `close`, with `pause` seconds between.

    Args:
        name: of its thread.
    """

    def __init__(self, name: str) -> None:
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)

    @abstractmethod
    def pause(self) -> float:
        """Seconds until the next tick."""

    @abstractmethod
    def tick(self) -> None:
        """Do what is due now; what it raises ends all ticks."""

    def start(self) -> None:
        """Tick from now on."""
        self._thread.start()

    def close(self) -> None:
        """Tick no more; waits for a tick that runs, for ten seconds at most."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        while not self._closed.wait(self.pause()):
            self.tick()
