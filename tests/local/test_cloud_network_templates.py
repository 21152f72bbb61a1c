"""Templates with rules of security groups on their own, flow logs and documents of SSM."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import WaiterError

from localcloud.context import Cloud, Credentials
from tests.local.support import Role, unique

WAIT = {"Delay": 1, "MaxAttempts": 180}


@pytest.fixture
def deploy(cloud: Cloud, admin: Credentials) -> Callable[..., dict[str, str]]:
    """Create or update a stack; physical ids by logical ones."""
    client = cloud.client("cloudformation", admin)

    def run(verb: str, name: str, resources: dict[str, Any]) -> dict[str, str]:
        getattr(client, f"{verb}_stack")(StackName=name, TemplateBody=json.dumps({"Resources": resources}))
        client.get_waiter(f"stack_{verb}_complete").wait(StackName=name, WaiterConfig=WAIT)
        found = client.describe_stack_resources(StackName=name)["StackResources"]
        return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found}

    return run


def rule(kind: str, **members: Any) -> dict[str, Any]:
    group = {"Fn::GetAtt": ["Group", "GroupId"]}
    return {
        "Type": f"AWS::EC2::SecurityGroup{kind}",
        "Properties": {"GroupId": group, "IpProtocol": "tcp", **members},
    }


def test_rules_come_and_go_one_by_one(
    cloud: Cloud, admin: Credentials, deploy: Callable[..., dict[str, str]]
) -> None:
    ec2, name = cloud.client("ec2", admin), unique("rules")
    closed = {"CidrIp": "255.255.255.255/32", "IpProtocol": "icmp", "FromPort": 252, "ToPort": 86}
    group = {
        "Type": "AWS::EC2::SecurityGroup",
        "Properties": {"GroupDescription": "hosts", "SecurityGroupEgress": [closed]},
    }
    itself = {"Fn::GetAtt": ["Group", "GroupId"]}
    resources = {
        "Group": group,
        "In": rule("Ingress", FromPort=0, ToPort=65535, SourceSecurityGroupId=itself, Description="peers"),
        "Out": rule("Egress", FromPort=29400, ToPort=29400, DestinationSecurityGroupId=itself),
    }
    made = deploy("create", name, resources)
    assert made["In"].startswith("sgr-")

    def seen() -> tuple[list[Any], list[Any]]:
        (found,) = ec2.describe_security_groups(GroupIds=[made["Group"]])["SecurityGroups"]
        pairs = lambda side: [(one.get("FromPort"), one["UserIdGroupPairs"]) for one in found[side]]  # noqa: E731
        return pairs("IpPermissions"), pairs("IpPermissionsEgress")

    inward, outward = seen()
    assert [port for port, _ in inward] == [0]
    assert inward[0][1][0]["GroupId"] == made["Group"]
    assert [port for port, _ in outward] == [252, 29400]

    resources["In"] = rule("Ingress", FromPort=443, ToPort=443, CidrIp="10.0.0.0/8")
    del resources["Out"]
    changed = deploy("update", name, resources)
    assert changed["In"] != made["In"]
    inward, outward = seen()
    assert ([port for port, _ in inward], [port for port, _ in outward]) == ([443], [252])


def test_a_rule_twice_is_refused(deploy: Callable[..., dict[str, str]]) -> None:
    one = rule("Ingress", FromPort=1, ToPort=1, CidrIp="10.0.0.0/8")
    group = {"Type": "AWS::EC2::SecurityGroup", "Properties": {"GroupDescription": "hosts"}}
    with pytest.raises(WaiterError):
        deploy("create", unique("twice"), {"Group": group, "A": one, "B": {**one, "DependsOn": "A"}})


def test_flow_logs_need_a_role_that_trusts_them(
    cloud: Cloud, admin: Credentials, role: Role, deploy: Callable[..., dict[str, str]]
) -> None:
    def log(trusted: str) -> dict[str, Any]:
        properties = {
            "ResourceId": {"Ref": "Vpc"},
            "ResourceType": "VPC",
            "TrafficType": "REJECT",
            "LogGroupName": "flows",
            "DeliverLogsPermissionArn": role(trusted, []),
        }
        vpc = {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.9.0.0/16"}}
        return {"Vpc": vpc, "Log": {"Type": "AWS::EC2::FlowLog", "Properties": properties}}

    with pytest.raises(WaiterError):
        deploy("create", unique("flows"), log("ec2.amazonaws.com"))
    made = deploy("create", unique("flows"), log("vpc-flow-logs.amazonaws.com"))
    (found,) = cloud.client("ec2", admin).describe_flow_logs(FlowLogIds=[made["Log"]])["FlowLogs"]
    assert (found["ResourceId"], found["TrafficType"]) == (made["Vpc"], "REJECT")


def document(script: str, **members: Any) -> dict[str, Any]:
    content = {
        "schemaVersion": "2.2",
        "parameters": {"Job": {"type": "String", "allowedPattern": "^[a-z]+$"}},
        "mainSteps": [
            {"name": "Run", "action": "aws:runShellScript", "inputs": {"runCommand": [script]}},
        ],
    }
    properties = {"DocumentType": "Command", "Content": {**content, **members}, "UpdateMethod": "NewVersion"}
    return {"Document": {"Type": "AWS::SSM::Document", "Properties": properties}}


def test_a_document_keeps_its_name_through_versions(deploy: Callable[..., dict[str, str]]) -> None:
    name = unique("document")
    made = deploy("create", name, document("echo {{ Job }}"))
    assert deploy("update", name, document("echo {{Job}} again")) == made


@pytest.mark.parametrize(
    "wrong",
    [document("echo {{ Nobody }}"), document("true", schemaVersion="9"), document("true", mainSteps=[])],
)
def test_documents_that_ssm_refuses(deploy: Callable[..., dict[str, str]], wrong: dict[str, Any]) -> None:
    with pytest.raises(WaiterError):
        deploy("create", unique("wrong"), wrong)
