"""States of alarms, against the examples of CloudWatch's documentation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.autoscaling.rules.alarm import Alarm, State, evaluate

POINTS = {"0": 0.0, "X": 1.0, "-": None}
ALARM, OK, NO_DATA = State.ALARM, State.OK, State.INSUFFICIENT_DATA


def alarm(missing: str, datapoints: int | None = None, periods: int = 3) -> Alarm:
    return Alarm(
        comparison="GreaterThanThreshold",
        threshold=0.5,
        periods=periods,
        datapoints=datapoints,
        missing=missing,
    )


@pytest.mark.parametrize(
    ("datapoints", "pattern", "missing", "ignore", "breaching", "not_breaching"),
    [
        (3, "0-X-X", OK, OK, OK, OK),
        (3, "----0", OK, OK, OK, OK),
        (3, "-----", NO_DATA, "before", ALARM, OK),
        (3, "0XX-X", ALARM, ALARM, ALARM, ALARM),
        (3, "--X--", ALARM, "before", ALARM, OK),
        (2, "0-X-X", ALARM, ALARM, ALARM, ALARM),
        (2, "00X0X", ALARM, ALARM, ALARM, ALARM),
        (2, "0-X--", OK, OK, ALARM, OK),
        (2, "----0", OK, OK, ALARM, OK),
        (2, "----X", "before", "before", ALARM, OK),
    ],
)
@pytest.mark.parametrize("before", list(State))
def test_the_documented_examples(
    datapoints: int,
    pattern: str,
    missing: State,
    ignore: State | str,
    breaching: State,
    not_breaching: State,
    before: State,
) -> None:
    points = [POINTS[letter] for letter in pattern]
    expected = {"missing": missing, "ignore": ignore, "breaching": breaching, "notBreaching": not_breaching}
    found = {kind: evaluate(alarm(kind, datapoints), points, before) for kind in expected}
    assert found == {kind: before if state == "before" else state for kind, state in expected.items()}


@given(st.lists(st.none() | st.floats(0, 1), max_size=40), st.sampled_from(State))
def test_no_alarm_without_as_many_breaches_unless_one_is_old(
    points: list[float | None], before: State
) -> None:
    rule = alarm("missing", periods=15)
    state = evaluate(rule, points, before)
    newest = points[-17:]
    known = [value for value in newest if value is not None]
    if state is ALARM and before is not ALARM:
        assert known
        assert all(value > 0.5 for value in known[-15:])
    if not known:
        assert state is NO_DATA


@pytest.mark.parametrize(
    ("comparison", "breaching"),
    [
        ("GreaterThanThreshold", [0.6]),
        ("GreaterThanOrEqualToThreshold", [0.5, 0.6]),
        ("LessThanThreshold", [0.4]),
        ("LessThanOrEqualToThreshold", [0.4, 0.5]),
    ],
)
def test_comparisons(comparison: str, breaching: list[float]) -> None:
    rule = Alarm(comparison=comparison, threshold=0.5, periods=1)
    assert [value for value in (0.4, 0.5, 0.6) if rule.breaches(value)] == breaching
