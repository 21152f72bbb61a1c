"""Requests are refused in the service's words, answers carry what the API's shapes have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from localcloud.sagemaker import service, shapes
from localcloud.sagemaker.errors import ServiceError

PACKAGE = "arn:aws:sagemaker:us-east-1:000000000000:model-package/g/1"
VARIANT = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}


def refusal(operation: str, request: dict[str, Any]) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        shapes.check(request, shapes.input_shape(operation))
    return caught.value


def config(**members: Any) -> dict[str, Any]:
    return {"EndpointConfigName": "c", "ProductionVariants": [{**VARIANT, **members}]}


@pytest.mark.parametrize(
    ("operation", "request_", "value", "path", "rule"),
    [
        ("CreateModel", {}, "null", "modelName", "Member must not be null"),
        (
            "UpdateModelPackage",
            {"ModelPackageArn": PACKAGE, "ModelApprovalStatus": "approved"},
            "'approved'",
            "modelApprovalStatus",
            "Member must satisfy enum value set: [Approved, Rejected, PendingManualApproval]",
        ),
        (
            "CreateModel",
            {"ModelName": "under_score"},
            "'under_score'",
            "modelName",
            r"Member must satisfy regular expression pattern: [a-zA-Z0-9]([\-a-zA-Z0-9]*[a-zA-Z0-9])?",
        ),
        (
            "CreateEndpointConfig",
            config(InitialInstanceCount=0),
            "'0'",
            "productionVariants.1.member.initialInstanceCount",
            "Member must have value greater than or equal to 1",
        ),
        (
            "CreateEndpointConfig",
            {"EndpointConfigName": "c", "ProductionVariants": []},
            "'[]'",
            "productionVariants",
            "Member must have length greater than or equal to 1",
        ),
        (
            "ListModels",
            {"MaxResults": 101},
            "'101'",
            "maxResults",
            "Member must have value less than or equal to 100",
        ),
        (
            "CreateModel",
            {"ModelName": "m", "Tags": [{"Key": "a" * 129, "Value": "b"}]},
            f"'{'a' * 129}'",
            "tags.1.member.key",
            "Member must have length less than or equal to 128",
        ),
    ],
)
def test_values_are_refused_in_the_services_words(
    operation: str, request_: dict[str, Any], value: str, path: str, rule: str
) -> None:
    error = refusal(operation, request_)
    assert error.code == "ValidationException"
    assert error.message == (
        f"1 validation error detected: Value {value} at '{path}' failed to satisfy constraint: {rule}"
    )


def test_every_violation_is_in_one_message() -> None:
    error = refusal("CreateModel", {"PrimaryContainer": {"Mode": "Both"}, "ModelName": "-"})
    assert error.message.startswith("2 validation errors detected: Value ")
    assert "'modelName'" in error.message
    assert "; Value 'Both' at 'primaryContainer.mode'" in error.message


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"InitialInstanceCount": "1"}, "STRING_VALUE can not be converted to an Integer"),
        ({"InitialInstanceCount": True}, "TRUE_VALUE can not be converted to an Integer"),
        ({"VariantName": 3}, "NUMBER_VALUE can not be converted to a String"),
        ({"CoreDumpConfig": "x"}, "STRING_VALUE can not be converted to a Structure"),
        ({"EnableSSMAccess": "true"}, "STRING_VALUE can not be converted to a Boolean"),
    ],
)
def test_wrong_types_are_serialization_errors(members: dict[str, Any], message: str) -> None:
    error = refusal("CreateEndpointConfig", config(**members))
    assert (error.code, error.message) == ("SerializationException", message)


def test_nulls_and_unknown_members_fall_away() -> None:
    request = {"ModelName": "m", "PrimaryContainer": None, "Colour": "red"}
    assert shapes.check(request, shapes.input_shape("CreateModel")) == {"ModelName": "m"}


def test_long_values_do_not_come_back_whole() -> None:
    assert len(refusal("CreateModel", {"ModelName": "m" * 100_000}).message) < 5_000


def test_answers_keep_what_the_shape_has() -> None:
    record = {
        "ModelName": "m",
        "ModelArn": "arn",
        "CreationTime": 1.25,
        "Tags": [{"Key": "a", "Value": "b"}],
        "_Containers": [1],
        "VpcConfig": None,
    }
    assert shapes.serialise(record, shapes.output_shape("DescribeModel")) == {
        "ModelName": "m",
        "ModelArn": "arn",
        "CreationTime": 1.25,
    }


def _patterns(shape: Any, seen: set[str]) -> Iterator[str]:
    if shape is None or shape.name in seen:
        return
    seen.add(shape.name)
    if shape.metadata.get("pattern"):
        yield shape.metadata["pattern"]
    if shape.type_name == "structure":
        inner = list(shape.members.values())
    elif shape.type_name == "list":
        inner = [shape.member]
    else:
        inner = [shape.key, shape.value] if shape.type_name == "map" else []
    for one in inner:
        yield from _patterns(one, seen)


def test_every_pattern_of_the_operations_served_can_be_checked() -> None:
    service.load_operations()
    seen: set[str] = set()
    names = [name for name in service.operation_names() if name != "InvokeEndpoint"]
    assert len(names) > 50
    patterns = {pattern for name in names for pattern in _patterns(shapes.input_shape(name), seen)}
    patterns |= set(_patterns(shapes.input_shape("InvokeEndpoint", "sagemaker-runtime"), set()))
    for pattern in patterns:
        assert isinstance(shapes.compiled(pattern), re.Pattern)


def test_sensitive_values_stay_out_of_messages() -> None:
    shape = shapes.input_shape("InvokeEndpoint", "sagemaker-runtime")
    with pytest.raises(ServiceError) as caught:
        shapes.check({"EndpointName": "e", "Body": b"", "CustomAttributes": "secret" * 200}, shape)
    assert "Value '***' at 'customAttributes'" in caught.value.message
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        (r"\p{ASCII}*", "plain", True),
        (r"\p{ASCII}*", "é", False),
        (r"\A\S[\p{Print}]*\z", "g/1.tar.gz", True),
        (r"\A\S[\p{Print}]*\z", " x", False),
        (r"[\]a]+", "]a", True),
    ],
)
def test_java_patterns(pattern: str, text: str, fits: bool) -> None:
    assert bool(shapes.compiled(pattern).fullmatch(text)) is fits


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("team", True),
        ("Größe 1", True),
        ("a_b.c:d/e=f+g-h@i", True),
        ("semi;colon", False),
        ("new\nline", False),
    ],
)
def test_tag_pattern_like_javas(text: str, fits: bool) -> None:
    pattern = r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"
    assert bool(shapes.compiled(pattern).fullmatch(text)) is fits
