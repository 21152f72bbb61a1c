"""Log lines in the embedded metric format become metrics.

MiniStack keeps them as text. On AWS whoever may write the log needs no permission beside that.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

from botocore.session import get_session

_log = logging.getLogger(__name__)

_MOST_METRICS, _MOST_DIMENSIONS, _MOST_VALUES, _LONGEST_TEXT = 100, 30, 100, 1024
# Seconds that a time may lie back and ahead, as for PutMetricData.
_PAST, _FUTURE = 14 * 86_400, 2 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Datum:
    """Values of a metric at a time (epoch seconds)."""

    namespace: str
    name: str
    dimensions: dict[str, str]
    unit: str
    values: list[float]
    timestamp: float


class FormatError(ValueError):
    """A line says that it holds metrics, and they are not as the format demands."""


def apply() -> None:
    """Wrap the storing of events in a stream."""
    from ministack.services import cloudwatch, cloudwatch_logs

    append = cloudwatch_logs._append_log_events

    def append_log_events(stream: dict[str, Any], events: list[dict[str, Any]]) -> None:
        append(stream, events)
        for event in events:
            try:
                found = parse(event["message"], time.time())
            except FormatError as error:
                _log.warning("a log line in the embedded metric format makes no metric: %s", error)
                continue
            for datum in found:
                metric = (datum.namespace, datum.name, datum.dimensions, datum.timestamp, datum.unit)
                cloudwatch._store_datum(*metric, None, datum.values, None, None)

    cloudwatch_logs._append_log_events = append_log_events


def parse(message: str, now: float) -> list[Datum]:
    """The metrics of a log line: none where it is not in the format, FormatError where it is so wrongly.

    A line with a mistake makes no metric at all.
    """
    # Most lines are none; this spares them the parser.
    if '"_aws"' not in message:
        return []
    try:
        root = json.loads(message, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return []
    if not isinstance(root, dict) or "_aws" not in root:
        return []
    metadata = root["_aws"]
    if not isinstance(metadata, dict) or "CloudWatchMetrics" not in metadata:
        raise FormatError("_aws has no CloudWatchMetrics")
    milliseconds = metadata.get("Timestamp")
    earliest, latest = (now - _PAST) * 1000, (now + _FUTURE) * 1000
    if type(milliseconds) is not int or not earliest <= milliseconds <= latest:
        raise FormatError("Timestamp is no number of milliseconds since 1970 of the last two weeks")
    return [
        datum
        for directive in _array(metadata["CloudWatchMetrics"], "CloudWatchMetrics")
        for datum in _data(directive, root, milliseconds / 1000)
    ]


def _data(directive: Any, root: dict[str, Any], timestamp: float) -> Iterator[Datum]:
    if not isinstance(directive, dict):
        raise FormatError("a member of CloudWatchMetrics is no object")
    namespace = _text(directive.get("Namespace"), "Namespace")
    if namespace.startswith("AWS/"):
        raise FormatError(f"Namespace {namespace} is AWS's own")
    sets = [_dimensions(names, root) for names in _array(directive.get("Dimensions"), "Dimensions")]
    metrics = _array(directive.get("Metrics"), "Metrics")
    if len(metrics) > _MOST_METRICS:
        raise FormatError(f"Metrics has {len(metrics)} members, over {_MOST_METRICS}")
    for metric in metrics:
        if not isinstance(metric, dict):
            raise FormatError("a member of Metrics is no object")
        name = _text(metric.get("Name"), "Name of a metric")
        unit = metric.get("Unit", "None")
        if not isinstance(unit, str) or unit not in _units():
            raise FormatError(f"Unit of {name} is none of CloudWatch's")
        if metric.get("StorageResolution", 60) not in (1, 60):
            raise FormatError(f"StorageResolution of {name} is neither 1 nor 60")
        values = _values(root.get(name), name)
        for dimensions in sets:
            yield Datum(
                namespace=namespace,
                name=name,
                dimensions=dimensions,
                unit=unit,
                values=values,
                timestamp=timestamp,
            )


def _dimensions(names: Any, root: dict[str, Any]) -> dict[str, str]:
    members = _array(names, "a member of Dimensions")
    if len(members) > _MOST_DIMENSIONS:
        raise FormatError(f"a member of Dimensions has {len(members)} names, over {_MOST_DIMENSIONS}")
    keys = [_text(name, "name of a dimension") for name in members]
    return {name: _text(root.get(name), f"dimension {name}") for name in keys}


def _values(target: Any, name: str) -> list[float]:
    values = target if isinstance(target, list) else [target]
    if not 0 < len(values) <= _MOST_VALUES or not all(_is_number(value) for value in values):
        raise FormatError(f"metric {name} is neither a number nor an array of 1 to {_MOST_VALUES} numbers")
    return [float(value) for value in values]


def _is_number(value: Any) -> bool:
    # Bounds of PutMetricData.
    return type(value) in (int, float) and abs(value) <= 2**360 and math.isfinite(value)


def _array(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise FormatError(f"{what} is no array")
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= _LONGEST_TEXT:
        raise FormatError(f"{what} is no text of 1 to {_LONGEST_TEXT} characters")
    return value


@cache
def _units() -> frozenset[str]:
    shape = get_session().get_service_model("cloudwatch").shape_for("StandardUnit")
    return frozenset(shape.enum)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
