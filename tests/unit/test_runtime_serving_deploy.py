"""The deployer on AWS's interfaces: what it asks, what it makes of refusals, what the handler answers."""

import base64
import hashlib
import importlib
import io
import json
import tarfile

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber
from serving_runtime.aws import DynamoRecords, S3Artifacts, SageMakerEndpoint, SageMakerRegistry
from serving_runtime.errors import DeployError, OutdatedError, ReconcileError
from serving_runtime.events import groups_of
from serving_runtime.ports import Archive, Package
from serving_runtime.record import Deployment, Failure, Record, from_item, to_item
from serving_runtime.settings import Settings

from modelyard.runtime.invoke import Invoker

SETTINGS = Settings(
    endpoint_name="models",
    table_name="records",
    groups=("loans", "homes"),
    artifact_bucket="data",
    kms_key_arn="arn:aws:kms:eu-west-1:000000000000:key/k",
    max_artifact_bytes=1000,
)
ARN = "arn:aws:sagemaker:eu-west-1:000000000000:model-package/loans/3"
PACKAGE = Package(version=3, arn=ARN)
DEPLOYMENT = Deployment(version=3, package_arn=ARN, artifact="loans/3-abc.tar.gz", sha256="abc", since="then")


@pytest.fixture
def stubbed():
    """Makes (client, stubber) pairs, and checks at the end that all that was expected was asked."""
    stubbers = []

    def make(service):
        client = boto3.client(
            service, region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="y"
        )
        stubbers.append(Stubber(client))
        stubbers[-1].activate()
        return client, stubbers[-1]

    yield make
    for stubber in stubbers:
        stubber.assert_no_pending_responses()


def body(data):
    return StreamingBody(io.BytesIO(data), len(data))


def summary(version, status="Completed"):
    arn = f"arn:aws:sagemaker:eu-west-1:000000000000:model-package/loans/{version}"
    return {
        "ModelPackageArn": arn,
        "ModelPackageVersion": version,
        "ModelPackageStatus": status,
        "CreationTime": 0,
        "ModelApprovalStatus": "Approved",
    }


def test_newest_version_is_found_on_any_page(stubbed):
    client, stub = stubbed("sagemaker")
    asked = {
        "ModelPackageGroupName": "loans",
        "ModelApprovalStatus": "Approved",
        "SortBy": "CreationTime",
        "SortOrder": "Descending",
    }
    first = {"ModelPackageSummaryList": [summary(2), summary(9, "Failed")], "NextToken": "more"}
    stub.add_response("list_model_packages", first, asked)
    stub.add_response(
        "list_model_packages",
        {"ModelPackageSummaryList": [summary(10), summary(1)]},
        {**asked, "NextToken": "more"},
    )
    assert [package.version for package in SageMakerRegistry(client).approved("loans")] == [10, 2, 1]


def test_unreadable_registry_is_a_failure_not_an_empty_one(stubbed):
    client, stub = stubbed("sagemaker")
    stub.add_client_error("list_model_packages", "AccessDeniedException", "not authorized")
    with pytest.raises(DeployError, match="cannot list the packages of loans: not authorized"):
        SageMakerRegistry(client).approved("loans")


def described(**changes):
    return {
        "ModelPackageName": "loans",
        "ModelPackageArn": ARN,
        "CreationTime": 0,
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": []},
        "ModelApprovalStatus": "Approved",
        "InferenceSpecification": {"Containers": [{"ModelDataUrl": "s3://train/model.tar.gz"}]},
        **changes,
    }


@pytest.mark.parametrize(
    "container",
    [
        {"ModelDataUrl": "s3://train/model.tar.gz"},
        {
            "ModelDataSource": {
                "S3DataSource": {
                    "S3Uri": "s3://train/model.tar.gz",
                    "S3DataType": "S3Object",
                    "CompressionType": "Gzip",
                }
            }
        },
    ],
)
def test_finds_the_model_of_a_package(stubbed, container):
    client, stub = stubbed("sagemaker")
    answer = described(InferenceSpecification={"Containers": [container]})
    stub.add_response("describe_model_package", answer, {"ModelPackageName": ARN})
    assert SageMakerRegistry(client).model_data_url(PACKAGE) == "s3://train/model.tar.gz"


def test_package_that_changed_meanwhile_means_look_again(stubbed):
    client, stub = stubbed("sagemaker")
    stub.add_response("describe_model_package", described(ModelApprovalStatus="Rejected"))
    stub.add_client_error("describe_model_package", "ValidationException", "does not exist")
    for _ in range(2):
        with pytest.raises(OutdatedError):
            SageMakerRegistry(client).model_data_url(PACKAGE)


