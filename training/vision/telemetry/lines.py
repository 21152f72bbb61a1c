"""Lines of the log in CloudWatch's embedded metric format, each written at once and whole.

CloudWatch makes metrics of such lines in any log stream, without a call and without a permission.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.vision.telemetry.names import NAMESPACE, SETS, UNITS

# A larger number makes CloudWatch refuse the metric, as NaN and infinity do.
_LARGEST = 2.0**360
_DIGITS = 6

Value = float | Sequence[float]


def metric_line(
    milliseconds: int,
    dimensions: Mapping[str, str],
    metrics: Mapping[str, Value | None],
    properties: Mapping[str, Any],
) -> str:
    """One line. What is None, not finite or too large is no metric, and no member of the line.

    Args:
        milliseconds: since the epoch.
        dimensions: value of each.
        metrics: a value or up to 100 for each name in `names`.
        properties: for those who search the log.
    """
    values = {name: kept for name, value in metrics.items() if (kept := _finite(value)) is not None}
    directives = []
    for names, wanted in SETS.items():
        told = [{"Name": name, "Unit": UNITS[name]} for name in values if name in wanted]
        if told:
            directives.append({"Namespace": NAMESPACE, "Dimensions": [list(names)], "Metrics": told})
    head = {"_aws": {"Timestamp": milliseconds, "CloudWatchMetrics": directives}} if directives else {}
    return json_line({**head, **properties, **dimensions, **values})


def json_line(members: Mapping[str, Any]) -> str:
    """Strict JSON, also of numbers that JSON has no word for: these become text."""
    try:
        return json.dumps(members, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_worded(members), allow_nan=False, separators=(",", ":"))


def _finite(value: Value | None) -> Value | None:
    if value is None:
        return None
    if isinstance(value, Sequence):
        return [_rounded(each) for each in value if _usable(each)] or None
    return _rounded(value) if _usable(value) else None


def _usable(value: float) -> bool:
    return math.isfinite(value) and abs(value) <= _LARGEST


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _worded(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _worded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_worded(item) for item in value]
    return value


class Output:
    """A file, or a stream that others write to as well; what it has taken outlives this process.

    Each line is one call to the system: lines of several processes in one pipe stay whole up to 4,096 bytes.
    A line that cannot be written is counted and forgotten: training goes on.

    Args:
        target: a descriptor, or a file to add to.
    """

    def __init__(self, target: int | Path) -> None:
        self.lost = 0
        self._lock = threading.Lock()
        self._own = isinstance(target, Path)
        if isinstance(target, Path):
            target.parent.mkdir(parents=True, exist_ok=True)
            target = os.open(target, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            _end_torn_line(target)
        self._descriptor = target

    def write(self, line: str) -> None:
        data = memoryview(line.encode() + b"\n")
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:  # a full disk, a reader that is gone
                self.lost += 1

    def close(self) -> None:
        with self._lock:
            if self._own:
                os.close(self._descriptor)
                self._own, self._descriptor = False, -1


def _end_torn_line(descriptor: int) -> None:
    """After a process that was killed while a disk was full, the next line begins a line of its own."""
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")
