"""Metrics of a training job, read from its log by regular expression.

https://docs.aws.amazon.com/sagemaker/latest/dg/define-train-metrics.html
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any


class MetricReader:
    """Keeps the last value of each metric definition; safe for the logs of several hosts.

    Args:
        definitions: `AlgorithmSpecification.MetricDefinitions`.

    Example:
        >>> reader = MetricReader([{"Name": "rmse", "Regex": "rmse=([0-9.]+)"}])
        >>> reader.read(["epoch 1 rmse=0.5"])
        >>> reader.final()[0]["Value"]
        0.5
    """

    def __init__(self, definitions: Iterable[Mapping[str, str]]) -> None:
        self._patterns = [(item["Name"], re.compile(item["Regex"])) for item in definitions]
        self._lock = threading.Lock()
        self._last: dict[str, tuple[float, float]] = {}

    def read(self, lines: Iterable[str]) -> None:
        """Take in log lines. A match whose first group is no number is left out, as on AWS."""
        if not self._patterns:
            return
        for line in lines:
            for name, pattern in self._patterns:
                found = pattern.search(line)
                if found is None or not pattern.groups:
                    continue
                try:
                    value = float(found[1])
                except (TypeError, ValueError):
                    continue
                with self._lock:
                    self._last[name] = (value, time.time())

    def final(self) -> list[dict[str, Any]]:
        """`FinalMetricDataList`."""
        with self._lock:
            return [
                {"MetricName": name, "Value": value, "Timestamp": moment}
                for name, (value, moment) in self._last.items()
            ]


def pattern_problem(definitions: Iterable[Mapping[str, str]]) -> str | None:
    """Why the definitions cannot be used, None if they can."""
    for item in definitions:
        try:
            re.compile(item["Regex"])
        except re.error as error:
            return f"the Regex of the metric {item['Name']} is not a regular expression: {error}"
    return None
