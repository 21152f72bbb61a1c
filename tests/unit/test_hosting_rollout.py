"""Steps of an update, and the events that tell of them."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.sagemaker.events import event_of
from localcloud.sagemaker.hosting.deployment import pending
from localcloud.sagemaker.hosting.fleet import Fleet
from localcloud.sagemaker.hosting.rollout import RolloutError, plan
from localcloud.sagemaker.hosting.traffic import Traffic


def policy(kind: str, wait: int = 300, **members: Any) -> dict[str, Any]:
    routing = {"Type": kind, "WaitIntervalInSeconds": wait, **members}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": 60}}


def percent(value: int) -> dict[str, Any]:
    return {"Type": "CAPACITY_PERCENT", "Value": value}


def test_no_policy_switches_at_once_and_waits_for_nothing() -> None:
    (step,) = plan(None, 3).steps
    assert (step.share, step.instances, step.seconds) == (1.0, 3, 0)


def test_all_at_once_bakes_before_the_old_fleet_ends() -> None:
    (step,) = plan(policy("ALL_AT_ONCE"), 2).steps
    assert (step.share, step.seconds, step.name) == (1.0, 60, "TerminationWaitInSeconds")
    assert step.capacity == "full capacity of 2 instance(s)"


def test_a_canary_is_a_share_then_all() -> None:
    canary, last = plan(policy("CANARY", CanarySize=percent(30)), 4).steps
    assert (canary.share, canary.instances, canary.seconds) == (0.3, 2, 300)
    assert canary.capacity == "canary capacity of 2 instance(s)"
    assert (last.share, last.seconds) == (1.0, 60)


def test_a_canary_by_instances() -> None:
    size = {"Type": "INSTANCE_COUNT", "Value": 1}
    assert [step.share for step in plan(policy("CANARY", CanarySize=size), 4).steps] == [0.25, 1.0]
    assert [step.share for step in plan(policy("CANARY", CanarySize=size), 1).steps] == [1.0]


@given(st.integers(10, 50), st.integers(1, 20))
def test_linear_steps_grow_evenly_to_all(size: int, instances: int) -> None:
    steps = plan(policy("LINEAR", LinearStepSize=percent(size)), instances).steps
    shares = [step.share for step in steps]
    assert shares == sorted(set(shares))
    assert shares[-1] == 1.0
    assert all(later - earlier <= size / 100 + 1e-9 for earlier, later in pairwise([0.0, *shares]))
    assert all(1 <= step.instances <= instances for step in steps)
    assert len(steps) == -(-100 // size)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (policy("CANARY"), "needs CanarySize"),
        (policy("LINEAR"), "needs LinearStepSize"),
        (policy("CANARY", CanarySize=percent(51)), "51 %"),
        (policy("LINEAR", LinearStepSize=percent(9)), "9 %"),
        (policy("CANARY", CanarySize={"Type": "INSTANCE_COUNT", "Value": 3}), "3 of 4 instances"),
        ({"RollingUpdatePolicy": {}}, "blue/green updates only"),
    ],
)
def test_what_aws_refuses_is_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(RolloutError, match=words):
        plan(config, 4)


def test_alarms_and_limit() -> None:
    config = policy("ALL_AT_ONCE")
    config["BlueGreenUpdatePolicy"]["MaximumExecutionTimeoutInSeconds"] = 600
    config["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": "a"}, {"AlarmName": "b"}]}
    found = plan(config, 1)
    assert (found.limit, found.alarms) == (600, ("a", "b"))


def test_traffic_goes_by_share_and_back() -> None:
    blue, green = Fleet([]), Fleet([])
    traffic = Traffic(blue)
    assert traffic.order() == [blue]
    traffic.shift(green, 0.3)
    first = Counter("green" if traffic.order()[0] is green else "blue" for _ in range(4000))
    assert 0.25 < first["green"] / 4000 < 0.35
    assert set(traffic.order()) == {blue, green}
    traffic.shift(green, 1.0)
    assert traffic.order() == [green]
    assert traffic.fleets() == [blue, green]
    traffic.shift(green, 0.0)
    assert traffic.order() == [blue]
    traffic.keep(green)
    assert traffic.order() == traffic.fleets() == [green]


def record(status: str, **members: Any) -> dict[str, Any]:
    return {
        "EndpointName": "shop",
        "EndpointArn": "arn:shop",
        "EndpointConfigName": "one",
        "EndpointStatus": status,
        "CreationTime": 1.0,
        "LastModifiedTime": 2.0,
        **members,
    }


def test_each_step_is_an_event_of_its_own() -> None:
    summary = {"VariantName": "v", "DeployedImages": [], "DesiredWeight": 1.0, "DesiredInstanceCount": 2}
    new = {"EndpointConfigName": "two", "Variants": [{"Summary": summary}]}
    creating = pending(new, 3.0, 4.0, "Creating", "Launching 2 instance(s).", 0.0)
    baking = pending(new, 3.0, 5.0, "Baking", "Baking.", 0.5)
    before = record("Updating", PendingDeploymentSummary=creating)
    after = record("Updating", PendingDeploymentSummary=baking)
    event = event_of("endpoint", before, after, lambda _arn: {})
    assert event is not None
    assert event.detail_type == "SageMaker Endpoint Deployment State Change"
    assert event.detail["EndpointStatus"] == "UPDATING"
    assert event.detail["PendingDeploymentSummary"] == {
        "EndpointConfigName": "two",
        "StartTime": 3000,
        "ProductionVariants": [
            {
                **summary,
                "CurrentWeight": 0.5,
                "CurrentInstanceCount": 2,
                "VariantStatus": [{"Status": "Baking", "StatusMessage": "Baking.", "StartTime": 5000}],
            }
        ],
    }
    assert event_of("endpoint", after, after, lambda _arn: {}) is None
    back = event_of("endpoint", after, {**after, "EndpointStatus": "RollingBack"}, lambda _arn: {})
    assert back is not None
    assert back.detail_type == "SageMaker Endpoint State Change"
    assert back.detail["EndpointStatus"] == "ROLLING_BACK"
