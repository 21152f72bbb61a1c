"""A line for every authorization decision of every service, so that unused grants can be found."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_BATCH_SECONDS = 0.2
_ROTATE_BYTES = 64 * 2**20


class Audit:
    """Appends decisions to a file of JSON lines: time, principal, action, resource, decision, conditions.

    A decision is written within a quarter of a second by a thread that sleeps while nothing happens.

    Example:
        >>> audit.record("arn:aws:iam::000000000000:user/a", "s3:GetObject", "arn:aws:s3:::b/k", "Allow")
    """

    def __init__(self, path: Path) -> None:
        if path.exists() and path.stat().st_size > _ROTATE_BYTES:
            path.replace(path.with_suffix(".jsonl.1"))
        self._file = path.open("a", encoding="utf-8")
        # Whoever decides waits for the first one only; the second keeps the lines in their order.
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._waiting: list[str] = []
        self._filled = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def record(
        self,
        principal: str,
        action: str,
        resource: str,
        decision: str,
        conditions: Mapping[str, Any] | None = None,
    ) -> None:
        """Note a decision: `Allow`, `Deny` (explicit), `ImplicitDeny`, or a failed signature's code.

        `conditions`: the request's own condition keys; without them two statements on one resource, which
        differ in a condition, could not be told apart.
        """
        line = json.dumps(
            {
                "time": round(time.time(), 3),
                "principal": principal,
                "action": action,
                "resource": resource,
                "decision": decision,
                **({"conditions": dict(conditions)} if conditions else {}),
            },
            default=str,
        )
        with self._lock:
            self._waiting.append(line)
        self._filled.set()

    def flush(self) -> None:
        """Write what waits. Meanwhile decisions are noted as ever: they do not wait for the disk."""
        with self._writing:
            with self._lock:
                lines, self._waiting = self._waiting, []
            if lines and not self._file.closed:
                self._file.write("\n".join(lines) + "\n")
                self._file.flush()

    def close(self) -> None:
        """Write what waits and end the thread."""
        self._closed = True
        self._filled.set()
        self._thread.join(timeout=5)
        self.flush()
        with self._writing:
            self._file.close()

    def _run(self) -> None:
        while not self._closed:
            self._filled.wait()
            self._filled.clear()
            if not self._closed:
                time.sleep(_BATCH_SECONDS)
            self.flush()
