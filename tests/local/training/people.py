"""People's roles on a stage where their own stack is not deployed, since it needs stacks that take longer.

Each role is made from the template of that stack, with what it grants on the stacks that are there.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.local.training.stage import ENVIRONMENT, Stage

_TEMPLATE = "Access.template.json"


@contextlib.contextmanager
def acting_as(stage: Stage, person: str) -> Iterator[dict[str, str]]:
    """Variables of `DataScientist` or `ModelApprover`, in the place of the administrator's."""
    iam, name = stage.client("iam"), f"test-{person}"
    trust = {"Effect": "Allow", "Principal": {"AWS": stage.cloud.account}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_document([trust]))["Role"]
    iam.put_role_policy(
        RoleName=name, PolicyName="granted", PolicyDocument=_document(_granted(stage, person))
    )
    try:
        keys = stage.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="test")["Credentials"]
        yield stage.environment | {
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
            "AWS_SESSION_TOKEN": keys["SessionToken"],
            "MODELYARD_ENV": ENVIRONMENT,
        }
    finally:
        iam.delete_role_policy(RoleName=name, PolicyName="granted")
        iam.delete_role(RoleName=name)


def _granted(stage: Stage, person: str) -> list[dict[str, Any]]:
    """Statements of the role, resolved; of resources those that are deployed."""
    template = json.loads((Path(stage.assembly) / _TEMPLATE).read_text())
    known = {"AWS::Partition": "aws", "AWS::Region": stage.cloud.region, **_exports(stage)}
    found = []
    for resource in template["Resources"].values():
        properties = resource["Properties"]
        if resource["Type"] != "AWS::IAM::Policy" or not properties["Roles"][0]["Ref"].startswith(person):
            continue
        for statement in properties["PolicyDocument"]["Statement"]:
            listed = statement["Resource"]
            there = []
            for one in listed if isinstance(listed, list) else [listed]:
                with contextlib.suppress(KeyError):
                    there.append(_resolved(one, known))
            if there:
                others = _resolved({key: statement[key] for key in statement if key != "Resource"}, known)
                found.append(others | {"Resource": there})
    return found


def _exports(stage: Stage) -> dict[str, str]:
    stacks = stage.client("cloudformation").describe_stacks()["Stacks"]
    return {
        output["ExportName"]: output["OutputValue"]
        for stack in stacks
        for output in stack.get("Outputs", ())
        if "ExportName" in output
    }


def _resolved(value: Any, known: Mapping[str, str]) -> Any:
    """What CloudFormation makes of it. KeyError: it is of a stack that is not there."""
    match value:
        case {"Fn::ImportValue": name} | {"Ref": name}:
            return known[name]
        case {"Fn::Join": [separator, parts]}:
            return separator.join(_resolved(part, known) for part in parts)
        case dict():
            return {key: _resolved(part, known) for key, part in value.items()}
        case list():
            return [_resolved(part, known) for part in value]
    return value


def _document(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})
