"""Goodput: node-seconds of steps that count, over node-seconds that are paid. And what these cost.

Of a step counts the time in which it computed: not the time in which it waited for its data, nor what it took
beyond some times the usual one, when it waited for another host. A step that was done after the last
checkpoint is lost with the process: an account is carried in the checkpoint, so that one goes on from there
and pays for what was lost, as it pays for the start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

SCHEMA = 1
# Of the hosts' paid time, so that waiting for hosts moves nothing out of the window; noted in so many pieces.
RECENT_SECONDS, _PIECES = 900.0, 15
_USUAL_STEPS, _FIRST_STEPS, _LONGEST_STEP = 32, 8, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An account at the moment of a checkpoint, to be kept in it.

    `at`: epoch seconds. `useful`, `paid`: node-seconds. `cost`: in the currency of the price. `longest`:
    seconds, the most between two records so far. `closed`: the attempt ended with this record. `recent`:
    pairs of paid and useful, some time before.
    """

    attempt: int
    hosts: int
    at: float
    useful: float
    paid: float
    cost: float
    longest: float = 0.0
    closed: bool = False
    recent: Sequence[tuple[float, float]] = ()
    schema: int = SCHEMA

    def to_state(self) -> dict[str, Any]:
        """Plain values, as a checkpoint holds them."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any] | None) -> Record | None:
        """What `to_state` returned; None where there is none, or one of another version."""
        return cls(**state) if state and state.get("schema") == SCHEMA else None


class Account:
    """What one attempt's process knows of the whole job. Times are epoch seconds, and never go back.

    Args:
        attempt: The attempt's number.
        hosts: That train together, and are paid.
        began: Since when they are paid for this attempt.
        now: Since when this process trains; before it, in the same attempt, others may have.
        price: Of a host for an hour.
        before: Node-seconds that the attempts before this one were paid for, where somebody knows them.

    Example:
        >>> account = Account(attempt=1, hosts=2, began=0.0, now=0.0, price=3.6)
        >>> account.worked(45.0)
        >>> account.goodput(60.0), account.cost(60.0)
        (0.75, 0.12)
    """

    def __init__(
        self,
        *,
        attempt: int,
        hosts: int,
        began: float,
        now: float,
        price: float = 0.0,
        before: float | None = None,
    ) -> None:
        self._attempt, self._hosts, self._rate = attempt, hosts, price / 3600
        self._useful = self._longest = 0.0
        self._before, self._paid = before, before or 0.0
        self._cost = self._paid * self._rate
        self._seen = deque([(self._paid, 0.0)])
        self._now = max(began, now)
        self._since = self._recorded = min(began, now)

    def resume(self, record: Record) -> None:
        """Go on from a checkpoint's record.

        Hosts that stayed in the same attempt were paid all the time since then. Of an earlier attempt it is
        known `before`, or not known, how long it was paid after the record; then for as long as was the most
        between two records, so that goodput is rather told too low than too high. Attempts in between, which
        ended without a checkpoint of their own, are then not known at all.
        """
        self._useful, self._longest = record.useful, record.longest
        if record.attempt == self._attempt:
            self._since = max(self._now, record.at)
            lost = record.hosts * (self._since - record.at)
        elif self._before is not None:
            lost = max(0.0, self._before - record.paid)
        elif record.closed:
            lost = 0.0
        else:
            lost = record.hosts * min(record.longest, max(0.0, self._since - record.at))
        self._paid, self._cost = record.paid + lost, record.cost + lost * self._rate
        self._recorded = self._since
        self._seen = deque(
            [*((paid, useful) for paid, useful in record.recent), (record.paid, record.useful)]
        )

    def worked(self, seconds: float) -> None:
        """A step of all hosts that computed so long."""
        self._useful += self._hosts * seconds

    def useful(self) -> float:
        """Node-seconds."""
        return self._useful

    def paid(self, now: float) -> float:
        """Node-seconds."""
        return self._paid + self._hosts * self._seconds(now)

    def cost(self, now: float) -> float:
        """Of the whole job so far."""
        return self._cost + self._rate * self._hosts * self._seconds(now)

    def goodput(self, now: float) -> float:
        """From 0 to 1, of the whole job so far."""
        return _share(self._useful, self.paid(now))

    def recent(self, now: float) -> float | None:
        """From 0 to 1, of the last quarter of an hour that was paid: low at once when a job that ran well for
        days does not any more. None while nothing was paid."""
        paid, window = self.paid(now), RECENT_SECONDS * self._hosts
        while len(self._seen) > 1 and self._seen[1][0] <= paid - window:
            self._seen.popleft()
        if paid - self._seen[-1][0] >= window / _PIECES:
            self._seen.append((paid, self._useful))
        paid_before, useful_before = self._seen[0]
        return _share(self._useful - useful_before, paid - paid_before) if paid > paid_before else None

    def record(self, now: float, *, closed: bool = False) -> Record:
        """To be kept in a checkpoint whose state is of this moment; `closed`: the process ends after it."""
        now = max(now, self._recorded)
        self._longest, self._recorded = max(self._longest, now - self._recorded), now
        return Record(
            attempt=self._attempt,
            hosts=self._hosts,
            at=now,
            useful=self._useful,
            paid=self.paid(now),
            cost=self.cost(now),
            longest=self._longest,
            closed=closed,
            recent=tuple(self._seen),
        )

    def _seconds(self, now: float) -> float:
        # A clock that is set back takes nothing back that is paid.
        self._now = max(self._now, now)
        return max(0.0, self._now - self._since)


class Usual:
    """How much of a step's time is work, by the steps before it.

    Example:
        >>> usual = Usual()
        >>> [usual.work(seconds) for seconds in (9.0, *[0.1] * 20, 30.0, 0.3)][-2:]
        [0.5, 0.3]
    """

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_USUAL_STEPS)

    def work(self, seconds: float) -> float:
        """Up to five times the median of the last steps; of the first ones, which compile, all."""
        known = sorted(self._seconds)
        self._seconds.append(seconds)
        if len(known) < _FIRST_STEPS:
            return seconds
        return min(seconds, _LONGEST_STEP * known[len(known) // 2])


def _share(useful: float, paid: float) -> float:
    # Clocks of steps and of payment differ by microseconds.
    return min(1.0, max(0.0, useful / paid)) if paid > 0 else 0.0
