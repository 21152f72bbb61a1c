"""What MiniStack keeps in memory without end, though nobody reads it, or longer than AWS does.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html#metrics-retention
"""

from __future__ import annotations

from collections import deque
from typing import Any

# Points of a metric; latencies of a busy endpoint are a thousand a second, and AWS keeps sums of minutes.
_POINTS_MOST, _POINTS_LEFT = 60_000, 50_000


def apply() -> None:
    """Wrap the places where events and points are noted."""
    from ministack.services import cloudwatch, eventbridge

    bucket = cloudwatch._metric_bucket

    def metric_bucket(key: tuple[Any, ...]) -> list[dict[str, Any]]:
        points: list[dict[str, Any]] = bucket(key)
        if len(points) >= _POINTS_MOST:
            del points[:-_POINTS_LEFT]
        return points

    def events_log_list() -> deque[Any]:
        return deque(maxlen=0)

    cloudwatch._metric_bucket = metric_bucket
    eventbridge._events_log_list = events_log_list
