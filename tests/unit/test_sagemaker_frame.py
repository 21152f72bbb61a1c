"""The way of a request: from the wire through checks and IAM to an operation, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from localcloud.aws.errors import AccessDenied, RoleNotFound
from localcloud.aws.identity import Caller
from localcloud.aws.service import Request, Response
from localcloud.context import Cloud
from localcloud.folder import StateFolder
from localcloud.sagemaker import authorization, protocol, service
from localcloud.sagemaker.service import Call, Operation, SageMaker, operation_names
from localcloud.sagemaker.store import Store

ARN = "arn:aws:sagemaker:us-east-1:000000000000:"
CALLER = Caller(
    access_key_id="k", arn="arn:aws:iam::000000000000:user/u", account="000000000000", region="us-east-1"
)
service.load_operations()


class Iam:
    """Stands for the evaluator: notes what is asked, denies what it is told to deny."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.denied: set[str] = set()
        self.roles: set[str] = set()

    def require(self, caller: Caller, action: str, resource: str, conditions: dict[str, Any]) -> None:
        self.asked.append((action, resource, conditions))
        if action in self.denied:
            raise AccessDenied(
                f"User: {caller.arn} is not authorized to perform: {action} on resource: {resource}"
            )

    def require_pass_role(self, caller: Caller, role_arn: str, service: str) -> None:
        self.require(caller, "iam:PassRole", role_arn, {"iam:PassedToService": service})
        if role_arn not in self.roles:
            raise RoleNotFound(role_arn)

    def role_trusts(self, role_arn: str, service: str) -> bool:
        assert service == "sagemaker.amazonaws.com"
        return role_arn in self.roles


@pytest.fixture
def iam(monkeypatch: pytest.MonkeyPatch) -> Iam:
    made = Iam()
    monkeypatch.setattr(authorization, "identity", made)
    return made


@pytest.fixture
def sagemaker(tmp_path: Path, iam: Iam) -> Iterator[SageMaker]:
    cloud = Cloud(
        account="000000000000",
        region="us-east-1",
        endpoint_url="https://localhost:1",
        ca_bundle=tmp_path / "ca.pem",
        folder=StateFolder(tmp_path),
    )
    store = Store(tmp_path / "sagemaker.db")
    nothing = cast(Any, None)
    yield SageMaker(cloud=cloud, store=store, jobs=nothing, hosting=nothing, executor=nothing)
    store.close()


def post(sagemaker: SageMaker, target: str, body: Any) -> tuple[int, dict[str, Any]]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = send(sagemaker, "/", {"x-amz-target": target}, content)
    assert answer.headers["Content-Type"] == "application/x-amz-json-1.1"
    return answer.status, json.loads(answer.body or b"{}")


def send(
    sagemaker: SageMaker, path: str, headers: dict[str, str], body: bytes, method: str = "POST"
) -> Response:
    request = Request(method=method, path=path, headers=headers, body=body, query={}, caller=CALLER)
    return protocol.handle(sagemaker, request)


def call(sagemaker: SageMaker, operation: str, **request: Any) -> dict[str, Any]:
    status, answer = post(sagemaker, f"SageMaker.{operation}", request)
    assert status == 200, answer
    return answer


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


def authorized(sagemaker: SageMaker, operation: str, **request: Any) -> tuple[list[str], dict[str, Any]]:
    asked = Call(sagemaker=sagemaker, caller=CALLER, operation=operation, request=request)
    return authorization.resources(asked), authorization.conditions(asked)


