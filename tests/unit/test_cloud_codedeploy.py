"""The local CodeDeploy's rules: how far, how fast, and who answers."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.aws import events, identity
from localcloud.aws.differences.alias_routing import draw, routing_fault
from localcloud.aws.errors import RoleNotAssumable
from localcloud.codedeploy import deployments, shift
from localcloud.codedeploy.appspec import Target, revision, target_of
from localcloud.codedeploy.mover import Mover
from localcloud.codedeploy.service import DEPLOYMENT, CodeDeploy
from localcloud.context import Cloud
from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.store import Store


@pytest.mark.parametrize(
    ("config", "percents", "minutes"),
    [
        ("LambdaAllAtOnce", [], 0),
        ("LambdaCanary10Percent5Minutes", [10], 5),
        ("LambdaCanary10Percent30Minutes", [10], 30),
        ("LambdaLinear10PercentEvery1Minute", [10, 20, 30, 40, 50, 60, 70, 80, 90], 9),
        ("LambdaLinear10PercentEvery10Minutes", [10, 20, 30, 40, 50, 60, 70, 80, 90], 90),
    ],
)
def test_steps(config: str, percents: list[int], minutes: int) -> None:
    steps = shift.steps(f"CodeDeployDefault.{config}")
    assert [step.percent for step in steps] == percents
    assert sum(step.minutes for step in steps) == minutes


def test_every_configuration_has_steps_and_a_description() -> None:
    assert len(shift.NAMES) == 9
    kinds = Counter(str(shift.routing(name)["type"]) for name in shift.NAMES)
    assert kinds == {"AllAtOnce": 1, "TimeBasedCanary": 4, "TimeBasedLinear": 4}
    with pytest.raises(KeyError):
        shift.steps("CodeDeployDefault.ECSAllAtOnce")


@given(
    names=st.tuples(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1), st.text(min_size=1)),
)
def test_a_revision_is_read_as_it_was_written(names: tuple[str, str, str, str]) -> None:
    function, alias, current, target = names
    written = Target(function=function, alias=alias, current=current, target=target)
    assert target_of(revision(written)) == written
    assert written.reversed().reversed() == written


@pytest.mark.parametrize(
    "content",
    [
        "[]", "{", '{"Resources": []}', '{"Resources": [{"f": {"Properties": {"Name": "f"}}}]}',
        '{"Resources": 1}', '{"Resources": [1]}',
    ],
)  # fmt: skip
def test_what_is_no_revision_of_a_function_is_refused(content: str) -> None:
    with pytest.raises(ServiceError, match="cannot be deployed"):
        target_of({"revisionType": "AppSpecContent", "appSpecContent": {"content": content}})


def test_hooks_are_refused() -> None:
    asked = revision(Target(function="f", alias="live", current="1", target="2"))
    document = json.loads(asked["appSpecContent"]["content"])
    document["Hooks"] = [{"BeforeAllowTraffic": "check"}]
    with pytest.raises(ServiceError, match="runs no hooks"):
        target_of({"revisionType": "String", "string": {"content": json.dumps(document)}})


@given(weight=st.floats(0, 1), chance=st.floats(0, 1, exclude_max=True))
def test_a_weight_is_a_share_of_the_requests(weight: float, chance: float) -> None:
    alias: dict[str, Any] = {
        "FunctionVersion": "1",
        "RoutingConfig": {"AdditionalVersionWeights": {"2": weight}},
    }
    assert draw(alias, chance) == ("2" if chance < weight else "1")


@pytest.mark.parametrize(
    ("weights", "fault"),
    [
        ({"2": 0.1}, None),
        ({}, None),
        ({"3": 0.1}, "does not exist"),
        ({"2": 1.1}, "not between"),
        ({"1": 0.1, "2": 0.1}, "cannot be greater than 1"),
    ],
)
def test_weights_that_lambda_refuses(weights: dict[str, float], fault: str | None) -> None:
    found = routing_fault({"AdditionalVersionWeights": weights}, {"1": {}, "2": {}})
    assert found is None if fault is None else found is not None and fault in found


def test_deployments_of_an_earlier_run_are_failed() -> None:
    store = Store(Path(":memory:"))
    for number, status in enumerate(("Created", "InProgress", "Succeeded", "Stopped")):
        store.create(DEPLOYMENT, f"d-{number}", {"deploymentId": f"d-{number}", "status": status})
    deployments.end_interrupted(cast(CodeDeploy, SimpleNamespace(store=store)))
    found = store.query(DEPLOYMENT)
    assert [record["status"] for record in found] == ["Failed", "Failed", "Succeeded", "Stopped"]
    assert [record.get("errorInformation", {}).get("code") for record in found[:2]] == ["INTERNAL_ERROR"] * 2
    store.close()


@pytest.mark.parametrize("deployment_id", ["d-ABCDEFGHI", "d-RABCDEFGH"])
@pytest.mark.parametrize("events_work", [True, False])
def test_a_deployment_always_ends(
    monkeypatch: pytest.MonkeyPatch, deployment_id: str, events_work: bool
) -> None:
    """A stack waits for it without a limit."""
    heard: list[str] = []

    def assume_role(*_: Any, **__: Any) -> Any:
        raise RoleNotAssumable("arn:aws:iam::000000000000:role/r", "codedeploy.amazonaws.com")

    def emit(*told: Any) -> None:
        heard.append(told[3]["state"])
        # The letter that says it begins is lost.
        if not events_work and len(heard) == 1:
            raise RuntimeError("no bus")

    monkeypatch.setattr(identity, "assume_role", assume_role)
    monkeypatch.setattr(events, "emit", emit)
    store = Store(Path(":memory:"))
    target = Target(function="f", alias="live", current="1", target="2")
    record = {
        "applicationName": "a", "deploymentGroupName": "g", "deploymentId": deployment_id,
        "status": "Created", "_target": asdict(target),
    }  # fmt: skip
    store.create(DEPLOYMENT, deployment_id, record)
    group = {
        "serviceRoleArn": "arn:aws:iam::000000000000:role/r",
        "applicationName": "a",
        "deploymentGroupName": "g",
        "autoRollbackConfiguration": {"enabled": True, "events": ["DEPLOYMENT_FAILURE"]},
    }
    Mover(cast(Cloud, SimpleNamespace(region="r", account="a", client=None)), store).start(
        deployment_id, group
    )
    ended = store.wait(DEPLOYMENT, deployment_id, lambda found: found["status"] in deployments.ENDED, 10)
    expected = "IAM_ROLE_MISSING" if events_work else "INTERNAL_ERROR"
    assert (ended["status"], ended["errorInformation"]["code"]) == ("Failed", expected)
    store.close()
