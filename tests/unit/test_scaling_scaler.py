"""What scales, with a clock, a metric and a fleet that the test drives."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from localcloud.autoscaling import scheduled, targets
from localcloud.autoscaling.scaler import Scaler
from tests.unit.scaling_world import World


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def build(clock: float = 1.0) -> World:
        made.append(World(monkeypatch, clock))
        return made[-1]

    yield build
    for world in made:
        world.store.close()


@pytest.fixture
def world(make: Callable[..., World]) -> World:
    return make()


@pytest.mark.parametrize("clock", [1.0, 60.0])
def test_three_minutes_out_fifteen_minutes_in(make: Callable[..., World], clock: float) -> None:
    world = make(clock)
    world.policy()
    assert world.minutes(50, 150, 150, 150) == [1, 1, 1, 3]
    assert world.alarms["TargetTracking-track-AlarmHigh-1"] == "ALARM"
    assert world.minutes(*[60.0] * 14) == [3] * 14
    assert world.minute(60) == 1
    states = [(activity["StatusCode"], activity["Description"]) for activity in world.activities]
    assert states == [
        ("Successful", "Setting desired instance count to 3."),
        ("Successful", "Setting desired instance count to 1."),
    ]
    assert world.activities[0]["Cause"] == (
        "monitor alarm TargetTracking-track-AlarmHigh-1 in state ALARM triggered policy track"
    )
    assert "Change successfully fulfilled by sagemaker" in world.activities[0]["StatusMessage"]


def test_no_data_scales_nothing_in(world: World) -> None:
    world.policy()
    world.minutes(280, 280, 280)
    assert world.fleet.count == 4
    assert world.minutes(*[None] * 40) == [4] * 40
    assert world.alarms["TargetTracking-track-AlarmLow-1"] == "INSUFFICIENT_DATA"
    assert world.minutes(*[0.0] * 15)[-1] == 1


def test_while_instances_start_nothing_else_is_decided(world: World) -> None:
    world.policy()
    world.fleet.slow = True
    world.minutes(150, 150, 150, 900, 900, 900)
    assert world.fleet.wanted == 3
    (running,) = world.activities
    assert running["StatusCode"] == "InProgress"
    world.fleet.arrive()
    # The cooldown has begun; 900 on the one instance that served then asks for more all the same.
    world.minute(900)
    assert world.fleet.wanted == 4
    assert [activity["StatusCode"] for activity in world.activities] == ["Successful", "InProgress"]


def test_failures_are_activities(world: World) -> None:
    world.policy(ScaleOutCooldown=0)
    world.fleet.refuse = "User is not authorized"
    assert world.minutes(150, 150, 150) == [1, 1, 1]
    assert world.activities[-1]["StatusCode"] == "Failed"
    assert "Reason: An error occurred (AccessDenied)" in world.activities[-1]["StatusMessage"]
    world.fleet.refuse, world.fleet.slow = "", True
    world.minute(150)
    world.fleet.wanted, world.fleet.failure = 1, "no capacity"
    world.minute(10)
    assert world.activities[-1]["StatusMessage"].endswith("Reason: no capacity")


def test_what_is_not_scaled_is_noted_once(world: World) -> None:
    world.policy()
    world.minutes(*[900.0] * 8)
    notes = [activity for activity in world.activities if "NotScaledReasons" in activity]
    assert [note["NotScaledReasons"] for note in notes] == [
        [{"Code": "AlreadyAtMaxCapacity", "CurrentCapacity": 4, "MaxCapacity": 4}]
    ] * len(notes)
    assert len(notes) <= 1


def test_new_bounds_hold_at_once(world: World) -> None:
    world.minute(0)
    world.target(2, 4)
    assert world.minute(0) == 2
    assert world.activities[-1]["Cause"] == "minimum capacity was set to 2"
    world.fleet.wanted = world.fleet.count = 4
    assert world.minute(0) == 4
    world.target(1, 3)
    assert world.minute(0) == 3
    assert world.activities[-1]["Cause"] == "maximum capacity was set to 3"


def test_scheduled_actions(world: World) -> None:
    world.schedule("rate(5 minutes)", MinCapacity=3)
    world.schedule("cron(0 0 1 1 ? 1999)", "never", MinCapacity=4)
    assert world.minutes(*[0.0] * 5) == [1, 1, 1, 1, 3]
    first, second = world.activities
    assert first["Description"] == "Setting min capacity to 3"
    assert first["Cause"] == "scheduled action name morning was triggered"
    assert second["Cause"] == "minimum capacity was set to 3"
    assert world.store.query(targets.KIND)[0]["MinCapacity"] == 3
    world.schedule("rate(1 minute)", "impossible", MaxCapacity=2)
    world.minutes(0, 0)
    assert world.activities[-1]["StatusCode"] == "Failed"


def test_scheduled_actions_can_be_suspended(world: World) -> None:
    world.schedule("rate(1 minute)", MinCapacity=3)
    world.target(1, 4, ScheduledScalingSuspended=True)
    assert world.minutes(0, 0, 0) == [1, 1, 1]


@pytest.mark.parametrize("member", ["DynamicScalingOutSuspended", "DynamicScalingInSuspended"])
def test_suspended_scaling(world: World, member: str) -> None:
    world.policy()
    world.target(1, 4, **{member: True})
    world.fleet.wanted = world.fleet.count = 2
    load = 900.0 if "Out" in member else 0.0
    assert world.minutes(*[load] * 20) == [2] * 20


def test_targets_go_with_their_endpoint(world: World) -> None:
    world.schedule("rate(1 minute)", MinCapacity=3)
    world.minute(0)
    world.fleet.gone = True
    world.minute(0)
    assert world.store.query(targets.KIND) == []
    assert world.store.query(scheduled.KIND) == []


def test_interrupted_activities_are_failed_at_the_next_start(world: World) -> None:
    world.policy()
    world.fleet.slow = True
    world.minutes(150, 150, 150)
    Scaler(world.service, world._source, now=lambda: world.now)
    assert world.activities[-1]["StatusCode"] == "Failed"
    assert "stopped" in world.activities[-1]["StatusMessage"]
