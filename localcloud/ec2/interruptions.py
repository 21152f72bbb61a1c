"""Spot takes hosts back: `interruptions.json` in the state folder says which.

It has the instances, and the seconds of notice that each is given; 120 on AWS:

    {"i-0123456789abcdef0": 120}

The seconds are real ones, whatever `--clock` says: it is in them that programs save what they have. A host
that stands alone, of Spot or not, reads it in its metadata, and is gone when they have passed; for those of
an ECS cluster see `localcloud.ecs.interruption`. One that the file names no more stays; a file that cannot be
read, as one that is being written, changes nothing.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
"""

from __future__ import annotations

import json
import logging
import threading
import time

from localcloud.folder import StateFolder

_log = logging.getLogger(__name__)


class Wanted:
    """What the file says now. One that is none changes nothing: somebody may be writing it."""

    def __init__(self, folder: StateFolder) -> None:
        self._file = folder.interruptions
        self._seen: bytes | str | None = None  # its bytes, or why it could not be read
        self._seconds: dict[str, float] = {}

    def seconds(self) -> dict[str, float]:
        """Of notice, by instance."""
        try:
            seen = self._file.read_bytes()
        except FileNotFoundError:
            self._seen, self._seconds = None, {}
            return self._seconds
        except OSError as error:
            return self._kept(str(error), error)
        if seen != self._seen:
            try:
                found = {str(name): max(0.0, float(value)) for name, value in json.loads(seen).items()}
            except (ValueError, TypeError, AttributeError) as error:
                return self._kept(seen, error)
            self._seen, self._seconds = seen, found
        return self._seconds

    def _kept(self, seen: bytes | str, error: Exception) -> dict[str, float]:
        """What counted before; the reason is told of once."""
        if seen != self._seen:
            self._seen = seen
            told = '%s is no object such as {"i-0123456789abcdef0": 120}; what it said before stays: %s'
            _log.error(told, self._file, error)
        return self._seconds


class Notices:
    """When hosts go, counted from when the file was first seen to name them."""

    def __init__(self, folder: StateFolder) -> None:
        self._wanted, self._first = Wanted(folder), dict[str, float]()
        self._lock = threading.Lock()

    def facts(self, instance_id: str) -> dict[str, str]:
        """What the host's metadata say of it; nothing where nobody wants the host back."""
        end = self._end(instance_id)
        if end is None:
            return {}
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
        return {
            "spot/instance-action": json.dumps({"action": "terminate", "time": moment}),
            "spot/termination-time": moment,
        }

    def due(self, instance_id: str) -> bool:
        """Whether the time is up."""
        end = self._end(instance_id)
        return end is not None and time.time() >= end

    def _end(self, instance_id: str) -> float | None:
        with self._lock:
            seconds = self._wanted.seconds().get(instance_id)
            if seconds is None:
                self._first.pop(instance_id, None)
                return None
            return self._first.setdefault(instance_id, time.time()) + seconds
