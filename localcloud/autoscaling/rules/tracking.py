"""How target tracking policies choose a capacity.

https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html
https://docs.aws.amazon.com/autoscaling/application/APIReference/API_TargetTrackingScalingPolicyConfiguration.html

AWS documents the alarms, the cooldowns and what several policies do together, not the formula. Here it is
proportional: `ceil(capacity * metric / target)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from localcloud.autoscaling.rules.alarm import Alarm, State, evaluate

HIGH_PERIODS, LOW_SECONDS, LOW_SHARE = 3, 900, 0.9
_MINUTE = 60

# Codes of NotScaledReasons.
AT_MAXIMUM, AT_MINIMUM, AT_DESIRED = (
    "AlreadyAtMaxCapacity",
    "AlreadyAtMinCapacity",
    "AlreadyAtDesiredCapacity",
)


class Cooled(Protocol):
    """What every kind of policy has: a name, and cooldowns in seconds."""

    @property
    def name(self) -> str: ...

    @property
    def out_cooldown(self) -> float: ...

    @property
    def in_cooldown(self) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A target tracking policy.

    Args:
        target: of the metric, per unit of capacity.
        out_cooldown, in_cooldown: seconds.
        disable_in: never remove capacity.
        period: of the metric, in seconds: 60, or 10 for high-resolution metrics.
    """

    name: str
    target: float
    out_cooldown: float = 300
    in_cooldown: float = 300
    disable_in: bool = False
    period: int = _MINUTE

    @property
    def high(self) -> Alarm:
        """Above the target three times in a row."""
        return _alarm("GreaterThanThreshold", self.target, HIGH_PERIODS)

    @property
    def low(self) -> Alarm | None:
        """Below 90 % of the target for fifteen minutes; None if scale-in is disabled."""
        if self.disable_in:
            return None
        return _alarm("LessThanThreshold", self.target * LOW_SHARE, max(1, LOW_SECONDS // self.period))


@lru_cache(maxsize=256)
def _alarm(comparison: str, threshold: float, periods: int) -> Alarm:
    return Alarm(comparison=comparison, threshold=threshold, periods=periods)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Least and greatest capacity."""

    minimum: int
    maximum: int

    def hold(self, capacity: int) -> int:
        """The nearest capacity within."""
        return max(self.minimum, min(self.maximum, capacity))


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspended:
    """What must not happen for now."""

    scale_in: bool = False
    scale_out: bool = False
    scheduled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What earlier activities leave behind; times in seconds.

    Args:
        out_until, in_until: ends of the cooldowns.
        out_base: capacity before the first activity of the running scale-out cooldown.
    """

    out_until: float = -math.inf
    in_until: float = -math.inf
    out_base: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """What a policy's metric and alarms say.

    Args:
        high, low: states of the alarms; low is None if scale-in is disabled.
        newest: last datapoint.
        peak: highest datapoint of those that AlarmLow looks at.
    """

    policy: Policy
    high: State = State.INSUFFICIENT_DATA
    low: State | None = None
    newest: float | None = None
    peak: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Another capacity, and the policy that asks for it."""

    capacity: int
    before: int
    policy: Cooled

    @property
    def out(self) -> bool:
        """Whether capacity is added."""
        return self.capacity > self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class NotScaled:
    """An alarm asked, and nothing is changed: why, as NotScaledReasons has it."""

    code: str
    policy: Cooled
    out: bool


def look(before: Signal, points: Sequence[float | None]) -> Signal:
    """Evaluate a policy's alarms.

    Args:
        before: the last signal, or `Signal(policy=...)`.
        points: the metric by period, oldest first, None where there is none.
    """
    policy = before.policy
    low, peak = None, None
    if policy.low is not None:
        low = evaluate(policy.low, points, before.low or State.INSUFFICIENT_DATA)
        known = [value for value in points[-policy.low.periods :] if value is not None]
        peak = max(known, default=None)
    return Signal(
        policy=policy,
        high=evaluate(policy.high, points, before.high),
        low=low,
        newest=next((value for value in reversed(points) if value is not None), None),
        peak=peak,
    )


def decide(
    signals: Sequence[Signal], capacity: int, bounds: Bounds, suspended: Suspended, memory: Memory, now: float
) -> Change | NotScaled | None:
    """What to do; None if no alarm asks for anything, or a cooldown or a suspension forbids it.

    Any policy may scale out, and the one that wants most decides. All policies that may scale in must agree
    to do so, and again the one that wants most decides. Every answer lies within the bounds.

    Args:
        capacity: the present one; nothing may be on its way.
    """
    wanting_out = [signal for signal in signals if signal.high is State.ALARM]
    if wanting_out:
        return _out(wanting_out, capacity, bounds, suspended, memory, now)
    able = [signal for signal in signals if signal.low is not None]
    if able and all(signal.low is State.ALARM for signal in able):
        return _in(able, capacity, bounds, suspended, memory, now)
    return None


def _out(
    signals: Sequence[Signal], capacity: int, bounds: Bounds, suspended: Suspended, memory: Memory, now: float
) -> Change | NotScaled | None:
    if suspended.scale_out:
        return None
    # During the cooldown what was just added counts as part of the answer to the metric, which may not know
    # it yet: only more than that adds.
    cooling = now < memory.out_until
    base = min(memory.out_base, capacity) if cooling else capacity
    needs = [(need(base, signal.newest, signal.policy.target), signal.policy) for signal in signals]
    wanted, policy = max(needs, key=lambda pair: pair[0])
    chosen = bounds.hold(wanted)
    if chosen > capacity:
        return Change(capacity=chosen, before=capacity, policy=policy)
    if cooling:
        return None
    return NotScaled(code=AT_MAXIMUM if wanted > chosen else AT_DESIRED, policy=policy, out=True)


def _in(
    signals: Sequence[Signal], capacity: int, bounds: Bounds, suspended: Suspended, memory: Memory, now: float
) -> Change | NotScaled | None:
    if suspended.scale_in or now < memory.in_until:
        return None
    # The highest of the fifteen minutes, not the newest: what goes was not needed all the while.
    needs = [(need(capacity, signal.peak, signal.policy.target), signal.policy) for signal in signals]
    wanted, policy = max(needs, key=lambda pair: pair[0])
    chosen = bounds.hold(wanted)
    if chosen < capacity:
        return Change(capacity=chosen, before=capacity, policy=policy)
    return NotScaled(code=AT_MINIMUM if wanted < chosen else AT_DESIRED, policy=policy, out=False)


def need(capacity: int, value: float | None, target: float) -> int:
    """Capacity with which a metric that is shared by all of it comes down to its target.

    Example:
        >>> need(2, 140.0, 70.0)
        4
    """
    if value is None:
        return capacity
    ratio = capacity * value / target
    # A metric is a sum of many 1/n: what is off by rounding must not start an instance.
    return math.ceil(round(ratio, 6))


def remember(memory: Memory, change: Change, decided: float, completed: float) -> Memory:
    """The cooldowns after a change.

    Args:
        decided, completed: when it was decided and when its capacity was there; cooldowns begin then.
    """
    if not change.out:
        until = completed + change.policy.in_cooldown
        return Memory(out_until=memory.out_until, out_base=memory.out_base, in_until=until)
    going_on = decided < memory.out_until
    return Memory(
        out_until=completed + change.policy.out_cooldown,
        out_base=memory.out_base if going_on else change.before,
    )
