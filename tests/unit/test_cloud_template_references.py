"""Templates that refer to what they do not have."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.aws.differences.template_references import reference_fault


def template(properties: Any, **more: Any) -> dict[str, Any]:
    resource = {"Type": "AWS::SQS::Queue", "Properties": properties}
    return {"Resources": {"Queue": resource, "Other": {"Type": "AWS::SQS::Queue"}}, **more}


@pytest.mark.parametrize(
    "properties",
    [
        {"QueueName": {"Ref": "Other"}},
        {"QueueName": {"Ref": "AWS::StackName"}},
        {"QueueName": {"Ref": "Given"}},
        {"QueueName": {"Fn::GetAtt": ["Other", "Arn"]}},
        {"QueueName": {"Fn::GetAtt": "Other.Arn"}},
        {"QueueName": {"Fn::Sub": "${Other}-${Other.Arn}-${AWS::Region}-${!Literal}-${ Given }"}},
        {"QueueName": {"Fn::Sub": ["${Name}", {"Name": {"Ref": "Other"}}]}},
        {"Text": "${Nobody}", "Json": {"Ref": "data", "more": 1}},
    ],
)
def test_what_is_there(properties: Any) -> None:
    assert reference_fault(template(properties, Parameters={"Given": {"Type": "String"}})) is None


@pytest.mark.parametrize(
    "properties",
    [
        {"A": [{"Fn::Join": ["", [{"Ref": "Nobody"}]]}]},
        {"A": {"Fn::Sub": "x-${Nobody}"}},
        {"A": {"Fn::Sub": ["${Name}", {"Name": {"Ref": "Nobody"}}]}},
    ],
)
def test_what_is_missing(properties: Any) -> None:
    fault = reference_fault(template(properties))
    assert str(fault).endswith(
        "Unresolved resource dependencies [Nobody] in the Resources block of the template"
    )


@pytest.mark.parametrize(
    "properties", [{"A": {"Fn::GetAtt": ["No", "Arn"]}}, {"A": {"Fn::Sub": "${No.Arn}"}}]
)
def test_attributes_of_what_is_missing(properties: Any) -> None:
    fault = reference_fault(template(properties))
    assert fault == "Template error: instance of Fn::GetAtt references undefined resource No"


def test_dependencies_and_outputs() -> None:
    depends = {"Resources": {"A": {"Type": "T", "DependsOn": ["A", "B", "C"]}}}
    assert "[B, C] in the Resources block" in str(reference_fault(depends))
    outputs = template({}, Outputs={"O": {"Value": {"Ref": "B"}}})
    assert "[B] in the Outputs block" in str(reference_fault(outputs))


def test_macros_may_make_it() -> None:
    assert reference_fault(template({"A": {"Ref": "B"}}, Transform="AWS::LanguageExtensions")) is None
