"""Differences from AWS that remain, as docs/local-cloud.md lists them.

A failure here is good news: mend that page.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from localcloud.context import Cloud, Credentials
from tests.local.support import archive

Role = Callable[[str, list[dict[str, Any]]], str]


def make_function(cloud: Cloud, admin: Credentials, name: str, role: str, code: str, **more: Any) -> str:
    created = cloud.client("lambda", admin).create_function(
        FunctionName=name,
        Role=role,
        Runtime="python3.11",
        Handler="index.handler",
        Code={"ZipFile": archive(code)},
        Timeout=60,
        **more,
    )
    arn: str = created["FunctionArn"]
    return arn


def test_stacks_are_made_with_cloudformations_own_permissions(
    cloud: Cloud, admin: Credentials, role: Role
) -> None:
    """On AWS a stack's role, which may do nothing here, decides."""
    client = cloud.client("cloudformation", admin)
    template = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
    client.create_stack(
        StackName="powerless",
        TemplateBody=json.dumps(template),
        RoleARN=role("cloudformation.amazonaws.com", []),
    )
    client.get_waiter("stack_create_complete").wait(StackName="powerless", WaiterConfig={"Delay": 1})


def test_functions_see_the_packages_of_the_local_cloud(cloud: Cloud, admin: Credentials, role: Role) -> None:
    """On AWS a function has boto3 and what its archive and layers bring."""
    code = "import psutil\ndef handler(event, context):\n    return psutil.__name__\n"
    make_function(cloud, admin, "sees-packages", role("lambda.amazonaws.com", []), code)
    answer = cloud.client("lambda", admin).invoke(FunctionName="sees-packages")
    assert json.loads(answer["Payload"].read()) == "psutil"
