"""What MiniStack alone would allow or say otherwise than AWS: whose permissions a service acts with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.context import Cloud, Credentials
from tests.local.support import Actor, Role, allow, code_of, function, unique


class TestPassRole:
    def test_create_function(self, cloud: Cloud, actor: Actor, role: Role) -> None:
        execution = role("lambda.amazonaws.com", [])
        client = cloud.client("lambda", actor([allow("lambda:*")]))
        code, message = code_of(lambda: client.create_function(**function("passrole", execution)))
        assert code == "AccessDeniedException"
        assert f"iam:PassRole on resource: {execution}" in message
        grant = allow("iam:PassRole", execution)
        grant["Condition"] = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
        cloud.client("lambda", actor([allow("lambda:*"), grant])).create_function(
            **function("passrole", execution)
        )

    def test_update_function(self, cloud: Cloud, admin: Credentials, actor: Actor, role: Role) -> None:
        execution, other = role("lambda.amazonaws.com", []), role("lambda.amazonaws.com", [])
        cloud.client("lambda", admin).create_function(**function("passrole-update", execution))
        client = cloud.client("lambda", actor([allow("lambda:*")]))
        code, _message = code_of(
            lambda: client.update_function_configuration(FunctionName="passrole-update", Role=other)
        )
        assert code == "AccessDeniedException"
        client.update_function_configuration(FunctionName="passrole-update", Timeout=5)

    def test_role_must_trust_lambda(self, cloud: Cloud, admin: Credentials, role: Role) -> None:
        foreign = role("sagemaker.amazonaws.com", [])
        code, message = code_of(
            lambda: cloud.client("lambda", admin).create_function(**function("untrusted", foreign))
        )
        assert code == "InvalidParameterValueException"
        assert "cannot be assumed by Lambda" in message

    def test_state_machine(self, cloud: Cloud, actor: Actor, role: Role) -> None:
        execution = role("states.amazonaws.com", [])
        definition = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}})
        client = cloud.client("stepfunctions", actor([allow("states:*")]))
        code, _message = code_of(
            lambda: client.create_state_machine(name="m", definition=definition, roleArn=execution)
        )
        assert code == "AccessDeniedException"

    def test_event_target(self, cloud: Cloud, actor: Actor, role: Role) -> None:
        execution = role("events.amazonaws.com", [])
        client = cloud.client("events", actor([allow("events:*")]))
        client.put_rule(Name="passrole", EventPattern='{"source": ["x"]}')
        machine = "arn:aws:states:us-east-1:000000000000:stateMachine:m"
        target = {"Id": "1", "Arn": machine, "RoleArn": execution}
        code, _message = code_of(lambda: client.put_targets(Rule="passrole", Targets=[target]))
        assert code == "AccessDeniedException"


def test_a_target_with_a_role_needs_one(cloud: Cloud, admin: Credentials, role: Role) -> None:
    """A state machine behind a rule runs only with a role that EventBridge may assume and that starts it."""
    events, states = cloud.client("events", admin), cloud.client("stepfunctions", admin)
    machine = states.create_state_machine(
        name="behind-a-rule",
        definition=json.dumps({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}),
        roleArn=role("states.amazonaws.com", []),
    )["stateMachineArn"]
    start = allow("states:StartExecution", machine)
    events.put_rule(Name="behind", EventPattern='{"source": ["test.behind"]}')
    code, message = code_of(lambda: events.put_targets(Rule="behind", Targets=[{"Id": "1", "Arn": machine}]))
    assert code == "ValidationException"
    assert "RoleArn is required" in message

    def runs(target_role: str) -> int:
        events.put_targets(Rule="behind", Targets=[{"Id": "1", "Arn": machine, "RoleArn": target_role}])
        # Its answer comes when every target of the event has been asked.
        events.put_events(Entries=[{"Source": "test.behind", "DetailType": "t", "Detail": "{}"}])
        return len(states.list_executions(stateMachineArn=machine)["executions"])

    assert runs(role("events.amazonaws.com", [])) == 0
    assert runs(role("lambda.amazonaws.com", [start])) == 0
    assert runs(role("events.amazonaws.com", [start])) == 1


@pytest.fixture
def outcome(cloud: Cloud, admin: Credentials) -> Callable[[dict[str, Any], str], dict[str, Any]]:
    """Run a state machine of one task with a role; the execution as it ended."""
    states = cloud.client("stepfunctions", admin)

    def run(task: dict[str, Any], role: str) -> dict[str, Any]:
        definition = {"StartAt": "A", "States": {"A": {"Type": "Task", "End": True, **task}}}
        machine = states.create_state_machine(
            name=unique("task"), definition=json.dumps(definition), roleArn=role
        )["stateMachineArn"]
        started = states.start_execution(stateMachineArn=machine)["executionArn"]
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            found: dict[str, Any] = states.describe_execution(executionArn=started)
            if found["status"] != "RUNNING":
                return found
            time.sleep(0.1)
        raise AssertionError("the execution does not end")

    return run


@pytest.mark.parametrize("kind", ["lambda", "dynamodb", "sqs", "events"])
def test_a_state_machine_acts_with_its_role(
    cloud: Cloud, admin: Credentials, role: Role, outcome: Any, kind: str
) -> None:
    function_arn = "arn:aws:lambda:us-east-1:000000000000:function:of-a-task"
    tasks: dict[str, tuple[str, dict[str, Any], str, str]] = {
        "lambda": ("lambda:invoke", {"FunctionName": function_arn}, "lambda:InvokeFunction", function_arn),
        "dynamodb": (
            "dynamodb:putItem", {"TableName": "of-a-task", "Item": {"id": {"S": "1"}}}, "dynamodb:PutItem",
            "arn:aws:dynamodb:us-east-1:000000000000:table/of-a-task",
        ),
        "sqs": (
            "sqs:sendMessage", {"MessageBody": "m"}, "sqs:SendMessage",
            "arn:aws:sqs:us-east-1:000000000000:of-a-task",
        ),
        "events": (
            "events:putEvents", {"Entries": [{"Source": "s", "DetailType": "t", "Detail": "{}"}]},
            "events:PutEvents", "arn:aws:events:us-east-1:000000000000:event-bus/default",
        ),
    }  # fmt: skip
    resource, arguments, action, needed = tasks[kind]
    if kind == "lambda":
        cloud.client("lambda", admin).create_function(
            **function("of-a-task", role("lambda.amazonaws.com", []))
        )
    if kind == "dynamodb":
        cloud.client("dynamodb", admin).create_table(
            TableName="of-a-task",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
    if kind == "sqs":
        url = cloud.client("sqs", admin).create_queue(QueueName="of-a-task")["QueueUrl"]
        arguments = {**arguments, "QueueUrl": url}
    task = {"Resource": f"arn:aws:states:::{resource}", "Parameters": arguments}

    refused = outcome(task, role("states.amazonaws.com", []))
    assert refused["status"] == "FAILED"
    assert f"{action} on resource: {needed}" in refused["cause"]
    assert outcome(task, role("states.amazonaws.com", [allow(action, needed)]))["status"] == "SUCCEEDED"


@pytest.mark.parametrize("kind", ["sqs", "dynamodb", "s3", "lambda", "transaction"])
def test_a_state_machine_acts_with_its_role_through_the_sdk(
    cloud: Cloud, admin: Credentials, role: Role, outcome: Any, kind: str
) -> None:
    key = {"id": {"S": "1"}}
    table = "arn:aws:dynamodb:us-east-1:000000000000:table/through-sdk"
    function_arn = "arn:aws:lambda:us-east-1:000000000000:function:through-sdk"
    calls: dict[str, tuple[str, dict[str, Any], str, str]] = {
        "sqs": ("sqs:createQueue", {"QueueName": "through-sdk"}, "sqs:CreateQueue",
                "arn:aws:sqs:us-east-1:000000000000:through-sdk"),
        "dynamodb": ("dynamodb:getItem", {"TableName": "through-sdk", "Key": key}, "dynamodb:GetItem", table),
        "s3": ("s3:headBucket", {"Bucket": "through-sdk"}, "s3:ListBucket", "arn:aws:s3:::through-sdk"),
        "lambda": ("lambda:getFunction", {"FunctionName": "through-sdk"}, "lambda:GetFunction", function_arn),
        "transaction": (
            "dynamodb:transactWriteItems",
            {"TransactItems": [{"Put": {"TableName": "through-sdk", "Item": key}}]},
            "dynamodb:PutItem",
            table,
        ),
    }  # fmt: skip
    resource, arguments, action, needed = calls[kind]
    if kind in ("dynamodb", "transaction"):
        with suppress(ClientError):
            cloud.client("dynamodb", admin).create_table(
                TableName="through-sdk",
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
            )
    if kind == "s3":
        cloud.client("s3", admin).create_bucket(Bucket="through-sdk")
    if kind == "lambda":
        cloud.client("lambda", admin).create_function(
            **function("through-sdk", role("lambda.amazonaws.com", []))
        )
    task = {"Resource": f"arn:aws:states:::aws-sdk:{resource}", "Parameters": arguments}

    for statements in ([], [allow(action, needed + "-else")]):
        refused = outcome(task, role("states.amazonaws.com", statements))
        assert refused["status"] == "FAILED"
        assert f"{action} on resource: {needed}" in refused["cause"]
        assert refused["error"].endswith("Exception")
    allowed = outcome(task, role("states.amazonaws.com", [allow(action, needed)]))
    assert allowed["status"] == "SUCCEEDED", allowed


@pytest.mark.parametrize("service", ["sagemaker", "application-autoscaling"])
def test_our_services_have_one_region(cloud: Cloud, admin: Credentials, service: str) -> None:
    elsewhere = replace(cloud, region="eu-west-1").client(service, admin)
    call = {"sagemaker": "list_models", "application-autoscaling": "describe_scalable_targets"}[service]
    arguments = {"ServiceNamespace": "sagemaker"} if service == "application-autoscaling" else {}
    code, message = code_of(lambda: getattr(elsewhere, call)(**arguments))
    assert code == "InvalidSignatureException"
    assert "valid region, not 'eu-west-1'" in message
