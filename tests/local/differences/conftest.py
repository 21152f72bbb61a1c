"""What the tests of differences deploy with."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from localcloud.context import Cloud, Credentials


@pytest.fixture(scope="module")
def key(cloud: Cloud, admin: Credentials) -> str:
    arn: str = cloud.client("kms", admin).create_key()["KeyMetadata"]["Arn"]
    return arn


@pytest.fixture(scope="module")
def deploy(cloud: Cloud, admin: Credentials) -> Callable[..., dict[str, str]]:
    """Create or update a stack; its outputs."""
    client = cloud.client("cloudformation", admin)

    def run(name: str, resources: dict[str, Any], outputs: dict[str, Any] | None = None) -> dict[str, str]:
        document = {"Resources": resources, "Outputs": {k: {"Value": v} for k, v in (outputs or {}).items()}}
        names = {stack["StackName"] for stack in client.describe_stacks()["Stacks"]}
        verb = "update" if name in names else "create"
        getattr(client, f"{verb}_stack")(StackName=name, TemplateBody=json.dumps(document))
        client.get_waiter(f"stack_{verb}_complete").wait(
            StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 300}
        )
        found = client.describe_stacks(StackName=name)["Stacks"][0].get("Outputs", [])
        return {output["OutputKey"]: output["OutputValue"] for output in found}

    return run
