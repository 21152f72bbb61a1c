"""Step scaling policies: which step, from which capacity, when not."""

from __future__ import annotations

import math

import pytest

from localcloud.autoscaling.rules.steps import StepPolicy, decide, read
from localcloud.autoscaling.rules.tracking import (
    AT_MAXIMUM,
    Bounds,
    Change,
    Memory,
    NotScaled,
    Suspended,
    remember,
)
from tests.unit.scaling_world import World

OPEN = Bounds(minimum=0, maximum=10)


def policy(adjustment: str, *steps: tuple[float | None, float | None, int], **members: float) -> StepPolicy:
    adjustments = []
    for low, high, by in steps:
        bounds = {"MetricIntervalLowerBound": low, "MetricIntervalUpperBound": high}
        known = {name: value for name, value in bounds.items() if value is not None}
        adjustments.append({**known, "ScalingAdjustment": by})
    return read("p", {"AdjustmentType": adjustment, "StepAdjustments": adjustments, **members})


@pytest.mark.parametrize(
    ("difference", "capacity"), [(0, 12), (9.9, 12), (10, 15), (1e9, 15), (-1, 9), (-20, 7)]
)
def test_the_bound_nearer_to_the_threshold_belongs_to_the_step(difference: float, capacity: int) -> None:
    changes = policy("ChangeInCapacity", (0, 10, 2), (10, None, 5), (-20, 0, -1), (None, -20, -3))
    assert changes.capacity(10, difference) == capacity


@pytest.mark.parametrize(
    ("by", "base", "capacity"), [(10, 5, 6), (50, 5, 7), (-10, 5, 4), (-50, 5, 3), (10, 0, 0), (0, 5, 5)]
)
def test_percentages_are_rounded_as_documented(by: int, base: int, capacity: int) -> None:
    assert policy("PercentChangeInCapacity", (0, None, by)).capacity(base, 0) == capacity


def test_a_percentage_is_at_least_the_least() -> None:
    least = policy("PercentChangeInCapacity", (0, None, 10), MinAdjustmentMagnitude=3)
    assert least.capacity(5, 0) == 8


def test_an_exact_capacity_may_be_none() -> None:
    assert policy("ExactCapacity", (0, None, 0)).capacity(7, 3) == 0
    assert policy("ExactCapacity", (5, None, 0)).capacity(7, 3) == 7


def asked(one: StepPolicy, capacity: int, memory: Memory, now: float, **named: Suspended) -> object:
    return decide(one, 0.0, capacity, OPEN, named.get("suspended", Suspended()), memory, now)


def test_a_cooldown_adds_only_what_a_larger_step_would() -> None:
    one = policy("ChangeInCapacity", (0, 5, 1), (5, None, 3), Cooldown=300)
    first = asked(one, 0, Memory(), 0)
    assert isinstance(first, Change)
    memory = remember(Memory(), first, 0, 10)
    assert asked(one, 1, memory, 60) is None
    larger = decide(one, 6.0, 1, OPEN, Suspended(), memory, 60)
    assert isinstance(larger, Change)
    assert larger.capacity == 3
    again = asked(one, 1, memory, 310)
    assert isinstance(again, Change)
    assert again.capacity == 2


def test_a_cooldown_after_scaling_in_holds_up_scaling_in_alone() -> None:
    less, more = policy("ExactCapacity", (0, None, 0), Cooldown=60), policy("ExactCapacity", (0, None, 4))
    change = asked(less, 2, Memory(), 0)
    assert isinstance(change, Change)
    memory = remember(Memory(), change, 0, 0)
    assert asked(less, 2, memory, 59) is None
    assert isinstance(asked(less, 2, memory, 60), Change)
    assert isinstance(asked(more, 2, memory, 1), Change)


def test_bounds_and_suspensions_hold() -> None:
    more = policy("ChangeInCapacity", (0, None, 5))
    found = decide(more, 0, 10, OPEN, Suspended(), Memory(), 0)
    assert isinstance(found, NotScaled)
    assert (found.code, found.out) == (AT_MAXIMUM, True)
    held = decide(more, 0, 8, OPEN, Suspended(), Memory(), 0)
    assert isinstance(held, Change)
    assert held.capacity == 10
    assert asked(more, 8, Memory(), 0, suspended=Suspended(scale_out=True)) is None
    less = policy("ChangeInCapacity", (0, None, -1))
    assert asked(less, 8, Memory(), 0, suspended=Suspended(scale_in=True)) is None


def test_no_step_changes_nothing() -> None:
    assert policy("ChangeInCapacity", (5, math.inf, 2)).capacity(3, 1.0) == 3


WAKE = {"AdjustmentType": "ChangeInCapacity", "Cooldown": 300, "StepAdjustments": [
    {"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}
]}  # fmt: skip
SLEEP = {"AdjustmentType": "ExactCapacity", "StepAdjustments": [
    {"MetricIntervalLowerBound": 0, "ScalingAdjustment": 0}
]}  # fmt: skip


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(monkeypatch, 60.0)
    made.target(0, 4)
    made.step("wake", **WAKE)
    made.step("sleep", **SLEEP)
    return made


def test_alarms_wake_and_end_a_fleet(world: World) -> None:
    assert world.ask("sleep") == 0
    assert world.ask("wake") == 1
    assert world.ask("wake") == 1  # cooling down
    world.now += 300 / world.factor
    assert world.ask("wake", None) == 2  # without a value it is at the threshold
    assert world.ask("sleep") == 0
    told = [(one["Cause"], one["Description"], one["StatusCode"]) for one in world.activities]
    assert told[0] == (
        "monitor alarm sleep in state ALARM triggered policy sleep",
        "Setting desired instance count to 0.",
        "Successful",
    )
    assert len(told) == 4


def test_the_one_that_asks_for_most_is_followed(world: World) -> None:
    world.scaler.ask("arn:sleep", {"AlarmName": "sleep", "Threshold": 1.0}, 1.0)
    assert world.ask("wake") == 2


def test_who_asks_while_a_change_is_on_its_way_asks_in_vain(world: World) -> None:
    world.fleet.slow = True
    assert world.ask("wake") == 1
    assert world.ask("sleep") == 1
    world.fleet.slow = False
    world.fleet.arrive()
    world.scaler.tick()
    assert world.fleet.count == 2


def test_a_policy_that_nobody_knows_changes_nothing(world: World) -> None:
    assert world.ask("gone") == 1


def test_metric_math_is_tracked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages for each task; the fleet's load is both metrics here."""
    world = World(monkeypatch, 1.0)
    stat = {"Metric": {"Namespace": "AWS/SQS", "MetricName": "Waiting"}, "Stat": "Maximum"}
    math = [
        {"Id": "waiting", "MetricStat": stat, "ReturnData": False},
        {"Id": "doubled", "Expression": "waiting * 2", "ReturnData": True},
    ]
    world.policy(
        target=10.0,
        PredefinedMetricSpecification=None,
        CustomizedMetricSpecification={"Metrics": math},
        DisableScaleIn=True,
        ScaleOutCooldown=0,
    )
    assert world.minutes(5, 5, 5) == [1, 1, 1]
    # Twice the 15 are three times the target.
    assert world.minutes(15, 15, 15) == [1, 1, 3]
