"""The way of a request: from the wire through checks and IAM to an operation, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localcloud.sagemaker import service
from localcloud.sagemaker.service import Call, Operation, SageMaker
from tests.unit.sagemaker_support import ARN, CALLER, Iam, call, iam_fixture, post, sagemaker_fixture, send

__all__ = ["iam_fixture", "sagemaker_fixture"]


def test_an_operation_answers(sagemaker: SageMaker, iam: Iam) -> None:
    made = call(sagemaker, "CreateModelPackageGroup", ModelPackageGroupName="g")
    assert made == {"ModelPackageGroupArn": f"{ARN}model-package-group/g"}
    assert iam.asked == [("sagemaker:CreateModelPackageGroup", f"{ARN}model-package-group/g", {})]
    described = call(sagemaker, "DescribeModelPackageGroup", ModelPackageGroupName="g")
    assert isinstance(described["CreationTime"], float)
    assert not [name for name in described if name.startswith("_")]


@pytest.mark.parametrize(
    ("target", "body", "status", "code"),
    [
        ("SageMaker.Nonsense", {}, 400, "UnknownOperationException"),
        ("DynamoDB_20120810.ListTables", {}, 400, "UnknownOperationException"),
        ("", {}, 400, "UnknownOperationException"),
        ("SageMaker.CreateAutoMLJobV2", {}, 501, "NotImplementedException"),
        ("SageMaker.CreateModelPackageGroup", b"{", 400, "SerializationException"),
        ("SageMaker.CreateModelPackageGroup", [], 400, "SerializationException"),
        ("SageMaker.CreateModelPackageGroup", {}, 400, "ValidationException"),
    ],
)
def test_what_cannot_be_served(sagemaker: SageMaker, target: str, body: Any, status: int, code: str) -> None:
    answered, answer = post(sagemaker, target, body)
    assert (answered, answer["__type"]) == (status, code)
    assert answer["message"]


def test_operations_that_only_we_lack_are_named(sagemaker: SageMaker) -> None:
    assert (
        "does not implement CreateAutoMLJobV2"
        in post(sagemaker, "SageMaker.CreateAutoMLJobV2", {})[1]["message"]
    )


def test_a_bug_is_an_internal_failure_with_a_log(
    sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sagemaker.store, "query", lambda *_args, **_kwargs: 1 / 0)
    status, answer = post(sagemaker, "SageMaker.ListModelPackageGroups", {})
    assert (status, answer["__type"]) == (500, "InternalFailure")
    assert "ZeroDivisionError" in caplog.text


def test_denied_before_anything_happens(sagemaker: SageMaker, iam: Iam) -> None:
    iam.denied = {"sagemaker:CreateModelPackageGroup"}
    status, answer = post(sagemaker, "SageMaker.CreateModelPackageGroup", {"ModelPackageGroupName": "g"})
    assert (status, answer["__type"]) == (400, "AccessDeniedException")
    assert answer["message"].startswith(f"User: {CALLER.arn} is not authorized to perform: sagemaker:Create")
    assert sagemaker.store.query("model-package-group") == []


def test_creating_with_tags_needs_add_tags(sagemaker: SageMaker, iam: Iam) -> None:
    request = {"ModelPackageGroupName": "g", "Tags": [{"Key": "Team", "Value": "ml"}]}
    iam.denied = {"sagemaker:AddTags"}
    status, answer = post(sagemaker, "SageMaker.CreateModelPackageGroup", request)
    assert (status, answer["__type"]) == (400, "AccessDeniedException")
    iam.denied = set()
    arn = call(sagemaker, "CreateModelPackageGroup", **request)["ModelPackageGroupArn"]
    tags = {"aws:RequestTag/Team": "ml", "aws:TagKeys": ["Team"]}
    assert iam.asked[-2:] == [
        ("sagemaker:CreateModelPackageGroup", arn, tags),
        ("sagemaker:AddTags", arn, {**tags, "sagemaker:TaggingAction": "CreateModelPackageGroup"}),
    ]
    assert call(sagemaker, "ListTags", ResourceArn=arn)["Tags"] == request["Tags"]
    assert iam.asked[-1] == (
        "sagemaker:ListTags",
        arn,
        {"aws:ResourceTag/Team": "ml", "sagemaker:ResourceTag/Team": "ml"},
    )


def test_tags_go_with_their_resource(sagemaker: SageMaker) -> None:
    request = {"ModelPackageGroupName": "g", "Tags": [{"Key": "a", "Value": "b"}]}
    arn = call(sagemaker, "CreateModelPackageGroup", **request)["ModelPackageGroupArn"]
    call(sagemaker, "DeleteModelPackageGroup", ModelPackageGroupName="g")
    assert sagemaker.store.find("tags", arn) is None
    status, answer = post(sagemaker, "SageMaker.ListTags", {"ResourceArn": arn})
    assert (status, answer["message"]) == (400, "Resource does not exist.")


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ([{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}], "Duplicate tag keys found: a."),
        ([{"Key": "aws:x", "Value": "1"}], "reserved for AWS"),
        ([{"Key": f"k{n}", "Value": ""} for n in range(51)], "length less than or equal to 50"),
    ],
)
def test_bad_tags(sagemaker: SageMaker, tags: list[dict[str, str]], message: str) -> None:
    request = {"ModelPackageGroupName": "g", "Tags": tags}
    status, answer = post(sagemaker, "SageMaker.CreateModelPackageGroup", request)
    assert (status, answer["__type"]) == (400, "ValidationException")
    assert message in answer["message"]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/endpoints/e/invocations"), ("POST", "/endpoints/e/async-invocations")]
)
def test_runtime_paths_that_are_not_served(sagemaker: SageMaker, method: str, path: str) -> None:
    answer = send(sagemaker, path, {}, b"", method)
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (404, "UnknownOperationException")


@pytest.fixture
def invoked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What InvokeEndpoint got, in place of an endpoint that answers."""
    seen: list[dict[str, Any]] = []

    def answer(call: Call) -> dict[str, Any]:
        seen.append(call.request)
        return {"Body": b"[1]", "ContentType": "application/json", "InvokedProductionVariant": "v"}

    entry = Operation(name="InvokeEndpoint", run=answer, resource=None, conditions=None)
    monkeypatch.setitem(service._operations, "InvokeEndpoint", entry)
    return seen


