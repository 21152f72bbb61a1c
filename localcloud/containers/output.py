"""Output of a process, line by line."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import IO

MAX_LINE = 256 * 1024  # CloudWatch Logs takes events of 256 KB
_CHUNK = 64 * 1024


class LinePump:
    """A thread that reads a pipe to its end and hands complete lines on, several at a time.

    Args:
        pipe: read and closed here.
        sink: called in this thread only; what it raises ends the delivery, not the reading, since a full
            pipe would stop the process.
    """

    def __init__(self, pipe: IO[bytes], sink: Callable[[list[str]], None]) -> None:
        self._pipe, self._sink = pipe, sink
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="container-output")
        self._thread.start()

    def _run(self) -> None:
        rest = b""
        with self._pipe:
            while chunk := os.read(self._pipe.fileno(), _CHUNK):
                *complete, rest = (rest + chunk).split(b"\n")
                if len(rest) > MAX_LINE:
                    complete, rest = [*complete, rest], b""
                self._deliver(complete)
        self._deliver([rest] if rest else [])

    def _deliver(self, lines: list[bytes]) -> None:
        if not lines or self.error is not None:
            return
        try:
            parts = (line[i : i + MAX_LINE] for line in lines for i in range(0, len(line) or 1, MAX_LINE))
            self._sink([part.decode("utf-8", "replace").rstrip("\r") for part in parts])
        except Exception as error:
            self.error = error

    def finish(self, timeout: float = 30) -> None:
        """Wait until everything has been delivered."""
        self._thread.join(timeout)
