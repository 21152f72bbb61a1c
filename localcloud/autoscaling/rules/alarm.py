"""When a CloudWatch alarm changes its state.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

# CloudWatch looks at more datapoints than an alarm asks for, so that a few missing ones do not matter. How
# many more is not documented; its examples show two.
LOOK_BACK = 2

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


class State(StrEnum):
    """State of an alarm."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alarm on one metric.

    Args:
        comparison: CloudWatch's name, for example `GreaterThanThreshold`.
        periods: EvaluationPeriods.
        datapoints: DatapointsToAlarm; None for all periods.
        missing: TreatMissingData: `missing`, `ignore`, `breaching` or `notBreaching`.
    """

    comparison: str
    threshold: float
    periods: int
    datapoints: int | None = None
    missing: str = "missing"

    def breaches(self, value: float) -> bool:
        """Whether one datapoint is on the wrong side."""
        return _COMPARE[self.comparison](value, self.threshold)

    @property
    def needed(self) -> int:
        """How many datapoints must breach."""
        return self.datapoints or self.periods


def evaluate(alarm: Alarm, points: Sequence[float | None], before: State) -> State:
    """State of an alarm after the newest period.

    Args:
        points: the statistic of each period, oldest first, None where there is no data; at most
            `alarm.periods + LOOK_BACK` of the newest are looked at.
        before: its state until now.

    Example:
        >>> high = Alarm(comparison="GreaterThanThreshold", threshold=70, periods=3)
        >>> evaluate(high, [80, 90, 75], State.OK)
        <State.ALARM: 'ALARM'>
    """
    looked_at = points[-(alarm.periods + LOOK_BACK) :]
    known = [value for value in looked_at if value is not None]
    if len(known) >= alarm.periods:
        return _counted(alarm, sum(alarm.breaches(value) for value in known[-alarm.periods :]))
    breaching = sum(alarm.breaches(value) for value in known)
    if alarm.missing == "breaching":
        return _counted(alarm, breaching + alarm.periods - len(known))
    if alarm.missing == "notBreaching":
        return _counted(alarm, breaching)
    if breaching >= alarm.needed or breaching < len(known):
        return _counted(alarm, breaching)
    return _too_little(alarm, looked_at, before)


def _too_little(alarm: Alarm, looked_at: Sequence[float | None], before: State) -> State:
    if all(value is None for value in looked_at):
        return before if alarm.missing == "ignore" else State.INSUFFICIENT_DATA
    # All that is known breaches, but it is too little. It counts as enough once it is old enough.
    oldest = next(age for age, value in _by_age(looked_at) if value is not None)
    old_enough = alarm.missing == "missing" and oldest >= alarm.needed
    return State.ALARM if old_enough else before


def _counted(alarm: Alarm, breaching: int) -> State:
    return State.ALARM if breaching >= alarm.needed else State.OK


def _by_age(points: Sequence[float | None]) -> list[tuple[int, float | None]]:
    """(how many periods old, value), oldest first; the newest is one period old."""
    return [(len(points) - index, value) for index, value in enumerate(points)]
