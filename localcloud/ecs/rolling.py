"""What a service's scheduler does next. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_FEWEST_FAILURES, _MOST_FAILURES = 3, 200
_PATIENCE, _LONGEST_DELAY = 2, 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A task of a service that is meant to run.

    Args:
        current: of the newest deployment, and not on an instance that drains.
    """

    key: str
    current: bool
    running: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """How many tasks to start, and which to stop."""

    start: int = 0
    stop: tuple[str, ...] = ()


def plan(desired: int, members: Sequence[Member], lowest: int, highest: int) -> Steps:
    """The next steps towards `desired` tasks of the newest deployment.

    Args:
        members: oldest first.
        lowest, highest: `minimumHealthyPercent` and `maximumPercent`.

    Example:
        >>> plan(2, [], 100, 200)
        Steps(start=2, stop=())
    """
    current = [member for member in members if member.current]
    old = [member for member in members if not member.current]
    surplus = sorted(current, key=lambda member: member.running)[: max(0, len(current) - desired)]
    stop = [member.key for member in surplus]
    healthy = math.ceil(desired * lowest / 100)
    running = sum(1 for member in members if member.running and member.key not in stop)
    ready = sum(1 for member in current if member.running) >= desired
    for member in sorted(old, key=lambda each: each.running):
        if not member.running or ready or running > healthy:
            stop.append(member.key)
            running -= member.running
    room = max(math.floor(desired * highest / 100), desired if not old else 0)
    start = min(desired - len(current), room - (len(members) - len(stop)))
    return Steps(start=max(0, start), stop=tuple(stop))


def delay(failures: int) -> float:
    """Seconds until the next start after so many failures in a row: none at first, a minute at last."""
    return 0.0 if failures <= _PATIENCE else min(_LONGEST_DELAY, 2.0 ** (failures - _PATIENCE))


def broken(failures: int, desired: int) -> bool:
    """Whether the deployment circuit breaker opens.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html
    """
    threshold = max(_FEWEST_FAILURES, min(_MOST_FAILURES, math.ceil(desired / 2)))
    return failures >= threshold
