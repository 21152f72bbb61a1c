"""When metric alarms are looked at, at which datapoints, and what they say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from localcloud.autoscaling.rules.alarm import State
from localcloud.cloudwatch.definition import watched
from localcloud.cloudwatch.evaluator import Evaluator

START = 60.0 * 28_000_000
Data = dict[int, float]  # value by the second at which its period begins


def alarm(name: str = "errors", **members: Any) -> dict[str, Any]:
    return {
        "AlarmName": name,
        "Namespace": "shop",
        "MetricName": "Errors",
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 5.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "StateValue": "INSUFFICIENT_DATA",
        **members,
    }


class World:
    """Alarms whose datapoints a test puts down, and a clock that it moves."""

    def __init__(self, *alarms: dict[str, Any], clock: float = 1.0) -> None:
        self.alarms = list(alarms)
        self.now = START
        self.data: Data = {}
        self.asked: list[tuple[float, float]] = []
        self.told: list[tuple[str, str]] = []
        self.documents: list[dict[str, Any]] = []
        self.evaluator = Evaluator(
            lambda: self.alarms, self.source, self.change, clock=clock, now=lambda: self.now
        )
        self.evaluator.tick()

    def source(self, metric: Mapping[str, Any], end: float, period: float, count: int) -> list[float | None]:
        if metric["MetricName"] == "Broken":
            raise KeyError("broken")
        self.asked.append((end - START, period))
        begins = [end - START - period * age for age in range(count, 0, -1)]
        return [self.data.get(round(begin)) for begin in begins]

    def change(self, name: str, state: State, reason: str, data: str) -> None:
        found = next(one for one in self.alarms if one["AlarmName"] == name)
        found["StateValue"] = state.value
        self.told.append((state.value, reason))
        self.documents.append(json.loads(data))

    def at(self, second: float) -> list[str]:
        self.now = START + second
        before = len(self.told)
        self.evaluator.tick()
        return [state for state, _ in self.told[before:]]


def test_a_period_is_judged_once_it_has_ended() -> None:
    world = World(alarm())
    world.data = {0: 7.0}
    assert world.at(59) == []
    assert world.at(60) == []  # datapoints may still arrive
    assert world.at(61.6) == ["ALARM"]
    assert world.at(62) == []
    assert world.told[0][1].startswith("Threshold Crossed: 1 datapoint [7.0 (")
    assert "was greater than or equal to the threshold (5.0)." in world.told[0][1]
    assert world.documents[0]["recentDatapoints"] == [7.0]
    assert world.documents[0]["statistic"] == "Sum"


def test_no_data_is_not_the_last_state_for_ever() -> None:
    world = World(alarm(StateValue="ALARM"))
    assert world.at(61.6) == ["INSUFFICIENT_DATA"]
    assert world.told[0][1] == "Insufficient Data: 1 datapoint was unknown."


@pytest.mark.parametrize(
    ("missing", "state", "words"),
    [("notBreaching", "OK", "[NonBreaching]"), ("breaching", "ALARM", "[Breaching]")],
)
def test_missing_data_counts_as_the_alarm_says(missing: str, state: str, words: str) -> None:
    world = World(alarm(TreatMissingData=missing, EvaluationPeriods=2))
    assert world.at(61.6) == [state]
    assert world.told[0][1] == (
        "Threshold Crossed: no datapoints were received for 2 periods and 2 missing datapoints were treated "
        f"as {words}."
    )


def test_m_of_n_datapoints() -> None:
    world = World(alarm(EvaluationPeriods=3, DatapointsToAlarm=2))
    world.data = {0: 9.0, 60: 1.0, 120: 9.0}
    assert world.at(61.6) == []  # one is too little to know
    assert world.at(121.6) == ["OK"]
    assert world.at(181.6) == ["ALARM"]
    assert "2 out of the last 3 datapoints [9.0 (" in world.told[-1][1]
    assert world.told[-1][1].endswith("(minimum 2 datapoints for OK -> ALARM transition).")


def test_long_periods_slide_by_a_minute() -> None:
    world = World(alarm(Period=300))
    for minute in range(1, 7):
        world.at(60 * minute + 2)
    assert world.asked == [(60.0 * minute, 300.0) for minute in range(1, 7)]


def test_high_resolution_alarms_are_looked_at_every_ten_seconds() -> None:
    world = World(alarm(Period=10))
    for second in range(2, 23):
        world.at(second)
    assert world.asked == [(0.0, 10.0), (10.0, 10.0), (20.0, 10.0)]


def test_periods_pass_by_the_clouds_clock() -> None:
    world = World(alarm(Period=300), clock=60.0)
    for tenth in range(12, 33):
        world.at(tenth / 10)
    assert world.asked == [(1.0, 5.0), (2.0, 5.0), (3.0, 5.0)]


def test_a_state_that_was_set_by_hand_lasts_until_the_next_look() -> None:
    world = World(alarm())
    world.data = {0: 1.0, 60: 1.0}
    assert world.at(61.6) == ["OK"]
    world.alarms[0]["StateValue"] = "ALARM"
    assert world.at(100) == []
    assert world.at(121.6) == ["OK"]


def test_one_alarms_trouble_is_no_others() -> None:
    world = World(alarm("broken", MetricName="Broken"), alarm("whole"))
    world.data = {0: 7.0}
    assert world.at(61.6) == ["ALARM"]


def test_alarms_of_scaling_policies_are_the_scalers() -> None:
    actions = ["arn:aws:autoscaling:us-east-1:000000000000:scalingPolicy:1:resource/x"]
    assert watched(alarm("TargetTracking-x-AlarmHigh-1", AlarmActions=actions)) is None
    assert watched(alarm("mine", AlarmActions=actions)) is not None
    assert watched(alarm(ComparisonOperator="GreaterThanUpperThreshold")) is None
    assert watched(alarm(MetricName=None)) is None