def test_package_of_several_containers_is_refused(stubbed):
    client, stub = stubbed("sagemaker")
    containers = [{"ModelDataUrl": "s3://a/b"}, {"ModelDataUrl": "s3://a/c"}]
    stub.add_response("describe_model_package", described(InferenceSpecification={"Containers": containers}))
    with pytest.raises(DeployError, match="has 2 containers"):
        SageMakerRegistry(client).model_data_url(PACKAGE)


@pytest.mark.parametrize(
    "record",
    [
        Record(group="loans", generation=1, updated="now"),
        Record(
            group="loans",
            generation=7,
            serving=DEPLOYMENT,
            previous=DEPLOYMENT,
            error=Failure(version=4, message="no", at="now"),
            updated="now",
        ),
    ],
)
def test_record_survives_the_table(record):
    assert from_item(to_item(record)) == record


def test_record_is_read_consistently_and_written_on_condition(stubbed):
    client, stub = stubbed("dynamodb")
    key = {"TableName": "records", "Key": {"group": {"S": "loans"}}, "ConsistentRead": True}
    stub.add_response("get_item", {}, key)
    new = Record(group="loans", generation=1, updated="now")
    put = {"TableName": "records", "Item": to_item(new)}
    stub.add_response("put_item", {}, {**put, "ConditionExpression": "attribute_not_exists(generation)"})
    records = DynamoRecords(client, "records")
    assert records.read("loans") == Record(group="loans")
    records.write(new, expected=0)
    stub.add_client_error(
        "put_item",
        "ConditionalCheckFailedException",
        expected_params={
            **put,
            "ConditionExpression": "generation = :expected",
            "ExpressionAttributeValues": {":expected": {"N": "5"}},
        },
    )
    with pytest.raises(OutdatedError):
        records.write(new, expected=5)


def test_fetches_with_its_hash(stubbed):
    client, stub = stubbed("s3")
    stub.add_response("get_object", {"Body": body(b"model")}, {"Bucket": "train", "Key": "a/model.tar.gz"})
    with S3Artifacts(client, SETTINGS).fetch("s3://train/a/model.tar.gz") as archive:
        archive.file.seek(0)
        assert archive.file.read() == b"model"
        assert archive.sha256 == hashlib.sha256(b"model").hexdigest()


def test_fetch_refuses_what_is_too_large_or_missing(stubbed):
    client, stub = stubbed("s3")
    artifacts = S3Artifacts(client, SETTINGS)
    stub.add_response("get_object", {"Body": body(b"x" * 1001)})
    with pytest.raises(DeployError, match="more than 1000 bytes"), artifacts.fetch("s3://train/model"):
        pass
    stub.add_client_error("get_object", "NoSuchKey", "The specified key does not exist.")
    with pytest.raises(DeployError, match="cannot read s3://train/model: The specified"):
        artifacts.fetch("s3://train/model").__enter__()


@pytest.mark.parametrize(
    "url", ["", "https://host/key", "s3://", "s3://bucket", "s3://bucket/", "s3://bucket/dir/"]
)
def test_fetch_refuses_what_is_no_object(stubbed, url):
    with pytest.raises(DeployError, match="is no S3 object"), S3Artifacts(None, SETTINGS).fetch(url):
        pass


def put_of(data):
    return {
        "Bucket": "data",
        "Key": "models/multi/loans/3-abc.tar.gz",
        "Body": ANY,
        "IfNoneMatch": "*",
        "ChecksumSHA256": base64.b64encode(hashlib.sha256(data).digest()).decode(),
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": SETTINGS.kms_key_arn,
    }


def archive(data):
    return Archive(file=io.BytesIO(data), sha256=hashlib.sha256(data).hexdigest())


def test_publishes_encrypted_and_never_over_another(stubbed):
    client, stub = stubbed("s3")
    artifacts = S3Artifacts(client, SETTINGS)
    stub.add_response("put_object", {}, put_of(b"model"))
    artifacts.publish(archive(b"model"), "loans/3-abc.tar.gz")
    for existing in (b"model", b"other"):
        stub.add_client_error("put_object", "PreconditionFailed", expected_params=put_of(b"model"))
        stub.add_response("get_object", {"Body": body(existing)})
        if existing == b"model":
            artifacts.publish(archive(b"model"), "loans/3-abc.tar.gz")
        else:
            with pytest.raises(DeployError, match="exists with other content"):
                artifacts.publish(archive(b"model"), "loans/3-abc.tar.gz")


