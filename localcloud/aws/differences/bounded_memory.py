"""What MiniStack keeps in memory without end, though nobody reads it, or longer than AWS does.

CloudWatch keeps a metric by the minute, MiniStack each point of it. So once a metric has many, the older ones
of a minute that differ by less than a percent become one that counts them: sums, counts and the extremes stay
right, percentiles to a percent. A minute of any load leaves a few hundred of them.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html#metrics-retention
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from localcloud.context import Cloud

# Points of a metric; latencies of a busy endpoint are a thousand a second.
_POINTS_MOST, _POINTS_LEFT = 60_000, 50_000
# How many there are before any become one, and how many of the newest never do.
_MERGED_FROM, _FRESH = 500, 250
_APART = math.log(1.01)

Point = dict[str, Any]


def apply(cloud: Cloud) -> None:
    """Wrap the places where events and points are noted."""
    from ministack.services import cloudwatch, eventbridge

    bucket = cloudwatch._metric_bucket
    minute = 60 / cloud.clock
    next_merge: dict[tuple[Any, ...], int] = {}

    def metric_bucket(key: tuple[Any, ...]) -> list[Point]:
        points: list[Point] = bucket(key)
        if len(points) >= next_merge.get(key, _MERGED_FROM):
            points[:-_FRESH] = merged(points[:-_FRESH], minute)
            if len(points) >= _POINTS_MOST:
                del points[:-_POINTS_LEFT]
            # Where little became one it is tried again only after a quarter more has come.
            next_merge[key] = len(points) + max(_MERGED_FROM - _FRESH, len(points) // 4)
        return points

    def events_log_list() -> deque[Any]:
        return deque(maxlen=0)

    cloudwatch._metric_bucket = metric_bucket
    eventbridge._events_log_list = events_log_list


def merged(points: list[Point], minute: float) -> list[Point]:
    """Points of the same minute and unit, and of almost the same value, as one with their count and mean.

    Args:
        points: of one metric, as MiniStack keeps them; statistic sets, and the smallest and the largest value
            of each minute, stay as they are.
        minute: its length in seconds.
    """
    extremes: dict[tuple[Any, ...], tuple[float, float]] = {}
    for point in points:
        if "_stat" not in point:
            span, value = _span(point, minute), point["Value"]
            low, high = extremes.get(span, (value, value))
            extremes[span] = min(low, value), max(high, value)
    found: dict[tuple[Any, ...], Point] = {}
    for number, point in enumerate(points):
        if "_stat" in point:
            found[(number,)] = point
            continue
        span, value = _span(point, minute), point["Value"]
        key = (*span, value if value in extremes[span] else _step(value))
        if key not in found:
            # All are of one metric: its dimensions, half of a point's memory, are kept once.
            found[key] = {**point, "Count": point.get("Count", 1.0), "Dimensions": points[0]["Dimensions"]}
        else:
            _add(found[key], value, point.get("Count", 1.0))
    return list(found.values())


def _span(point: Point, minute: float) -> tuple[float, str]:
    return point["Timestamp"] // minute, point["Unit"]


def _step(value: float) -> tuple[float, int]:
    """The same for values that differ by less than a percent, mostly."""
    return math.copysign(1.0, value), round(math.log(abs(value)) / _APART) if value else -(10**6)


def _add(point: Point, value: float, count: float) -> None:
    total = point["Count"] + count
    if value != point["Value"]:
        point["Value"] += (value - point["Value"]) * count / total
    point["Count"] = total
