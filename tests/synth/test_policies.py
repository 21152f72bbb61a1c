"""Who may do what: frozen, so that a reviewer reads every change."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

_ASSET = re.compile(r"[0-9a-f]{64}")


def _statements(assembly) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every Allow of an identity, with the stack and resource that holds it."""
    for stack, template in assembly.templates.items():
        for logical_id, resource in template["Resources"].items():
            properties = resource.get("Properties", {})
            documents = [properties["PolicyDocument"]] if resource["Type"] == "AWS::IAM::Policy" else []
            documents += [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
            for document in documents:
                for statement in document["Statement"]:
                    if statement["Effect"] == "Allow":
                        yield f"{stack}/{logical_id}", statement


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(arn: Any) -> str:
    """An ARN as a person writes it."""
    match arn:
        case str():
            return _ASSET.sub("HASH", arn)
        case {"Fn::Join": ["", parts]}:
            return "".join(_text(part) for part in parts)
        case {"Fn::GetAtt": [resource, attribute]}:
            return f"<{resource}.{attribute}>"
        case {"Fn::ImportValue": export}:
            return f"<{export.partition(':')[2]}>"
        case {"Ref": name} | {"Fn::Sub": name}:
            return f"<{name}>"
    raise AssertionError(f"cannot read {arn}")


def test_no_action_has_a_wildcard(assembly):
    wild = [
        (holder, action)
        for holder, statement in _statements(assembly)
        for action in _list(statement["Action"])
        if "*" in action
    ]
    assert wild == []


def test_no_managed_policies(assembly):
    for role in assembly.of_type("AWS::IAM::Role").values():
        assert "ManagedPolicyArns" not in role


def test_roles_are_passed_to_sagemaker_only(assembly):
    passing = [s for _, s in _statements(assembly) if "iam:PassRole" in _list(s["Action"])]
    assert passing
    for statement in passing:
        assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
        assert "*" not in json.dumps(statement["Resource"])


def test_keys_are_used_through_the_service_that_needs_them(assembly):
    """SageMaker's grants for volumes apart, no role may call KMS itself."""
    using = [
        (set(_list(statement["Action"])), statement)
        for _, statement in _statements(assembly)
        if "kms:" in json.dumps(statement["Action"])
    ]
    assert using
    for actions, statement in using:
        condition = statement.get("Condition", {})
        if actions == {"kms:DescribeKey"}:
            continue
        if actions == {"kms:CreateGrant"}:
            assert condition == {"Bool": {"kms:GrantIsForAWSResource": "true"}}
            continue
        assert actions <= {"kms:Decrypt", "kms:GenerateDataKey"}
        (service,) = condition["StringEquals"].values()
        assert _text(service) in (
            "s3.<AWS::Region>.amazonaws.com",
            "dynamodb.<AWS::Region>.amazonaws.com",
        )


def test_endpoints_are_invoked_with_named_models_only(assembly):
    invoking = [s for _, s in _statements(assembly) if "sagemaker:InvokeEndpoint" in _list(s["Action"])]
    assert invoking
    for statement in invoking:
        (patterns,) = statement["Condition"]["StringLike"].values()
        assert all(pattern.endswith("/*.tar.gz") for pattern in _list(patterns))


@pytest.mark.parametrize("stage", ["local", "prod"])
def test_statements_with_wildcard_resources(synthesize, snapshot, stage):
    """The whole list. A new line is a grant that reaches further than one named thing."""
    lines = sorted(
        f"{holder}: {', '.join(_list(statement['Action']))} on {resource}"
        + (f" if {json.dumps(statement['Condition'], sort_keys=True)}" if "Condition" in statement else "")
        for holder, statement in _statements(synthesize(stage))
        for resource in map(_text, _list(statement["Resource"]))
        if "*" in resource
    )
    assert lines == snapshot


def test_no_role_is_over_iams_limit(assembly):
    """10,240 characters in all inline policies of a role, counted here with their intrinsic functions."""
    sizes: Counter[str] = Counter()
    for policy in assembly.of_type("AWS::IAM::Policy").values():
        for role in policy["Roles"]:
            sizes[json.dumps(role)] += len(json.dumps(policy["PolicyDocument"], separators=(",", ":")))
    assert sizes
    assert {role: size for role, size in sizes.items() if size > 10_240} == {}
