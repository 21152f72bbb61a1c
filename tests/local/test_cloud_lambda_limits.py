"""Lambda refuses what AWS refuses: runtimes, environments, payloads."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.context import Cloud, Credentials

Role = Callable[[str, list[dict[str, Any]]], str]
CODE = """
def handler(event, context):
    return "x" * event["size"] if "size" in event else len(event["text"])
"""


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("index.py", CODE)
    return buffer.getvalue()


def refusal(call: Callable[[], Any]) -> tuple[str, str, int]:
    with pytest.raises(ClientError) as caught:
        call()
    answer = caught.value.response
    return (
        answer["Error"]["Code"],
        answer["Error"]["Message"],
        answer["ResponseMetadata"]["HTTPStatusCode"],
    )


@pytest.fixture
def lambdas(cloud: Cloud, admin: Credentials) -> Any:
    return cloud.client("lambda", admin)


@pytest.fixture
def members(role: Role) -> dict[str, Any]:
    return {
        "FunctionName": "limited",
        "Runtime": "python3.11",
        "Handler": "index.handler",
        "Role": role("lambda.amazonaws.com", []),
        "Code": {"ZipFile": archive()},
        "Timeout": 60,
    }


@pytest.fixture
def function(lambdas: Any, members: dict[str, Any]) -> Iterator[str]:
    lambdas.create_function(**members)
    yield "limited"
    lambdas.delete_function(FunctionName="limited")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"Runtime": "python2.7"}, "python2.7 is no longer supported for creating or updating"),
    ({"Runtime": "python4.0"}, "Value python4.0 at 'runtime' failed to satisfy constraint"),
    ({"Environment": {"Variables": {"LONG": "x" * 4090}}}, "exceeded the 4KB limit"),
    ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "Reserved keys used in this request: AWS_REGION"),
    ({"Environment": {"Variables": {"with-dash": "x"}}}, "Map keys must satisfy constraint"),
]


@pytest.mark.parametrize(("change", "words"), BAD)
def test_functions_that_cannot_be_made(
    lambdas: Any, members: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    code, message, _status = refusal(lambda: lambdas.create_function(**{**members, **change}))
    assert code == "InvalidParameterValueException"
    assert words in message


def test_changes_are_held_to_it(lambdas: Any, function: str) -> None:
    for change, words in BAD:
        code, message, _status = refusal(
            lambda: lambdas.update_function_configuration(FunctionName=function, **change)  # noqa: B023
        )
        assert code == "InvalidParameterValueException"
        assert words in message
    fits = {"Variables": {"LONG": "x" * 4085}}
    lambdas.update_function_configuration(FunctionName=function, Environment=fits)
    assert lambdas.get_function_configuration(FunctionName=function)["Environment"] == fits


def test_payloads_have_a_limit(lambdas: Any, function: str) -> None:
    fits = json.dumps({"text": "x" * 6_000_000})
    answer = lambdas.invoke(FunctionName=function, Payload=fits)
    assert json.loads(answer["Payload"].read()) == 6_000_000
    large = json.dumps({"text": "x" * 6_291_456})
    code, message, status = refusal(lambda: lambdas.invoke(FunctionName=function, Payload=large))
    assert (code, status) == ("RequestTooLargeException", 413)
    assert message == "Request must be smaller than 6291456 bytes for the InvokeFunction operation"
    code, message, status = refusal(
        lambda: lambdas.invoke(FunctionName=function, InvocationType="Event", Payload=fits)
    )
    assert (code, status) == ("RequestTooLargeException", 413)
    assert "too large for the Event invocation type (limit 1048576 bytes)" in message


def test_answers_have_a_limit(lambdas: Any, function: str) -> None:
    answer = lambdas.invoke(FunctionName=function, Payload=json.dumps({"size": 6_291_600}))
    assert answer["FunctionError"] == "Unhandled"
    assert json.loads(answer["Payload"].read())["errorType"] == "Function.ResponseSizeTooLarge"


def test_templates_are_held_to_it(cloud: Cloud, admin: Credentials, members: dict[str, Any]) -> None:
    cloudformation = cloud.client("cloudformation", admin)
    properties = {**members, "Runtime": "nodejs12.x", "Code": {"ZipFile": "x"}}
    template = {"Resources": {"It": {"Type": "AWS::Lambda::Function", "Properties": properties}}}
    cloudformation.create_stack(
        StackName="old-runtime", TemplateBody=json.dumps(template), OnFailure="DO_NOTHING"
    )
    with pytest.raises(Exception, match="terminal failure"):
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName="old-runtime", WaiterConfig={"Delay": 1}
        )
    events = cloudformation.describe_stack_events(StackName="old-runtime")["StackEvents"]
    assert any(
        "nodejs12.x is no longer supported" in event.get("ResourceStatusReason", "") for event in events
    )
    cloudformation.delete_stack(StackName="old-runtime")
