"""How far the work is: what a worker did, and when the queue will be empty."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict, dataclass, fields

from training.preprocessing.ports import Depth
from training.preprocessing.records import DELETED, IMAGE, QUARANTINED, Record

WINDOW = 600.0


@dataclass(slots=True)
class Progress:
    """Counts of one worker since its start.

    `received`: messages; `done`: images that came into the dataset; `quarantined`: images that cannot be
    used; `deleted`: names whose object is gone; `duplicates`: changes that the ledger knew, or knew a newer
    one of; `ignored`: messages about no image; `poison`: messages left to the dead-letter queue; `failed`:
    changes that will be tried again.
    """

    received: int = 0
    done: int = 0
    quarantined: int = 0
    deleted: int = 0
    duplicates: int = 0
    ignored: int = 0
    poison: int = 0
    failed: int = 0

    def claimed(self, record: Record, accepted: bool) -> None:
        """Count what came of a claim."""
        if not accepted:
            self.duplicates += 1
        elif record.state == IMAGE:
            self.done += 1
        elif record.state == QUARANTINED:
            self.quarantined += 1
        elif record.state == DELETED:
            self.deleted += 1

    def line(self, depth: Depth | None, eta: float | None) -> str:
        """For the log.

        Example:
            >>> Progress(received=3, done=2, poison=1).line(Depth(10, 0), 60.0)
            'received 3, done 2, poison 1; queue: 10 waiting, 0 held, empty in about 60 s'
        """
        counts = asdict(self)
        shown = [f"{field.name} {counts[field.name]}" for field in fields(self) if counts[field.name]]
        text = ", ".join(shown) or "received 0"
        if depth is None:
            return text
        when = "" if eta is None else f", empty in about {eta:.0f} s"
        return f"{text}; queue: {depth.waiting} waiting, {depth.held} held{when}"


class Eta:
    """When the queue will be empty, from how fast it became shorter: of all workers, and uploads meanwhile.

    Example:
        >>> eta = Eta()
        >>> eta.look(0.0, Depth(100, 0)), eta.look(10.0, Depth(80, 0))
        (None, 40.0)
    """

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        self._looks: deque[tuple[float, int]] = deque()

    def look(self, now: float, depth: Depth) -> float | None:
        """Note the depth at `now` (seconds of any clock); seconds until empty, None while that is not in
        sight: at the first look, or when the queue does not get shorter."""
        left = depth.waiting + depth.held
        self._looks.append((now, left))
        while self._looks[0][0] < now - self._window:
            self._looks.popleft()
        since, before = self._looks[0]
        if not left:
            return 0.0
        if now <= since or left >= before:
            return None
        return left * (now - since) / (before - left)


def tally(records: list[Record]) -> Counter[str]:
    """How many records of each state a ledger has."""
    return Counter(record.state for record in records)
