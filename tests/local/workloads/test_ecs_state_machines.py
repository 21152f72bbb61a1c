"""State machines that run tasks, with their role's permissions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from localcloud.context import Cloud, Credentials
from tests.local.support import Role, allow, unique
from tests.local.workloads.ecs_yard import SUBNETS, Yard, wait_for


@pytest.fixture(scope="module")
def yard(
    cloud: Cloud, admin: Credentials, role: Role, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Yard]:
    made = Yard(cloud, admin, role, tmp_path_factory.mktemp("image"))
    yield made
    made.close()


def outcome(yard: Yard, role_arn: str, resource: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """How an execution of one task ends."""
    client, name = yard.cloud.client("stepfunctions", yard.admin), unique("machine")
    task = {"Type": "Task", "Resource": resource, "Parameters": parameters, "End": True}
    machine = client.create_state_machine(
        name=name, roleArn=role_arn, definition=json.dumps({"StartAt": "Run", "States": {"Run": task}})
    )["stateMachineArn"]
    execution = client.start_execution(stateMachineArn=machine)["executionArn"]

    def ended() -> Any:
        found = client.describe_execution(executionArn=execution)
        return found if found["status"] != "RUNNING" else None

    found: dict[str, Any] = wait_for(ended, "the execution")
    return found


def request(yard: Yard, definition: str) -> dict[str, Any]:
    return {
        "Cluster": yard.name,
        "TaskDefinition": definition,
        "LaunchType": "FARGATE",
        "NetworkConfiguration": {
            "AwsvpcConfiguration": {"Subnets": SUBNETS["awsvpcConfiguration"]["subnets"]}
        },
        "Overrides": {
            "ContainerOverrides": [{"Name": "main", "Environment": [{"Name": "EXIT", "Value": "0"}]}]
        },
    }


def test_a_state_machine_runs_a_task_and_waits(yard: Yard, role: Role) -> None:
    definition = yard.definition(yard.container("import os; raise SystemExit(int(os.environ['EXIT']))"))
    passing = allow("iam:PassRole", [yard.task_role, yard.execution_role])
    watching = allow(["ecs:DescribeTasks", "ecs:StopTask"])
    may = role("states.amazonaws.com", [allow("ecs:RunTask", definition), passing, watching])
    given = request(yard, definition)
    found = outcome(yard, may, "arn:aws:states:::ecs:runTask.sync", given)
    assert found["status"] == "SUCCEEDED", found
    assert json.loads(found["output"])["Containers"][0]["ExitCode"] == 0
    given["Overrides"]["ContainerOverrides"][0]["Environment"][0]["Value"] = "4"
    failed = outcome(yard, may, "arn:aws:states:::ecs:runTask.sync", given)
    assert (failed["status"], failed["error"]) == ("FAILED", "States.TaskFailed")
    started = outcome(yard, may, "arn:aws:states:::aws-sdk:ecs:runTask", given)
    arn = json.loads(started["output"])["Tasks"][0]["TaskArn"]
    stopped = outcome(
        yard, may, "arn:aws:states:::aws-sdk:ecs:stopTask", {"Cluster": yard.name, "Task": arn, "Reason": "x"}
    )
    assert stopped["status"] == "SUCCEEDED", stopped
    yard.reached(arn, "STOPPED")


def test_the_role_decides(yard: Yard, role: Role) -> None:
    definition = yard.definition(yard.container("pass"))
    may_not = role("states.amazonaws.com", [allow("ecs:RunTask", definition)])
    found = outcome(yard, may_not, "arn:aws:states:::ecs:runTask", request(yard, definition))
    assert (found["status"], found["error"]) == ("FAILED", "ECS.AccessDeniedException")
    assert "iam:PassRole" in found["cause"]
