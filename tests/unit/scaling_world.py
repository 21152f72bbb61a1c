"""A scaled fleet with a clock, a metric and instances that a test drives."""

from __future__ import annotations

from collections.abc import Mapping
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
    """Instances that go at once, and come after `delay` minutes; never while it is `slow`."""

    def __init__(self) -> None:
        self.count, self.wanted = 1, 1
        self.slow, self.gone, self.refuse = False, False, ""
        self.failure = ""
        self.delay = self.left = 0

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
        self.left = self.delay if wanted > self.count else 0
        if not self.slow and self.left == 0:
            self.arrive()

    def arrive(self) -> None:
        self.count = self.wanted

    def pass_minute(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.arrive()


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

    def step(self, name: str, **configuration: Any) -> None:
        """A step policy, which an alarm of the same name asks for."""
        record = {
            **IDENTITY,
            "PolicyName": name,
            "PolicyARN": f"arn:{name}",
            "PolicyType": "StepScaling",
            "StepScalingPolicyConfiguration": configuration,
            "Alarms": [],
        }
        self.store.create(policies.KIND, f"{targets.name_of(record)}|{name}", record)

    def ask(self, name: str, value: float | None = 1.0) -> int:
        """Its alarm asks, with a threshold of 1; the capacity after it."""
        self.scaler.ask(f"arn:{name}", {"AlarmName": name, "Threshold": 1.0}, value)
        self.scaler.tick()
        self.scaler.tick()
        return self.fleet.count

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
        self.fleet.pass_minute()
        self.scaler.tick()
        self.scaler.tick()
        return self.fleet.count

    def minutes(self, *loads: float | None) -> list[int]:
        return [self.minute(load) for load in loads]

    @property
    def activities(self) -> list[dict[str, Any]]:
        return self.store.query(activities.KIND)