def test_refused_publication_says_why(stubbed):
    client, stub = stubbed("s3")
    stub.add_client_error("put_object", "AccessDenied", "Access Denied")
    with pytest.raises(
        DeployError, match=r"cannot write s3://data/models/multi/loans/3\.tar\.gz: Access Denied"
    ):
        S3Artifacts(client, SETTINGS).publish(archive(b"model"), "loans/3.tar.gz")
    stub.add_client_error("put_object", "ConditionalRequestConflict")
    with pytest.raises(OutdatedError):
        S3Artifacts(client, SETTINGS).publish(archive(b"model"), "loans/3.tar.gz")


@pytest.mark.parametrize(
    ("keys", "found"), [(["models/multi/a"], True), (["models/multi/a.old"], False), ([], False)]
)
def test_looks_for_exactly_that_artifact(stubbed, keys, found):
    client, stub = stubbed("s3")
    asked = {"Bucket": "data", "Prefix": "models/multi/a", "MaxKeys": 1}
    stub.add_response("list_objects_v2", {"Contents": [{"Key": key} for key in keys]}, asked)
    assert S3Artifacts(client, SETTINGS).exists("a") is found


def endpoint(client, retry=100.0):
    clock = [0.0]
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        clock[0] += seconds

    return SageMakerEndpoint(Invoker(client, "models", sleep=sleep, clock=lambda: clock[0]), retry), naps


def test_cold_model_is_waited_for(stubbed):
    client, stub = stubbed("sagemaker-runtime")
    model_error = {"OriginalStatusCode": 507, "OriginalMessage": "no memory"}
    for code, status, more in (
        ("ModelNotReadyException", 429, {}),
        ("ThrottlingException", 400, {}),
        ("ServiceUnavailable", 503, {}),
        ("ModelError", 424, model_error),
    ):
        stub.add_client_error("invoke_endpoint", code, http_status_code=status, modeled_fields=more or None)
    asked = {
        "EndpointName": "models",
        "TargetModel": "loans/3-abc.tar.gz",
        "Body": b'{"instances": [{"fico": 700}]}',
        "ContentType": "application/json",
        "Accept": "application/json",
        "InferenceId": ANY,
    }
    stub.add_response("invoke_endpoint", {"Body": body(b'{"predictions": [1.5]}')}, asked)
    port, naps = endpoint(client)
    assert port.predict("loans/3-abc.tar.gz", [{"fico": 700}]) == [1.5]
    assert len(naps) == 4
    assert naps[0] < naps[-1] <= 5


@pytest.mark.parametrize(
    ("code", "status", "fields", "message"),
    [
        ("ValidationError", 400, {}, "Endpoint models not found"),
        ("AccessDeniedException", 403, {}, "Endpoint models not found"),
        (
            "ModelError",
            424,
            {"OriginalStatusCode": 400, "OriginalMessage": "feature x"},
            "answered 400: feature x",
        ),
    ],
)
def test_final_refusals_are_not_repeated(stubbed, code, status, fields, message):
    client, stub = stubbed("sagemaker-runtime")
    stub.add_client_error(
        "invoke_endpoint",
        code,
        "Endpoint models not found",
        http_status_code=status,
        modeled_fields=fields or None,
    )
    port, naps = endpoint(client)
    with pytest.raises(DeployError, match=message):
        port.predict("a", [1])
    assert naps == []


@pytest.mark.parametrize("error", [ReadTimeoutError(endpoint_url="e"), ConnectTimeoutError(endpoint_url="e")])
def test_an_endpoint_that_never_answers_is_given_up(error):
    class Silent:
        calls = 0

        def invoke_endpoint(self, **_):
            self.calls += 1
            raise error

    client = Silent()
    port, naps = endpoint(client, retry=30.0)
    with pytest.raises(DeployError, match="golden rows got no prediction"):
        port.predict("a", [1])
    assert 5 < client.calls < 40
    assert sum(naps) <= 30


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"error": 1}', b"\xff"])
def test_answers_without_predictions_are_refused(stubbed, answer):
    client, stub = stubbed("sagemaker-runtime")
    stub.add_response("invoke_endpoint", {"Body": body(answer)})
    with pytest.raises(DeployError, match="golden rows is no"):
        endpoint(client)[0].predict("a", [1])


