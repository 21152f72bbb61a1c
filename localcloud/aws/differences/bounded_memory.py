"""What MiniStack keeps in memory without end, though nobody reads it, or longer than AWS does.

CloudWatch keeps a metric by the minute, MiniStack each point of it. So once a metric has many, the older ones
of a minute that differ by less than a percent become one that counts them: sums, counts and the extremes stay
right, percentiles to a percent. A minute of any load leaves a few hundred of them.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html#metrics-retention

Points are appended by any thread, by MiniStack's code and without a lock. So a list is only ever changed in
place, up to where it ended when it was looked at: what is appended meanwhile stays behind that.
"""

from __future__ import annotations

import math
import threading
import time
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

    minute = 60 / cloud.clock
    next_merge: dict[tuple[Any, ...], int] = {}
    # Who finds it taken goes on: a long list does no harm for a moment, and the event loop must not wait.
    changing = threading.Lock()

    def metric_bucket(key: tuple[Any, ...]) -> list[Point]:
        # At once: two threads that come first get one list.
        points: list[Point] = cloudwatch._metrics.setdefault(key, [])
        if len(points) >= next_merge.get(key, _MERGED_FROM) and changing.acquire(blocking=False):
            try:
                _shorten(points, minute)
                # Where little became one it is tried again only after a quarter more has come.
                next_merge[key] = len(points) + max(_MERGED_FROM - _FRESH, len(points) // 4)
            finally:
                changing.release()
        return points

    def evict_old_metrics() -> None:
        if changing.acquire(blocking=False):
            try:
                _evict(cloudwatch._metrics, time.time() - cloudwatch.TWO_WEEKS_SECONDS)
            finally:
                changing.release()

    def events_log_list() -> deque[Any]:
        return deque(maxlen=0)

    cloudwatch._metric_bucket, cloudwatch._evict_old_metrics = metric_bucket, evict_old_metrics
    eventbridge._events_log_list = events_log_list


def _shorten(points: list[Point], minute: float) -> None:
    old = max(0, len(points) - _FRESH)
    points[:old] = merged(points[:old], minute)
    if len(points) >= _POINTS_MOST:
        del points[:-_POINTS_LEFT]


def _evict(lists: Any, since: float) -> None:
    """Take out what is older; a metric that has nothing else is no more."""
    for key, points in list(lists.items()):
        # Points come by time, but for those that callers date themselves: they go with their neighbours.
        if points and points[0]["Timestamp"] < since:
            old = len(points)
            points[:old] = [each for each in points[:old] if each["Timestamp"] >= since]
            if not points:
                lists.pop(key)


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
