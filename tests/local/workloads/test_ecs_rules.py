"""EventBridge's rules start tasks with the role of the target; what they cannot start is a dead letter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from localcloud.context import Cloud, Credentials
from tests.local.support import Role, allow, unique
from tests.local.workloads.ecs_yard import Yard, wait_for

CODE = "import os; print(os.environ['WORD'])"


@pytest.fixture(scope="module")
def yard(
    cloud: Cloud, admin: Credentials, role: Role, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Yard]:
    made = Yard(cloud, admin, role, tmp_path_factory.mktemp("image"))
    yield made
    made.close()


@pytest.fixture
def letters(yard: Yard) -> tuple[str, str]:
    """URL and ARN of a queue that takes what rules send."""
    client, name = yard.cloud.client("sqs", yard.admin), unique("letters")
    arn = f"arn:aws:sqs:{yard.cloud.region}:{yard.cloud.account}:{name}"
    statement = {**allow("sqs:SendMessage", arn), "Principal": {"Service": "events.amazonaws.com"}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return client.create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"], arn


def ring(yard: Yard, definition: str, role: str, letters: str, **changes: Any) -> str:
    """A rule that runs the task is told of an event; the rule's name."""
    events, name = yard.cloud.client("events", yard.admin), unique("rule")
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    network = {"awsvpcConfiguration": {"Subnets": ["subnet-1"]}}
    parameters = {"TaskDefinitionArn": definition, "LaunchType": "FARGATE", "NetworkConfiguration": network}
    words = {"name": "main", "environment": [{"name": "WORD", "value": name}]}
    target = {
        "Id": "task",
        "Arn": f"arn:aws:ecs:{yard.cloud.region}:{yard.cloud.account}:cluster/{yard.name}",
        "RoleArn": role,
        "EcsParameters": parameters,
        "DeadLetterConfig": {"Arn": letters},
        **changes,
    }
    if not changes.keys() & {"InputTransformer", "InputPath"}:
        target["Input"] = json.dumps({"containerOverrides": [words]})
    events.put_targets(Rule=name, Targets=[target])
    events.put_events(Entries=[{"Source": name, "DetailType": "t", "Detail": json.dumps(DETAIL)}])
    return name


OVERRIDES = '{"containerOverrides": [{"name": "main", "environment": [{"name": "WORD", "value": "<word>"}]}]}'
DETAIL = {
    "containerOverrides": [{"name": "main", "environment": [{"name": "WORD", "value": "from the event"}]}]
}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, None),
        ({"InputTransformer": {"InputPathsMap": {"word": "$.detail-type"}, "InputTemplate": OVERRIDES}}, "t"),
        ({"InputPath": "$.detail"}, "from the event"),
    ],
)
def test_a_rule_starts_a_task_with_overrides(
    yard: Yard, role: Role, letters: tuple[str, str], changes: dict[str, Any], word: str | None
) -> None:
    definition = yard.definition(yard.container(CODE))
    passing = allow("iam:PassRole", [yard.task_role, yard.execution_role])
    may = role("events.amazonaws.com", [allow("ecs:RunTask", definition), passing])
    name = ring(yard, definition, may, letters[1], **changes)

    def started() -> list[str]:
        both = [
            yard.ecs.list_tasks(cluster=yard.name, family=definition.split("/")[1].split(":")[0], **which)
            for which in ({"desiredStatus": "RUNNING"}, {"desiredStatus": "STOPPED"})
        ]
        # It may end between the two.
        return list({arn for answer in both for arn in answer["taskArns"]})

    (arn,) = wait_for(started, "a task")
    task = yard.reached(arn, "STOPPED")
    assert task["startedBy"] == f"events-rule/{name}"
    assert task["containers"][0]["exitCode"] == 0
    assert yard.log(arn) == [word or name]


@pytest.mark.parametrize("fault", ["no right", "no right to pass", "no trust", "no cluster"])
def test_what_cannot_be_started_is_a_dead_letter(
    yard: Yard, role: Role, letters: tuple[str, str], fault: str
) -> None:
    definition = yard.definition(yard.container(CODE))
    running, passing = allow("ecs:RunTask", definition), allow("iam:PassRole", [yard.task_role])
    granted = {"no right": [passing], "no right to pass": [running]}.get(fault, [running, passing])
    may = role("lambda.amazonaws.com" if fault == "no trust" else "events.amazonaws.com", granted)
    gone = {"Arn": f"arn:aws:ecs:{yard.cloud.region}:{yard.cloud.account}:cluster/none"}
    name = ring(yard, definition, may, letters[1], **(gone if fault == "no cluster" else {}))
    client = yard.cloud.client("sqs", yard.admin)
    (letter,) = wait_for(
        lambda: client.receive_message(QueueUrl=letters[0], MessageAttributeNames=["All"]).get("Messages"),
        "a letter",
    )
    assert json.loads(letter["Body"])["source"] == name
    attributes = {key: value["StringValue"] for key, value in letter["MessageAttributes"].items()}
    assert attributes["RULE_ARN"].endswith(f"rule/{name}")
    expected = "SDK_CLIENT_ERROR" if fault == "no cluster" else "NO_PERMISSIONS"
    assert attributes["ERROR_CODE"] == expected, attributes
