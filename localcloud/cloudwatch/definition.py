"""What a metric alarm watches, and the words in which it tells its state. No I/O.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from localcloud.autoscaling.rules.alarm import LOOK_BACK, Alarm, State
from localcloud.cloudwatch.datapoints import Source
from localcloud.cloudwatch.queries import Queries, read

_MINUTE, _HIGH_RESOLUTION = 60, 10
_SIDES = {
    "GreaterThanThreshold": "greater than",
    "GreaterThanOrEqualToThreshold": "greater than or equal to",
    "LessThanThreshold": "less than",
    "LessThanOrEqualToThreshold": "less than or equal to",
}
_TREATED = {"breaching": "Breaching", "notBreaching": "NonBreaching"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A metric alarm.

    Args:
        metric: Namespace, MetricName, Dimensions, the statistic and Unit, as PutMetricAlarm takes them; None
            for an alarm on an expression, which has `queries`.
        period: seconds.
    """

    name: str
    rule: Alarm
    metric: Mapping[str, Any] | None
    queries: Queries | None
    period: int

    @property
    def every(self) -> int:
        """Seconds between evaluations: a minute, ten seconds for high-resolution alarms.

        The periods looked at end then, so that those of longer alarms slide.
        https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
        """
        return _MINUTE if self.period >= _MINUTE else _HIGH_RESOLUTION

    @property
    def count(self) -> int:
        """How many periods are looked at."""
        return self.rule.periods + LOOK_BACK

    def points(self, source: Source, end: float, seconds: float) -> list[float | None]:
        """The datapoints that it looks at, oldest first; see `datapoints.read`."""
        if self.queries is not None:
            return self.queries.points(source, end, seconds, self.count)
        return source(self.metric or {}, end, seconds, self.count)


def watched(alarm: Mapping[str, Any]) -> Watched | None:
    """An alarm as DescribeAlarms shows it; None for those that are not evaluated here.

    These are alarms on anomaly bands, and those of target tracking, which the scaler sees to.
    """
    comparison = str(alarm.get("ComparisonOperator"))
    queries = read(alarm["Metrics"]) if alarm.get("Metrics") else None
    single = bool(alarm.get("MetricName") and alarm.get("Namespace"))
    if comparison not in _SIDES or not (queries or single):
        return None
    actions = [str(action) for action in alarm.get("AlarmActions") or ()]
    if alarm["AlarmName"].startswith("TargetTracking-") and any(":scalingPolicy:" in a for a in actions):
        return None
    rule = Alarm(
        comparison=comparison,
        threshold=float(alarm["Threshold"]),
        periods=int(alarm["EvaluationPeriods"]),
        datapoints=alarm.get("DatapointsToAlarm"),
        missing=alarm.get("TreatMissingData") or "missing",
    )
    period = queries.period if queries else int(alarm["Period"])
    metric = None if queries else alarm
    return Watched(name=alarm["AlarmName"], rule=rule, metric=metric, queries=queries, period=period)


def reason(found: Watched, state: State, points: Sequence[float | None], end: float, seconds: float) -> str:
    """Why an alarm is in a state, as CloudWatch says it.

    Args:
        points: oldest first.
        end: of the newest, in epoch seconds.
        seconds: of a period, real ones.
    """
    rule = found.rule
    if state is State.INSUFFICIENT_DATA:
        return f"Insufficient Data: {_counted(rule.periods)} {_was(rule.periods)} unknown."
    known = _known(points, end, seconds)[-rule.periods :]
    if not known:
        treated = _TREATED.get(rule.missing, "Missing")
        return (
            f"Threshold Crossed: no datapoints were received for {_counted(rule.periods, 'period')} and "
            f"{_counted(rule.periods, 'missing datapoint')} {_was(rule.periods)} treated as [{treated}]."
        )
    shown = [(value, moment) for value, moment in known if rule.breaches(value) is (state is State.ALARM)]
    shown = shown or known
    values = ", ".join(f"{value} ({moment:%d/%m/%y %H:%M:%S})" for value, moment in shown)
    no = "" if state is State.ALARM else "not "
    crossed = f"{_was(len(shown))} {no}{_SIDES[rule.comparison]} the threshold ({rule.threshold})"
    if rule.periods == 1:
        return f"Threshold Crossed: {_counted(len(shown))} [{values}] {crossed}."
    least = f"(minimum {_counted(rule.needed)} for OK -> ALARM transition)"
    return (
        f"Threshold Crossed: {len(shown)} out of the last {_counted(rule.periods)} [{values}] {crossed}"
        f"{f' {least}' if state is State.ALARM else ''}."
    )


def reason_data(found: Watched, points: Sequence[float | None], end: float, seconds: float) -> str:
    """The same for programs: JSON of version 1.0."""
    rule, known, metric = found.rule, _known(points, end, seconds), found.metric or {}
    document = {
        "version": "1.0",
        "queryDate": _iso(datetime.fromtimestamp(end, UTC)),
        **({"startDate": _iso(known[0][1])} if known else {}),
        **({"unit": metric["Unit"]} if metric.get("Unit") else {}),
        **({"statistic": metric.get("ExtendedStatistic") or metric["Statistic"]} if metric else {}),
        "period": found.period,
        "recentDatapoints": [value for value, _ in known[-rule.periods :]],
        "threshold": rule.threshold,
        "evaluatedDatapoints": [
            {"timestamp": _iso(moment), "value": value} for value, moment in reversed(known[-rule.periods :])
        ],
    }
    return json.dumps(document)


def _known(points: Sequence[float | None], end: float, seconds: float) -> list[tuple[float, datetime]]:
    begin = end - len(points) * seconds
    return [
        (value, datetime.fromtimestamp(begin + index * seconds, UTC))
        for index, value in enumerate(points)
        if value is not None
    ]


def _iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.000+0000"


def _counted(number: int, what: str = "datapoint") -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
