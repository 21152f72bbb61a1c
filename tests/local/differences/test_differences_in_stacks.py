"""Whose permissions invoke the function of a custom resource: the stack's role, else who deploys."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from localcloud.context import Cloud, Credentials
from tests.local.support import Actor, Role, allow, archive, function, unique

# Answers the request of CloudFormation, as every custom resource must.
_CODE = """
import json, urllib.request

def handler(event, context):
    answer = {"Status": "SUCCESS", "PhysicalResourceId": "it", "StackId": event["StackId"],
              "RequestId": event["RequestId"], "LogicalResourceId": event["LogicalResourceId"]}
    request = urllib.request.Request(event["ResponseURL"], json.dumps(answer).encode(), method="PUT")
    urllib.request.urlopen(request, timeout=10)
"""
_STACKS = allow("cloudformation:*")


@pytest.fixture(scope="module")
def token(cloud: Cloud, admin: Credentials, role: Role) -> str:
    """The function of the custom resources here."""
    name = unique("custom")
    request = {**function(name, role("lambda.amazonaws.com", [])), "Code": {"ZipFile": archive(_CODE)}}
    arn: str = cloud.client("lambda", admin).create_function(**request)["FunctionArn"]
    return arn


@pytest.fixture
def settled(cloud: Cloud, admin: Credentials) -> Callable[[str], str]:
    """How a stack went: why a resource failed first, else the status of the stack."""
    client = cloud.client("cloudformation", admin)

    def wait(name: str) -> str:
        stack = client.describe_stacks(StackName=name)["Stacks"][0]
        while stack["StackStatus"].endswith("_IN_PROGRESS"):
            time.sleep(0.1)
            stack = client.describe_stacks(StackName=stack["StackId"])["Stacks"][0]
        events = client.describe_stack_events(StackName=stack["StackId"])["StackEvents"]
        failures = [
            event["ResourceStatusReason"] for event in events if event["ResourceStatus"].endswith("_FAILED")
        ]
        return str(failures[-1] if failures else stack["StackStatus"])

    return wait


@pytest.fixture
def outcome(cloud: Cloud, token: str, settled: Callable[[str], str]) -> Callable[..., str]:
    """Deploy the custom resource, and say how it went."""

    def deploy(name: str, who: Credentials, *, version: str = "1", role: str | None = None) -> str:
        resource = {"Type": "Custom::It", "Properties": {"ServiceToken": token, "Version": version}}
        body = json.dumps({"Resources": {"It": resource}})
        verb = "create" if version == "1" else "update"
        given = {"RoleARN": role} if role else {}
        client = cloud.client("cloudformation", who)
        getattr(client, f"{verb}_stack")(StackName=name, TemplateBody=body, **given)
        return settled(name)

    return deploy


def test_the_caller_invokes_where_the_stack_has_no_role(
    actor: Actor, token: str, outcome: Callable[..., str]
) -> None:
    reason = outcome(unique("custom"), actor([_STACKS]))
    assert f"is not authorized to perform: lambda:InvokeFunction on resource: {token}" in reason
    assert outcome(unique("custom"), actor([_STACKS, allow("lambda:InvokeFunction", token)])) == (
        "CREATE_COMPLETE"
    )


def test_the_role_invokes_where_the_stack_has_one(
    actor: Actor, role: Role, token: str, outcome: Callable[..., str]
) -> None:
    may, may_not = (
        role("cloudformation.amazonaws.com", statements)
        for statements in ([allow("lambda:InvokeFunction", token)], [])
    )
    deployer = actor([_STACKS, allow("iam:PassRole")])
    name = unique("custom")
    assert outcome(name, deployer, role=may) == "CREATE_COMPLETE"
    # The stack keeps its role.
    assert outcome(name, deployer, version="2") == "UPDATE_COMPLETE"
    invoker = actor([_STACKS, allow("iam:PassRole"), allow("lambda:InvokeFunction", token)])
    reason = outcome(unique("custom"), invoker, role=may_not)
    assert f"{may_not} is not authorized to perform: lambda:InvokeFunction" in reason


def test_a_change_set_is_carried_out_with_its_role(
    cloud: Cloud, actor: Actor, role: Role, token: str, settled: Callable[[str], str]
) -> None:
    may = role("cloudformation.amazonaws.com", [allow("lambda:InvokeFunction", token)])
    body = {"Resources": {"It": {"Type": "Custom::It", "Properties": {"ServiceToken": token}}}}
    for given, expected in (({"RoleARN": may}, "CREATE_COMPLETE"), ({}, "is not authorized")):
        name = unique("custom")
        client = cloud.client("cloudformation", actor([_STACKS, allow("iam:PassRole")]))
        client.create_change_set(
            StackName=name,
            ChangeSetName="c",
            ChangeSetType="CREATE",
            TemplateBody=json.dumps(body),
            **given,
        )
        # Whoever carries it out passes no role.
        cloud.client("cloudformation", actor([_STACKS])).execute_change_set(StackName=name, ChangeSetName="c")
        assert expected in settled(name)