@pytest.mark.parametrize(
    ("operation", "request_", "resources", "conditions"),
    [
        ("ListModels", {}, ["*"], {}),
        (
            "InvokeEndpoint",
            {"EndpointName": "MyEndpoint", "TargetModel": "g/1.tar.gz"},
            [f"{ARN}endpoint/myendpoint"],
            {"sagemaker:TargetModel": "g/1.tar.gz"},
        ),
        (
            "CreateEndpoint",
            {"EndpointName": "E", "EndpointConfigName": "C"},
            [f"{ARN}endpoint/e", f"{ARN}endpoint-config/c"],
            {},
        ),
        (
            "CreateEndpointConfig",
            {
                "EndpointConfigName": "c",
                "KmsKeyId": "key",
                "ProductionVariants": [
                    {"InstanceType": "ml.m5.large", "ModelName": "M"},
                    {"InstanceType": "ml.c5.large"},
                ],
            },
            [f"{ARN}endpoint-config/c"],
            {
                "sagemaker:InstanceTypes": ["ml.m5.large", "ml.c5.large"],
                "sagemaker:ModelArn": f"{ARN}model/m",
                "sagemaker:VolumeKmsKey": "key",
            },
        ),
        (
            "CreateTrainingJob",
            {
                "TrainingJobName": "T-1",
                "ResourceConfig": {"InstanceType": "ml.m5.large", "VolumeKmsKeyId": "v"},
                "OutputDataConfig": {"KmsKeyId": "o"},
                "StoppingCondition": {"MaxRuntimeInSeconds": 60},
                "EnableNetworkIsolation": True,
                "VpcConfig": {"Subnets": ["s1", "s2"], "SecurityGroupIds": ["g"]},
            },
            [f"{ARN}training-job/t-1"],
            {
                "sagemaker:InstanceTypes": ["ml.m5.large"],
                "sagemaker:VolumeKmsKey": "v",
                "sagemaker:OutputKmsKey": "o",
                "sagemaker:MaxRuntimeInSeconds": "60",
                "sagemaker:NetworkIsolation": "true",
                "sagemaker:VpcSubnets": ["s1", "s2"],
                "sagemaker:VpcSecurityGroupIds": ["g"],
            },
        ),
        (
            "CreateTransformJob",
            {"TransformJobName": "t", "ModelName": "M"},
            [f"{ARN}transform-job/t"],
            {"sagemaker:ModelArn": f"{ARN}model/m"},
        ),
        (
            "UpdateModelPackage",
            {
                "ModelPackageArn": f"{ARN}model-package/G/3",
                "ModelApprovalStatus": "Approved",
                "CustomerMetadataProperties": {"owner": "me"},
                "CustomerMetadataPropertiesToRemove": ["old"],
            },
            [f"{ARN}model-package/G/3"],
            {
                "sagemaker:ModelApprovalStatus": "Approved",
                "sagemaker:CustomerMetadataProperties/owner": "me",
                "sagemaker:CustomerMetadataPropertiesToRemove": ["old"],
            },
        ),
        (
            "CreateModelPackage",
            {"ModelPackageGroupName": f"{ARN}model-package-group/g"},
            [f"{ARN}model-package-group/g", f"{ARN}model-package/g/1"],
            {},
        ),
        ("ListModelPackages", {"ModelPackageGroupName": "g"}, [f"{ARN}model-package/g/*"], {}),
        (
            "StopPipelineExecution",
            {"PipelineExecutionArn": f"{ARN}pipeline/p/execution/x1"},
            [f"{ARN}pipeline/p/execution/x1"],
            {},
        ),
        ("StartPipelineExecution", {"PipelineName": f"{ARN}pipeline/p"}, [f"{ARN}pipeline/p"], {}),
        (
            "DeleteTags",
            {"ResourceArn": f"{ARN}endpoint/e", "TagKeys": ["a"]},
            [f"{ARN}endpoint/e"],
            {"aws:TagKeys": ["a"]},
        ),
    ],
)
def test_resources_and_condition_keys(
    sagemaker: SageMaker,
    operation: str,
    request_: dict[str, Any],
    resources: list[str],
    conditions: dict[str, Any],
) -> None:
    assert authorized(sagemaker, operation, **request_) == (resources, conditions)


def test_every_operation_but_lists_names_its_resource() -> None:
    named = set(authorization.OPERATIONS_WITH_RESOURCES)
    without = {name for name in operation_names() if name not in named}
    assert all(name.startswith("List") for name in without), without


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ("CreateModel", 'The execution role ARN "arn:aws:iam::000000000000:role/r" is invalid.'),
        ("CreateTrainingJob", "Could not assume role arn:aws:iam::000000000000:role/r."),
    ],
)
def test_pass_role(sagemaker: SageMaker, iam: Iam, operation: str, words: str) -> None:
    role = "arn:aws:iam::000000000000:role/r"
    asked = Call(sagemaker=sagemaker, caller=CALLER, operation=operation, request={})
    with pytest.raises(Exception, match="ensure that the role exists") as missing:
        asked.pass_role(role)
    assert str(missing.value).startswith(words)
    iam.roles = {role}
    asked.pass_role(role)
    assert iam.asked[-1] == ("iam:PassRole", role, {"iam:PassedToService": "sagemaker.amazonaws.com"})
    iam.denied = {"iam:PassRole"}
    with pytest.raises(Exception, match="not authorized to perform: iam:PassRole"):
        asked.pass_role(role)


def test_the_cloud_itself_is_not_evaluated_but_roles_must_exist(sagemaker: SageMaker, iam: Iam) -> None:
    iam.denied = {"sagemaker:CreateModelPackageGroup"}
    sagemaker.call("CreateModelPackageGroup", {"ModelPackageGroupName": "g"}, None)
    asked = Call(sagemaker=sagemaker, caller=None, operation="CreateModel", request={})
    with pytest.raises(Exception, match="is invalid"):
        asked.pass_role("arn:aws:iam::000000000000:role/none")
    assert iam.asked == []


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
