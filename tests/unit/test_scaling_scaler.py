"""What scales, with a clock, a metric and a fleet that the test drives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.autoscaling import activities, alarms, policies, scheduled, service_role, targets
from localcloud.autoscaling.rules.alarm import State
from localcloud.autoscaling.scalable import Capacity
from localcloud.autoscaling.scaler import Scaler
from localcloud.autoscaling.service import AutoScaling
from localcloud.context import Cloud, Credentials
from localcloud.folder import StateFolder
from localcloud.sagemaker.store import Store

IDENTITY = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/shop/variant/main",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
START = 60.0 * 28_000_000


class Fleet:
    """Instances that come and go at once, unless told otherwise."""

    def __init__(self) -> None:
        self.count, self.wanted = 1, 1
        self.slow, self.gone, self.refuse = False, False, ""
        self.failure = ""

    def exists(self, resource_id: str) -> bool:
        return not self.gone

    def permissions(self, resource_id: str) -> list[tuple[str, str]]:
        return []

    def capacity(self, resource_id: str) -> Capacity | None:
        settled = self.count == self.wanted
        return None if self.gone else Capacity(current=self.count, settled=settled, failure=self.failure)

    def change(self, resource_id: str, wanted: int, credentials: Credentials) -> None:
        if self.refuse:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": self.refuse}}, "Update")
        self.wanted = wanted
        if not self.slow:
            self.arrive()

    def arrive(self) -> None:
        self.count = self.wanted


class World:
    """One target of a fleet; `minute(load)` lets a minute pass in which so many invocations came."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, clock: float) -> None:
        cloud = Cloud(
            account="000000000000",
            region="us-east-1",
            endpoint_url="https://localhost:1",
            ca_bundle=Path("none"),
            folder=StateFolder(Path("none")),
            clock=clock,
        )
        self.store, self.fleet, self.factor = Store(Path(":memory:")), Fleet(), clock
        self.service = AutoScaling(cloud=cloud, store=self.store, scalables={"sagemaker": self.fleet})
        self.now = START
        self.points: list[float | None] = []
        self.alarms: dict[str, str] = {}
        key = Credentials(access_key_id="AKIA", secret_access_key="secret")
        monkeypatch.setattr(service_role, "assume", lambda *_: key)
        monkeypatch.setattr(alarms, "set_state", self._set_state)
        self.scaler = Scaler(self.service, self._source, now=lambda: self.now)
        self.target(1, 4)

    def _set_state(self, cloud: Cloud, name: str, rule: Any, state: State, points: Any) -> None:
        self.alarms[name] = state.value

    def _source(self, metric: Mapping[str, Any], end: float, period: float, count: int) -> list[float | None]:
        assert period == 60 / self.factor
        passed = round((end - START) / period)
        points = [None] * count + self.points[:passed]
        return points[-count:]

    def target(self, minimum: int, maximum: int, **suspended: bool) -> None:
        state = dict.fromkeys(
            ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended"), False
        )
        record = {
            **IDENTITY,
            "MinCapacity": minimum,
            "MaxCapacity": maximum,
            "ScalableTargetARN": "arn:target",
            "SuspendedState": state | suspended,
            "_hold": True,
        }
        name = targets.name_of(record)
        if self.store.find(targets.KIND, name) is None:
            self.store.create(targets.KIND, name, record)
        else:
            self.store.update(targets.KIND, name, lambda found: found.update(record))

    def policy(self, name: str = "track", target: float = 70.0, **more: Any) -> None:
        specification = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
        configuration = {"TargetValue": target, "PredefinedMetricSpecification": specification, **more}
        sides = ["AlarmHigh"] if more.get("DisableScaleIn") else ["AlarmHigh", "AlarmLow"]
        record = {
            **IDENTITY,
            "PolicyName": name,
            "PolicyARN": f"arn:{name}",
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": configuration,
            "Alarms": [{"AlarmName": f"TargetTracking-{name}-{side}-1", "AlarmARN": "a"} for side in sides],
        }
        self.store.create(policies.KIND, f"{targets.name_of(record)}|{name}", record)

    def schedule(self, expression: str, name: str = "morning", **bounds: int) -> None:
        record = {
            **IDENTITY,
            "ScheduledActionName": name,
            "Schedule": expression,
            "ScalableTargetAction": bounds,
            "_since": self.now,
        }
        self.store.create(scheduled.KIND, f"{targets.name_of(record)}|{name}", record)

    def minute(self, load: float | None) -> int:
        """Pass a minute of the cloud's clock; the capacity after it."""
        if self.now == START:
            self.now += 2 / self.factor
            self.scaler.tick()
        self.points.append(None if load is None else load / self.fleet.count)
        self.now = START + len(self.points) * 60 / self.factor + 10 / self.factor
        self.scaler.tick()
        self.scaler.tick()
        return self.fleet.count

    def minutes(self, *loads: float | None) -> list[int]:
        return [self.minute(load) for load in loads]

    @property
    def activities(self) -> list[dict[str, Any]]:
        return self.store.query(activities.KIND)


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
