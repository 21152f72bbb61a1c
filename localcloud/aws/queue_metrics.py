"""What SQS publishes about its queues, once a minute.

Here of every queue; AWS falls silent about one that nobody has used for six hours. `NumberOfMessagesSent` and
its like, which count calls, are not published.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from localcloud.aws.metrics import put_metric
from localcloud.aws.minutely import EveryMinute
from localcloud.context import Cloud

NAMESPACE = "AWS/SQS"


class QueueMetrics(EveryMinute):
    """Measures the queues of one cloud in the background, by its clock."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__("sqs-metrics", cloud)

    def publish(self) -> None:
        """Measure each queue once."""
        from ministack.core.responses import request_scope
        from ministack.services import sqs

        with request_scope(self._cloud.account, self._cloud.region):
            queues = list(sqs._queues.values())
        for queue in queues:
            seconds = float(queue["attributes"].get("MessageRetentionPeriod", 345_600))
            found = measured(list(queue["messages"]), time.time(), retention=seconds)
            for name, (value, unit) in found.items():
                put_metric(self._cloud, NAMESPACE, name, value, unit, {"QueueName": queue["name"]})


def measured(
    messages: Iterable[Mapping[str, Any]], now: float, *, retention: float
) -> dict[str, tuple[float, str]]:
    """Value and unit by metric.

    Args:
        messages: as MiniStack holds them, times as epoch seconds.
        retention: seconds after which a message is gone, which MiniStack sees when the queue is used next.
    """
    visible = delayed = in_flight = 0
    oldest = now
    for message in messages:
        since = float(message.get("enqueued_at", message.get("sent_at", now)))
        if since <= now - retention:
            continue
        oldest = min(oldest, since)
        if message.get("visible_at", now) <= now:
            visible += 1
        elif message.get("receive_count"):
            in_flight += 1
        else:
            delayed += 1
    return {
        "ApproximateNumberOfMessagesVisible": (visible, "Count"),
        "ApproximateNumberOfMessagesNotVisible": (in_flight, "Count"),
        "ApproximateNumberOfMessagesDelayed": (delayed, "Count"),
        "ApproximateAgeOfOldestMessage": (now - oldest, "Seconds"),
    }


def install(cloud: Cloud) -> QueueMetrics:
    """Publish the metrics of every queue from now on; `close` ends it."""
    metrics = QueueMetrics(cloud)
    metrics.start()
    return metrics
