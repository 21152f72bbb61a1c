"""How step scaling policies choose a capacity.

https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-step-scaling-policies.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from localcloud.autoscaling.rules.tracking import (
    AT_DESIRED,
    AT_MAXIMUM,
    AT_MINIMUM,
    Bounds,
    Change,
    Memory,
    NotScaled,
    Suspended,
)

Adjustment = Literal["ChangeInCapacity", "PercentChangeInCapacity", "ExactCapacity"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """From `low` to `high`, as differences from the alarm's threshold, an adjustment."""

    low: float = -math.inf
    high: float = math.inf
    by: int

    def holds(self, difference: float) -> bool:
        """The bound that is nearer to the threshold belongs to the step."""
        above = self.high > 0
        return self.low <= difference < self.high if above else self.low < difference <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPolicy:
    """A step scaling policy.

    Args:
        cooldown: seconds.
        least: MinAdjustmentMagnitude: a percentage is at least so many.
    """

    name: str
    adjustment: Adjustment
    steps: Sequence[Step]
    cooldown: float = 0
    least: int = 0

    @property
    def out_cooldown(self) -> float:
        return self.cooldown

    @property
    def in_cooldown(self) -> float:
        return self.cooldown

    def capacity(self, base: int, difference: float) -> int:
        """Where a capacity is brought to, of a metric that is so far from the threshold.

        Example:
            >>> StepPolicy(name="p", adjustment="ChangeInCapacity", steps=[Step(by=2)]).capacity(1, 0.0)
            3
        """
        by = next((step.by for step in self.steps if step.holds(difference)), 0)
        if self.adjustment == "ExactCapacity":
            return by if any(step.holds(difference) for step in self.steps) else base
        if self.adjustment == "ChangeInCapacity":
            return base + by
        change = base * by / 100
        # Above 1 it is rounded down, between 0 and 1 up; below 0 likewise, away from it.
        whole = math.copysign(max(1, math.floor(abs(change))), change) if change else 0
        if by and abs(whole) < self.least:
            whole = math.copysign(self.least, by)
        return base + int(whole)


def read(name: str, configuration: Mapping[str, Any]) -> StepPolicy:
    """A policy from `StepScalingPolicyConfiguration`."""
    return StepPolicy(
        name=name,
        adjustment=configuration.get("AdjustmentType", "ChangeInCapacity"),
        steps=[
            Step(
                low=step.get("MetricIntervalLowerBound", -math.inf),
                high=step.get("MetricIntervalUpperBound", math.inf),
                by=step["ScalingAdjustment"],
            )
            for step in configuration.get("StepAdjustments", ())
        ],
        cooldown=configuration.get("Cooldown", 0),
        least=configuration.get("MinAdjustmentMagnitude", 0),
    )


def decide(
    policy: StepPolicy,
    difference: float,
    capacity: int,
    bounds: Bounds,
    suspended: Suspended,
    memory: Memory,
    now: float,
) -> Change | NotScaled | None:
    """What to do when the policy's alarm asks; None if a cooldown or a suspension forbids it.

    Args:
        difference: of the metric from the alarm's threshold.
        capacity: the present one.
        memory: of this policy's last changes.
    """
    # During the cooldown what was just added counts as part of the answer: only a larger step adds to it.
    cooling = now < memory.out_until
    base = min(memory.out_base, capacity) if cooling else capacity
    wanted = policy.capacity(base, difference)
    chosen = bounds.hold(wanted)
    if chosen > capacity:
        return None if suspended.scale_out else Change(capacity=chosen, before=capacity, policy=policy)
    if cooling:
        return None
    if chosen < capacity:
        if suspended.scale_in or now < memory.in_until:
            return None
        return Change(capacity=chosen, before=capacity, policy=policy)
    code = AT_MAXIMUM if wanted > chosen else AT_MINIMUM if wanted < chosen else AT_DESIRED
    return NotScaled(code=code, policy=policy, out=wanted >= capacity)
