"""What MiniStack keeps in memory without end, though nobody reads it, or longer than AWS does.

CloudWatch keeps a metric by the minute, MiniStack each point of it. So once a metric has many, the older ones
of a minute that agree in three digits become one that counts them: sums and counts stay right, percentiles to
half a percent.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html#metrics-retention
"""

from __future__ import annotations

from collections import deque
from typing import Any

from localcloud.context import Cloud

# Points of a metric; latencies of a busy endpoint are a thousand a second.
_POINTS_MOST, _POINTS_LEFT = 60_000, 50_000
# How many there are before any become one, and how many of the newest never do.
_MERGED_FROM, _FRESH = 500, 250
_DIGITS = 3

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
    """Points of the same minute, unit and value, to three digits, as one with their count.

    Args:
        points: of one metric, as MiniStack keeps them; statistic sets stay as they are.
        minute: its length in seconds.
    """
    found: dict[tuple[Any, ...], Point] = {}
    for number, point in enumerate(points):
        if "_stat" in point:
            found[(number,)] = point
            continue
        value = float(f"{point['Value']:.{_DIGITS}g}")
        key = (point["Timestamp"] // minute, point["Unit"], value)
        count = point.get("Count", 1.0)
        if key in found:
            found[key]["Count"] += count
        else:
            # All are of one metric: its dimensions, half of a point's memory, are kept once.
            same = {"Value": value, "Count": count, "Dimensions": points[0]["Dimensions"]}
            found[key] = {**point, **same}
    return list(found.values())
