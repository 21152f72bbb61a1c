"""CloudFormation refuses templates that AWS refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import WaiterError

from localcloud.context import Cloud, Credentials
from tests.local.support import code_of


@pytest.mark.parametrize("way", ["create_stack", "create_change_set", "validate_template"])
@pytest.mark.parametrize(
    ("resource", "words"),
    [
        (
            {"DependsOn": "Nobody"},
            "Template format error: Unresolved resource dependencies [Nobody] in the Resources block of the "
            "template",
        ),
        (
            {"Properties": {"QueueName": {"Fn::GetAtt": ["Nobody", "Arn"]}}},
            "Template error: instance of Fn::GetAtt references undefined resource Nobody",
        ),
    ],
)
def test_references_to_nothing(
    cloud: Cloud, admin: Credentials, way: str, resource: dict[str, Any], words: str
) -> None:
    cloudformation = cloud.client("cloudformation", admin)
    body = json.dumps({"Resources": {"It": {"Type": "AWS::SQS::Queue", **resource}}})
    names = {
        "create_stack": {"StackName": "dangling"},
        "create_change_set": {"StackName": "dangling", "ChangeSetName": "c", "ChangeSetType": "CREATE"},
        "validate_template": {},
    }[way]
    answer = code_of(lambda: getattr(cloudformation, way)(TemplateBody=body, **names))
    assert answer == ("ValidationError", words)
    assert code_of(lambda: cloudformation.describe_stacks(StackName="dangling"))[0] == "ValidationError"


def test_conditions_compare_values(cloud: Cloud, admin: Credentials) -> None:
    cloudformation = cloud.client("cloudformation", admin)
    cases: dict[str, tuple[list[Any], bool]] = {
        "EmptyList": (["", {"Fn::Join": ["", {"Ref": "Empty"}]}], True),
        "List": (["a+b", {"Fn::Join": ["+", {"Ref": "Two"}]}], True),
        "Second": (["b", {"Fn::Select": [1, {"Ref": "Two"}]}], True),
        "Region": ([{"Ref": "AWS::Region"}, cloud.region], True),
        "Map": (["x", {"Fn::FindInMap": ["M", "top", "second"]}], True),
        "Other": (["a", {"Ref": "Text"}], False),
    }
    template = {
        "Parameters": {
            "Empty": {"Type": "CommaDelimitedList", "Default": ""},
            "Two": {"Type": "CommaDelimitedList", "Default": "a,b"},
            "Text": {"Type": "String", "Default": "b"},
        },
        "Mappings": {"M": {"top": {"second": "x"}}},
        "Conditions": {
            **{name: {"Fn::Equals": values} for name, (values, _holds) in cases.items()},
            "Both": {"Fn::And": [{"Condition": "List"}, {"Fn::Not": [{"Condition": "Other"}]}]},
        },
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {
            name: {"Value": {"Fn::If": [name, "holds", "does not"]}, "Description": name}
            for name in (*cases, "Both")
        },
    }
    cloudformation.create_stack(StackName="conditions", TemplateBody=json.dumps(template))
    cloudformation.get_waiter("stack_create_complete").wait(StackName="conditions", WaiterConfig={"Delay": 1})
    outputs = cloudformation.describe_stacks(StackName="conditions")["Stacks"][0]["Outputs"]
    expected = {name: "holds" if holds else "does not" for name, (_values, holds) in cases.items()}
    assert {output["OutputKey"]: output["OutputValue"] for output in outputs} == {**expected, "Both": "holds"}
    cloudformation.delete_stack(StackName="conditions")


def test_unknown_properties_fail_before_anything_is_made(cloud: Cloud, admin: Credentials) -> None:
    cloudformation = cloud.client("cloudformation", admin)
    template = {
        "Resources": {
            "Good": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "made-too-early"}},
            "Bad": {"Type": "AWS::SQS::Queue", "Properties": {"Name": "x"}},
        }
    }
    cloudformation.create_stack(StackName="extraneous", TemplateBody=json.dumps(template))
    with pytest.raises(WaiterError):
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName="extraneous", WaiterConfig={"Delay": 1}
        )
    events = cloudformation.describe_events(StackName="extraneous")["OperationEvents"]
    reasons = [event.get("ValidationStatusReason") for event in events]
    assert "#: extraneous key [Name] is not permitted" in reasons
    assert not cloud.client("sqs", admin).list_queues(QueueNamePrefix="made-too-early").get("QueueUrls")
    cloudformation.delete_stack(StackName="extraneous")
