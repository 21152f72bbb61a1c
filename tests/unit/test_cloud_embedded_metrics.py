"""What makes a log line metrics, and what does not."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ministack.services import cloudwatch, cloudwatch_logs

from localcloud.aws.differences import embedded_metrics
from localcloud.aws.differences.embedded_metrics import FormatError, parse

NOW = 1_800_000_000.0
DIRECTIVE = {
    "Namespace": "Modelyard/Inference",
    "Dimensions": [["Model", "Version"]],
    "Metrics": [{"Name": "Errors", "Unit": "Count"}, {"Name": "Sizes"}],
}
LINE = {
    "_aws": {"Timestamp": int(NOW * 1000) - 250, "CloudWatchMetrics": [DIRECTIVE]},
    "Model": "loans",
    "Version": "3",
    "Errors": 1,
    "Sizes": [1, 2.5],
    "rows": 7,
}


def test_a_line_in_the_format() -> None:
    errors, sizes = parse(json.dumps(LINE), NOW)
    assert errors == embedded_metrics.Datum(
        namespace="Modelyard/Inference",
        name="Errors",
        dimensions={"Model": "loans", "Version": "3"},
        unit="Count",
        values=[1.0],
        timestamp=NOW - 0.25,
    )
    assert (sizes.name, sizes.values, sizes.unit) == ("Sizes", [1.0, 2.5], "None")


def test_each_set_of_dimensions_is_a_metric() -> None:
    line = copy.deepcopy(LINE)
    line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] = [[], ["Model"]]  # type: ignore[index]
    found = parse(json.dumps(line), NOW)
    assert [datum.dimensions for datum in found] == [{}, {"Model": "loans"}] * 2


@pytest.mark.parametrize("line", ["", "plain", '{"_aws"', '["_aws"]', '{"a": "\\"_aws\\""}', '{"_aws": NaN}'])
def test_lines_in_no_format_are_left_alone(line: str) -> None:
    assert parse(line, NOW) == []


def _set(*path: str | int, to: object) -> Callable[[Any], None]:
    def change(line: Any) -> None:
        for step in path[:-1]:
            line = line[step]
        line[path[-1]] = to

    return change


FIRST = ("_aws", "CloudWatchMetrics", 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("_aws", to=3), "no CloudWatchMetrics"),
        (_set("_aws", to={"Timestamp": 1}), "no CloudWatchMetrics"),
        (_set("_aws", "Timestamp", to="now"), "Timestamp"),
        (_set("_aws", "Timestamp", to=int((NOW - 15 * 86_400) * 1000)), "Timestamp"),
        (_set("_aws", "Timestamp", to=int((NOW + 3 * 3600) * 1000)), "Timestamp"),
        (_set("_aws", "Timestamp", to=10**400), "Timestamp"),
        (_set("_aws", "CloudWatchMetrics", to={}), "no array"),
        (_set(*FIRST, to="x"), "no object"),
        (_set(*FIRST, "Namespace", to=""), "Namespace"),
        (_set(*FIRST, "Namespace", to="AWS/Lambda"), "AWS's own"),
        (_set(*FIRST, "Dimensions", to=["Model"]), "no array"),
        (_set(*FIRST, "Dimensions", to=[["Other"]]), "dimension Other"),
        (_set(*FIRST, "Dimensions", to=[["Model"] * 31]), "over 30"),
        (_set("Version", to=3), "dimension Version"),
        (_set(*FIRST, "Metrics", to=[{"Name": "Errors"}] * 101), "over 100"),
        (_set(*FIRST, "Metrics", to=[{"Unit": "Count"}]), "Name of a metric"),
        (_set(*FIRST, "Metrics", 0, "Unit", to="count"), "Unit of Errors"),
        (_set(*FIRST, "Metrics", 0, "Unit", to=[]), "Unit of Errors"),
        (_set(*FIRST, "Metrics", 0, "StorageResolution", to=30), "StorageResolution"),
        (_set("Errors", to="1"), "metric Errors"),
        (_set("Errors", to=True), "metric Errors"),
        (_set("Errors", to=[]), "metric Errors"),
        (_set("Errors", to=[1] * 101), "metric Errors"),
        (_set("Errors", to=2**361), "metric Errors"),
    ],
)
def test_a_line_with_a_mistake(change: Callable[[Any], None], message: str) -> None:
    line = copy.deepcopy(LINE)
    change(line)
    with pytest.raises(FormatError, match=message):
        parse(json.dumps(line), NOW)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    place=st.sampled_from(
        [("_aws",), ("_aws", "Timestamp"), ("_aws", "CloudWatchMetrics"), FIRST, ("Model",), ("Errors",)]
        + [(*FIRST, name) for name in ("Namespace", "Dimensions", "Metrics")]
    ),
    value=values,
)
def test_any_other_content_is_metrics_or_a_mistake(place: tuple[str | int, ...], value: Any) -> None:
    line = copy.deepcopy(LINE)
    _set(*place, to=value)(line)
    # Any other exception would keep the lines after it out of the metrics.
    with contextlib.suppress(FormatError):
        assert all(datum.values for datum in parse(json.dumps(line), NOW))


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(cloudwatch_logs, "_append_log_events", cloudwatch_logs._append_log_events)
    embedded_metrics.apply()
    yield cloudwatch_logs
    cloudwatch_logs.reset()
    cloudwatch.reset()


def test_a_mistake_does_not_keep_a_line_from_the_log(
    logs: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(embedded_metrics.time, "time", lambda: NOW)
    logs._create_log_group({"logGroupName": "/g"})
    logs._create_log_stream({"logGroupName": "/g", "logStreamName": "s"})
    lines = [json.dumps({**LINE, "Version": version}) for version in (3, "4")]
    events = [{"timestamp": int(NOW * 1000), "message": line} for line in ["plain", *lines]]
    logs._put_log_events({"logGroupName": "/g", "logStreamName": "s", "logEvents": events})
    request = {"logGroupName": "/g", "logStreamName": "s", "startFromHead": True}
    assert len(json.loads(logs._get_log_events(request)[2])["events"]) == 3
    stored = [points for _key, points in cloudwatch._metrics.items()]
    assert [[point["Value"] for point in points] for points in stored] == [[1.0], [1.0, 2.5]]
    assert {point["Dimensions"]["Version"] for points in stored for point in points} == {"4"}
    assert "dimension Version" in caplog.text
