"""The metric of an alarm on an expression: `Metrics` of PutMetricAlarm. No I/O.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataQuery.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localcloud.cloudwatch import expression
from localcloud.cloudwatch.datapoints import Source
from localcloud.cloudwatch.expression import ExpressionError, Node, Series

_BASIC = frozenset({"SampleCount", "Average", "Sum", "Minimum", "Maximum"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """Metrics and expressions of one alarm.

    Args:
        metrics: by id, as PutMetricAlarm takes single metrics.
        expressions: by id, each after those that it refers to.
        watched: id of what is compared with the threshold.
        period: seconds.
    """

    metrics: Mapping[str, Mapping[str, Any]]
    expressions: Mapping[str, Node]
    watched: str
    period: int

    def points(self, source: Source, end: float, seconds: float, count: int) -> Series:
        """What is watched in each of the last periods, oldest first; see `datapoints.read`."""
        series = {name: source(metric, end, seconds, count) for name, metric in self.metrics.items()}
        for name, node in self.expressions.items():
            series[name] = expression.evaluate(node, series, list(self.metrics), self.period)
        return series[self.watched]


def read(queries: Sequence[Mapping[str, Any]]) -> Queries:
    """Read and check `Metrics` of an alarm.

    Raises:
        ExpressionError: AWS would refuse it, or the local CloudWatch does not know what it asks for.
    """
    metrics: dict[str, Mapping[str, Any]] = {}
    nodes: dict[str, Node] = {}
    periods, returned = set(), []
    for query in queries:
        name = query["Id"]
        if name in metrics or name in nodes:
            raise ExpressionError(f"Metrics has the Id {name} twice.")
        if str(query.get("ReturnData", True)).lower() == "true":
            returned.append(name)
        if "MetricStat" in query:
            stat = query["MetricStat"]
            metrics[name] = _metric(stat)
            periods.add(int(stat["Period"]))
        elif query.get("Expression"):
            nodes[name] = expression.parse(query["Expression"])
        else:
            raise ExpressionError(f"Metrics {name} has neither MetricStat nor Expression.")
    if len(returned) != 1:
        raise ExpressionError("Exactly one element of Metrics must have ReturnData true.")
    if len(periods) != 1:
        raise ExpressionError(
            "The metrics of an alarm here have one period, and at least one of them a metric."
        )
    ordered = _ordered(nodes, set(metrics))
    found = Queries(metrics=metrics, expressions=ordered, watched=returned[0], period=periods.pop())
    # What an expression comes to shows without any data, too.
    found.points(lambda *_: [None], 0.0, 1.0, 1)
    return found


def _metric(stat: Mapping[str, Any]) -> dict[str, Any]:
    name = stat["Stat"]
    return {
        **stat["Metric"],
        ("Statistic" if name in _BASIC else "ExtendedStatistic"): name,
        **({"Unit": stat["Unit"]} if stat.get("Unit") else {}),
    }


def _ordered(nodes: Mapping[str, Node], known: set[str]) -> dict[str, Node]:
    """Each expression after what it refers to; ExpressionError where that cannot be."""
    left, ordered = dict(nodes), dict[str, Node]()
    words = {"REPEAT", "LINEAR"}
    while left:
        ready = [name for name, node in left.items() if node.names() - words <= known | ordered.keys()]
        if not ready:
            wanted = sorted(
                set().union(*(node.names() for node in left.values())) - known - words - ordered.keys()
            )
            raise ExpressionError(
                f"Expressions refer to each other, or to what is not there: {', '.join(wanted)}."
            )
        for name in ready:
            ordered[name] = left.pop(name)
    return ordered