def test_invocation_travels_in_headers(sagemaker: SageMaker, iam: Iam, invoked: list[dict[str, Any]]) -> None:
    headers = {"content-type": "text/csv", "x-amzn-sagemaker-target-model": "g/1.tar.gz", "accept": "*/*"}
    answer = send(sagemaker, "/endpoints/E/invocations", headers, b"1,2")
    assert (answer.status, answer.body) == (200, b"[1]")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["x-Amzn-Invoked-Production-Variant"] == "v"
    assert invoked == [
        {
            "EndpointName": "E",
            "Body": b"1,2",
            "ContentType": "text/csv",
            "Accept": "*/*",
            "TargetModel": "g/1.tar.gz",
        }
    ]
    assert iam.asked == [
        ("sagemaker:InvokeEndpoint", f"{ARN}endpoint/e", {"sagemaker:TargetModel": "g/1.tar.gz"})
    ]


@pytest.mark.parametrize(
    ("name", "denied", "size", "status", "code"),
    [
        ("not_a_name", set(), 1, 400, "ValidationError"),
        ("e", {"sagemaker:InvokeEndpoint"}, 1, 403, "AccessDeniedException"),
        ("e", set(), 6 * 1024 * 1024 + 1, 413, "413"),
    ],
)
def test_runtime_errors(
    sagemaker: SageMaker,
    iam: Iam,
    invoked: list[dict[str, Any]],
    name: str,
    denied: set[str],
    size: int,
    status: int,
    code: str,
) -> None:
    iam.denied = denied
    answer = send(sagemaker, f"/endpoints/{name}/invocations", {}, b"x" * size)
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (status, code)
    assert json.loads(answer.body)["Message"]
    assert invoked == []
