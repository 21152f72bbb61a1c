"""A custom resource's event as CloudFormation sends it: to the provider's function, with a signed URL for
the answer.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from typing import Any

from tests.local.loop.enforcement import pascal_case
from tests.local.loop.story import MODEL, Story

_ANSWER_LIMIT_S = 300.0
_PSEUDO = {"AWS::URLSuffix": "amazonaws.com", "AWS::Partition": "aws"}


def send(
    story: Story, stack: str, kind: str, request: str, *, before: dict[str, Any] | None = None, **changed: Any
) -> dict[str, Any]:
    """Send `Create`, `Update` or `Delete` for a resource of a type; returns the function's answer.

    It is that of the pipeline that the loop runs, or else the last one.

    `changed` replaces properties of the template, `before` those that the resource had until now.
    """
    session, name = story.administrator, f"modelyard-local-{stack}"
    template = session.client("cloudformation").get_template(StackName=name)["TemplateBody"]
    template = json.loads(template) if isinstance(template, str) else template
    resources = template["Resources"]
    known = [name for name, resource in resources.items() if resource["Type"] == kind]
    logical = max(known, key=lambda name: (name.startswith(pascal_case(MODEL)), name))
    physical = _physical(story, name)
    properties = _resolve(story, resources[logical]["Properties"], physical) | changed
    answers, key = story.bootstrap_bucket, f"answers/{uuid.uuid4()}"
    s3 = session.client("s3")
    event = {
        "RequestType": request,
        "ResponseURL": s3.generate_presigned_url("put_object", {"Bucket": answers, "Key": key}),
        "StackId": session.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]["StackId"],
        "RequestId": str(uuid.uuid4()),
        "LogicalResourceId": logical,
        "ResourceType": kind,
        "ResourceProperties": properties,
    }
    if request != "Create":
        event |= {
            "PhysicalResourceId": physical[logical],
            "OldResourceProperties": properties | (before or {}),
        }
    session.client("lambda").invoke(
        FunctionName=properties["ServiceToken"], InvocationType="Event", Payload=json.dumps(event)
    )
    deadline = time.monotonic() + _ANSWER_LIMIT_S
    while not s3.list_objects_v2(Bucket=answers, Prefix=key).get("KeyCount"):
        assert time.monotonic() < deadline, f"no answer to {request} of {logical}"
        time.sleep(0.1)
    answer: dict[str, Any] = json.loads(s3.get_object(Bucket=answers, Key=key)["Body"].read())
    return answer


def _physical(story: Story, name: str) -> dict[str, str]:
    cloudformation = story.administrator.client("cloudformation")
    found = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in found}


def _resolve(story: Story, value: Any, physical: dict[str, str]) -> Any:
    """The intrinsic functions that the templates of this app use in custom resources."""
    pseudo = _PSEUDO | {"AWS::AccountId": story.account, "AWS::Region": story.region}
    match value:
        case {"Ref": name}:
            resolved: Any = pseudo.get(name) or physical[name]
        case {"Fn::Sub": str(text)}:
            resolved = re.sub(r"\$\{([\w:]+)\}", lambda found: pseudo[found[1]], text)
        case {"Fn::Join": [str(delimiter), list(parts)]}:
            resolved = delimiter.join(_resolve(story, part, physical) for part in parts)
        case {"Fn::GetAtt": [name, "Arn"]} if "Role" in name:
            resolved = f"arn:aws:iam::{story.account}:role/{physical[name]}"
        case {"Fn::GetAtt": [name, "Arn"]}:
            resolved = f"arn:aws:lambda:{story.region}:{story.account}:function:{physical[name]}"
        case {"Fn::ImportValue": name}:
            pages = story.administrator.client("cloudformation").get_paginator("list_exports").paginate()
            resolved = next(e["Value"] for page in pages for e in page["Exports"] if e["Name"] == name)
        case {"Fn::GetStackOutput": {"StackName": other, "OutputName": output}}:
            stacks = story.administrator.client("cloudformation").describe_stacks(StackName=other)["Stacks"]
            resolved = next(o["OutputValue"] for o in stacks[0]["Outputs"] if o["OutputKey"] == output)
        case dict() if not any(key == "Ref" or key.startswith("Fn::") for key in value):
            resolved = {key: _resolve(story, inner, physical) for key, inner in value.items()}
        case dict():
            raise AssertionError(f"{value} is new in a custom resource; teach this test about it")
        case _:
            resolved = value
    return resolved
