"""Datapoints of a metric, by period, as CloudWatch's alarms see them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from localcloud.context import Cloud

# (metric as PutMetricAlarm takes it, end, real seconds of a period, how many), see `read`.
Source = Callable[[Mapping[str, Any], float, float, int], list[float | None]]
_NEWEST = 60_000  # as many as are kept of a metric


def read(
    cloud: Cloud, metric: Mapping[str, Any], end: float, period: float, count: int
) -> list[float | None]:
    """A metric's statistic in each of the last periods, oldest first; None where nothing was published.

    Args:
        metric: Namespace, MetricName, Dimensions, Statistic or ExtendedStatistic, and Unit, as
            PutMetricAlarm takes them.
        end: of the newest period, in epoch seconds.
        period: real seconds.
        count: of periods.
    """
    from ministack.core.responses import request_scope
    from ministack.services import cloudwatch

    dimensions = {entry["Name"]: entry["Value"] for entry in metric.get("Dimensions") or ()}
    key = (metric["Namespace"], metric["MetricName"], cloudwatch._dims_key(dimensions))
    with request_scope(cloud.account, cloud.region):
        points = (cloudwatch._metrics.get(key) or [])[-_NEWEST:]
    unit = metric.get("Unit")
    periods: list[list[dict[str, Any]]] = [[] for _ in range(count)]
    for point in points:
        if unit and unit != point["Unit"]:
            continue
        age = math.ceil((end - point["Timestamp"]) / period)  # 1 for the newest period
        if 1 <= age <= count:
            periods[count - age].append(point)
    statistic = metric.get("ExtendedStatistic") or metric["Statistic"]
    return [_statistic(cloudwatch, statistic, found) for found in periods]


def _statistic(cloudwatch: Any, name: str, points: list[dict[str, Any]]) -> float | None:
    stats = cloudwatch._calc_stats(points)
    if not stats:
        return None
    if name in stats:
        return float(stats[name])
    if cloudwatch._is_percentile_stat(name):
        value = cloudwatch._stat_value(stats, name, points)
        return None if value is None else float(value)
    return None
