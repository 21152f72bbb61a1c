"""Hosts of the local EC2 that run: what they are started from, and how they are commanded."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.context import Cloud, Credentials
from tests.local.support import unique, until

IMAGE = "resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
AGENT = [
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
]
ENDED = ("Success", "Failed", "TimedOut", "Cancelled")
USER_DATA = (
    "#!/bin/bash\necho started > /var/tmp/started\nshutdown -h +90\nsystemctl disable --now --no-block ecs\n"
)


class Hosts:
    """A stack with a template, a profile, a document and the role of hosts; clients act as `credentials`."""

    def __init__(
        self, cloud: Cloud, admin: Credentials, actions: Sequence[str], *, spot: bool = True
    ) -> None:
        self.cloud, self._admin = cloud, admin
        name = unique("hosts")
        stacks = cloud.client("cloudformation", admin)
        stacks.create_stack(
            StackName=name,
            TemplateBody=json.dumps({"Resources": _resources(actions, spot=spot)}),
            Capabilities=["CAPABILITY_IAM"],
        )
        stacks.get_waiter("stack_create_complete").wait(
            StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 180}
        )
        found = stacks.describe_stack_resources(StackName=name)["StackResources"]
        ids = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found}
        self.template, self.role, self.document = ids["Template"], ids["Role"], ids["Document"]

    def client(self, service: str, credentials: Credentials | None = None) -> Any:
        return self.cloud.client(service, credentials or self._admin)

    def start(self, credentials: Credentials | None = None, **members: Any) -> str:
        """A host's id."""
        answer = self.client("ec2", credentials).run_instances(
            LaunchTemplate={"LaunchTemplateId": self.template, "Version": "1"},
            MinCount=1,
            MaxCount=1,
            **members,
        )
        return str(answer["Instances"][0]["InstanceId"])

    def state(self, host: str) -> str:
        answer = self.client("ec2").describe_instances(InstanceIds=[host])
        return str(answer["Reservations"][0]["Instances"][0]["State"]["Name"])

    def known(self, host: str) -> bool:
        """Whether SSM knows it."""
        found = self.client("ssm").describe_instance_information()["InstanceInformationList"]
        return host in {one["InstanceId"] for one in found}

    def ready(self, host: str) -> str:
        """The host, once it takes commands."""
        until(lambda: self.known(host), lambda: (self.state(host), self.console(host)))
        return host

    def console(self, host: str) -> str:
        file = self.cloud.folder.logs / f"{host}.log"
        return file.read_text() if file.exists() else ""

    def send(self, host: str, *lines: str, credentials: Credentials | None = None) -> str:
        """A command's id."""
        script = base64.b64encode("\n".join(lines).encode()).decode()
        answer = self.client("ssm", credentials).send_command(
            InstanceIds=[host], DocumentName=self.document, Parameters={"Script": [script]}
        )
        return str(answer["Command"]["CommandId"])

    def look(self, host: str, command: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.client("ssm").get_command_invocation(
            CommandId=command, InstanceId=host
        )
        return found

    def ran(self, host: str, *lines: str) -> Mapping[str, Any]:
        """What became of a command."""
        command = self.send(host, *lines)
        until(lambda: self.look(host, command)["Status"] in ENDED, lambda: self.look(host, command))
        return self.look(host, command)

    def gone(self, host: str) -> bool:
        until(lambda: self.state(host) == "terminated", lambda: self.state(host))
        return True


def _resources(actions: Sequence[str], *, spot: bool) -> dict[str, Any]:
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}],
    }
    data = {
        "ImageId": IMAGE,
        "InstanceType": "m7i.large",
        "IamInstanceProfile": {"Arn": {"Fn::GetAtt": ["Profile", "Arn"]}},
        "MetadataOptions": {"HttpTokens": "required"},
        "InstanceInitiatedShutdownBehavior": "terminate",
        "UserData": base64.b64encode(USER_DATA.encode()).decode(),
        "TagSpecifications": [
            {"ResourceType": "instance", "Tags": [{"Key": "fleet", "Value": "tests"}]},
        ],
    }
    if spot:
        data["InstanceMarketOptions"] = {"MarketType": "spot"}
    content = {
        "schemaVersion": "2.2",
        "parameters": {"Script": {"type": "String", "allowedPattern": "^[A-Za-z0-9+/=]+$"}},
        "mainSteps": [
            {
                "name": "Do",
                "action": "aws:runShellScript",
                "inputs": {
                    "timeoutSeconds": "200",
                    "runCommand": [
                        "set -euo pipefail",
                        "echo {{ Script }} | base64 --decode > $TMPDIR/todo",
                        ". $TMPDIR/todo",
                    ],
                },
            }
        ],
    }
    return {
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]},
                "Policies": [{"PolicyName": "host", "PolicyDocument": policy}],
            },
        },
        "Profile": {"Type": "AWS::IAM::InstanceProfile", "Properties": {"Roles": [{"Ref": "Role"}]}},
        "Template": {"Type": "AWS::EC2::LaunchTemplate", "Properties": {"LaunchTemplateData": data}},
        "Document": {
            "Type": "AWS::SSM::Document",
            "Properties": {"DocumentType": "Command", "Content": content, "UpdateMethod": "NewVersion"},
        },
    }