CHANGE = {
    "source": "aws.sagemaker",
    "detail-type": "SageMaker Model Package State Change",
    "detail": {"ModelPackageGroupName": "loans", "ModelPackageVersion": 3, "ModelApprovalStatus": "Approved"},
}


@pytest.mark.parametrize(
    ("event", "groups"),
    [
        (CHANGE, ("loans",)),
        ({**CHANGE, "detail": {"ModelPackageGroupName": "theirs"}}, ()),
        ({**CHANGE, "detail": {}}, ()),
        ({"detail-type": "Scheduled Event", "detail": {}}, ("loans", "homes")),
        ({"group": "homes"}, ("homes",)),
    ],
)
def test_event_names_groups(event, groups):
    assert groups_of(event, SETTINGS.groups) == groups


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({}, "event of kind None"),
        ({"group": "theirs"}, "'theirs' is not deployed here; known: loans, homes"),
        ({"detail-type": "Object Created"}, "event of kind 'Object Created'"),
    ],
)
def test_other_events_are_refused(event, message):
    with pytest.raises(ValueError, match=message):
        groups_of(event, SETTINGS.groups)


def model_archive():
    content = {"schema": 1, "golden": {"instances": [{"x": 1}], "predictions": [2.5], "tolerance": 1e-4}}
    data = json.dumps(content).encode()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    return file.getvalue()


@pytest.fixture
def handler(monkeypatch):
    for name, value in {**SETTINGS.to_environment(), "AWS_DEFAULT_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    return importlib.reload(importlib.import_module("serving_runtime.handler"))


def stub_ports(handler):
    ports = handler.PORTS
    clients = {
        "sagemaker": ports.registry._client,
        "dynamodb": ports.records._client,
        "s3": ports.artifacts._client,
        "runtime": ports.endpoint._invoker._client,
    }
    stubs = {name: Stubber(client) for name, client in clients.items()}
    for stub in stubs.values():
        stub.activate()
    return stubs


def test_handler_deploys_an_approved_version(handler, capsys):
    stubs = stub_ports(handler)
    data = model_archive()
    sha256 = hashlib.sha256(data).hexdigest()
    artifact = f"loans/3-{sha256[:12]}.tar.gz"
    stubs["dynamodb"].add_response("get_item", {})
    stubs["sagemaker"].add_response("list_model_packages", {"ModelPackageSummaryList": [summary(3)]})
    stubs["sagemaker"].add_response("describe_model_package", described())
    stubs["s3"].add_response("get_object", {"Body": body(data)})
    stubs["s3"].add_response("put_object", {}, {**put_of(data), "Key": f"models/multi/{artifact}"})
    stubs["runtime"].add_response("invoke_endpoint", {"Body": body(b'{"predictions": [2.5]}')})
    stubs["dynamodb"].add_response(
        "put_item",
        {},
        {"TableName": "records", "Item": ANY, "ConditionExpression": "attribute_not_exists(generation)"},
    )
    assert handler.handle(CHANGE, None) == {"serving": {"loans": 3}}
    line = json.loads(capsys.readouterr().out)
    assert (line["event"], line["before"], line["serving"], line["error"]) == ("reconciled", None, 3, None)
    for stub in stubs.values():
        stub.assert_no_pending_responses()


def test_handler_gives_every_group_its_turn_and_then_fails(handler, capsys):
    stubs = stub_ports(handler)
    serving = Record(group="loans", generation=4, serving=DEPLOYMENT, updated="then")
    stubs["dynamodb"].add_response("get_item", {"Item": to_item(serving)})
    stubs["sagemaker"].add_client_error("list_model_packages", "ThrottlingException", "slow down")
    written = {
        "TableName": "records",
        "Item": ANY,
        "ConditionExpression": "generation = :expected",
        "ExpressionAttributeValues": {":expected": {"N": "4"}},
    }
    stubs["dynamodb"].add_response("put_item", {}, written)
    stubs["dynamodb"].add_response("get_item", {})
    stubs["sagemaker"].add_response("list_model_packages", {"ModelPackageSummaryList": []})
    stubs["dynamodb"].add_response("put_item", {})
    with pytest.raises(
        ReconcileError, match="loans version unknown: cannot list the packages of loans: slow down"
    ):
        handler.handle({"detail-type": "Scheduled Event"}, None)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["reconciled", "reconcile failed", "reconciled"]
    assert lines[0]["serving"] == 3
    for stub in stubs.values():
        stub.assert_no_pending_responses()
