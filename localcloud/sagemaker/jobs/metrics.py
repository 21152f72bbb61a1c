"""Metrics of a training job, read from its log by regular expression.

https://docs.aws.amazon.com/sagemaker/latest/dg/define-train-metrics.html
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any


class MetricReader:
    """Keeps the last value of each metric definition; safe for the logs of several hosts.

    Args:
        definitions: `AlgorithmSpecification.MetricDefinitions`.
        listen: called with name and value of each metric as it is read.

    Example:
        >>> reader = MetricReader([{"Name": "rmse", "Regex": "rmse=([0-9.]+)"}])
        >>> reader.read(["epoch 1 rmse=0.5"])
        >>> reader.final()[0]["Value"]
        0.5
    """

    def __init__(
        self, definitions: Iterable[Mapping[str, str]], listen: Callable[[str, float], None] | None = None
    ) -> None:
        self._listen = listen
        self._patterns = [(item["Name"], re.compile(item["Regex"])) for item in definitions]
        self._lock = threading.Lock()
        self._last: dict[str, tuple[float, float]] = {}

    def read(self, lines: Iterable[str]) -> None:
        """Take in log lines. A match whose first group is no finite number is left out.

        AWS's logs have `#011` for a tab, so that is what expressions made for them look for.
        """
        if not self._patterns:
            return
        for line in lines:
            for name, pattern in self._patterns:
                value = _value(pattern, line)
                if value is None and "\t" in line:
                    value = _value(pattern, line.replace("\t", "#011"))
                if value is None:
                    continue
                with self._lock:
                    self._last[name] = (value, time.time())
                if self._listen is not None:
                    self._listen(name, value)

    def final(self) -> list[dict[str, Any]]:
        """`FinalMetricDataList`."""
        with self._lock:
            return [
                {"MetricName": name, "Value": value, "Timestamp": moment}
                for name, (value, moment) in self._last.items()
            ]


def _value(pattern: re.Pattern[str], line: str) -> float | None:
    found = pattern.search(line) if pattern.groups else None
    try:
        value = math.nan if found is None else float(found[1])
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def pattern_problem(definitions: Iterable[Mapping[str, str]]) -> str | None:
    """Why the definitions cannot be used, None if they can."""
    for item in definitions:
        try:
            re.compile(item["Regex"])
        except re.error as error:
            return f"the Regex of the metric {item['Name']} is not a regular expression: {error}"
    return None
