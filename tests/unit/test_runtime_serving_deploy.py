"""The deployer on AWS's interfaces: what it asks, what it makes of refusals, what the handler answers."""

import base64
import hashlib
import importlib
import io
import json
import tarfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber
from serving_runtime.aws_artifacts import S3Artifacts
from serving_runtime.aws_endpoint import SageMakerEndpoint
from serving_runtime.aws_metrics import CloudWatchMetrics
from serving_runtime.aws_records import DynamoRecords
from serving_runtime.aws_registry import SageMakerRegistry
from serving_runtime.canary import Figures, Rules
from serving_runtime.errors import DeployError, OutdatedError, ReconcileError, UnreadableError
from serving_runtime.events import groups_of
from serving_runtime.item import from_item, to_item
from serving_runtime.ports import Archive, Description, Package
from serving_runtime.record import Canary, Deployment, Failure, Record, Verdict
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
    with pytest.raises(UnreadableError, match="cannot list the packages of loans: not authorized"):
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
    answer = described(
        InferenceSpecification={"Containers": [container]},
        CustomerMetadataProperties={"canary-percent": "10"},
        LastModifiedTime=datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC),
    )
    stub.add_response("describe_model_package", answer, {"ModelPackageName": ARN})
    assert SageMakerRegistry(client).describe(ARN) == Description(
        approved=True,
        model_data_url="s3://train/model.tar.gz",
        metadata={"canary-percent": "10"},
        changed="2026-01-02T03:04:05+00:00",
    )


def test_package_that_changed_meanwhile_is_told_from_one_that_cannot_be_read(stubbed):
    client, stub = stubbed("sagemaker")
    registry = SageMakerRegistry(client)
    stub.add_response("describe_model_package", described(ModelApprovalStatus="Rejected"))
    assert not registry.describe(ARN).approved
    stub.add_client_error("describe_model_package", "ValidationException", "does not exist")
    with pytest.raises(OutdatedError):
        registry.describe(ARN)
    stub.add_client_error("describe_model_package", "ThrottlingException", "slow down")
    with pytest.raises(UnreadableError, match="slow down"):
        registry.describe(ARN)


def test_package_of_several_containers_is_refused(stubbed):
    client, stub = stubbed("sagemaker")
    containers = [{"ModelDataUrl": "s3://a/b"}, {"ModelDataUrl": "s3://a/c"}]
    stub.add_response("describe_model_package", described(InferenceSpecification={"Containers": containers}))
    with pytest.raises(DeployError, match="has 2 containers"):
        SageMakerRegistry(client).describe(ARN)


WISH = {"canary-percent": "10"}
ENDED = {"canary-verdict-at": "now", "canary-reason": "2 of 900 requests failed"}


@pytest.mark.parametrize(
    ("outcome", "change"),
    [
        ("promoted", {}),
        (
            "rolled-back",
            {
                "ModelApprovalStatus": "Rejected",
                "ApprovalDescription": "Canary rolled back: 2 of 900 requests failed",
            },
        ),
    ],
)
def test_a_canarys_end_is_one_update_of_the_registry(stubbed, outcome, change):
    client, stub = stubbed("sagemaker")
    stub.add_response("describe_model_package", described(CustomerMetadataProperties=WISH))
    metadata = {"canary-verdict": outcome, **ENDED}
    stub.add_response(
        "update_model_package",
        {"ModelPackageArn": ARN},
        {"ModelPackageArn": ARN, "CustomerMetadataProperties": metadata, **change},
    )
    verdict = Verdict(version=3, outcome=outcome, reason="2 of 900 requests failed", at="now")
    SageMakerRegistry(client).conclude(PACKAGE, verdict)


def test_a_canary_that_a_person_decided_about_is_left_to_them(stubbed):
    client, stub = stubbed("sagemaker")
    registry = SageMakerRegistry(client)
    verdict = Verdict(version=3, outcome="rolled-back", reason="-", at="now")
    stub.add_response(
        "describe_model_package", described(ModelApprovalStatus="Rejected", CustomerMetadataProperties=WISH)
    )
    stub.add_response("describe_model_package", described())
    stub.add_response("describe_model_package", described(CustomerMetadataProperties=WISH))
    stub.add_client_error("update_model_package", "ResourceNotFound", "gone")
    for _ in range(3):
        with pytest.raises(OutdatedError):
            registry.conclude(PACKAGE, verdict)
    stub.add_response("describe_model_package", described(CustomerMetadataProperties=WISH))
    stub.add_client_error("update_model_package", "AccessDeniedException", "not authorized")
    with pytest.raises(DeployError, match=r"cannot conclude the canary .*: not authorized"):
        registry.conclude(PACKAGE, verdict)


def series(name, *points):
    moments = [datetime(2026, 1, 1, 10, minute, tzinfo=UTC) for minute, _ in points]
    return {"Id": name, "Timestamps": moments, "Values": [value for _, value in points]}


def test_figures_are_of_the_version_since_the_canary_began(stubbed):
    client, stub = stubbed("cloudwatch")
    answer = {
        "MetricDataResults": [
            series("requests", (1, 30.0), (2, 10.0)),
            series("errors", (1, 0.0), (2, 4.0)),
            series("p90", (0, 10.0), (30, 50.0)),
            series("weights", (0, 30.0), (30, 10.0)),
        ]
    }
    dimensions = [{"Name": "Model", "Value": "loans"}, {"Name": "Version", "Value": "3"}]

    def query(name, metric, statistic, period):
        asked = {"Namespace": "Modelyard/Inference", "MetricName": metric, "Dimensions": dimensions}
        return {"Id": name, "MetricStat": {"Metric": asked, "Period": period, "Stat": statistic}}

    asked = {
        "MetricDataQueries": [
            query("requests", "Invocations", "Sum", 60),
            query("errors", "Errors", "Sum", 60),
            query("p90", "Latency", "p90", 1800),
            query("weights", "Latency", "SampleCount", 1800),
        ],
        "StartTime": datetime(2026, 1, 1, 10, 1, tzinfo=UTC),
        "EndTime": datetime(2026, 1, 1, 10, 30, 20, tzinfo=UTC),
    }
    stub.add_response("get_metric_data", answer, asked)
    figures = CloudWatchMetrics(client).figures(
        "loans", 3, since="2026-01-01T10:00:20+00:00", until="2026-01-01T10:30:20+00:00"
    )
    assert figures == Figures(requests=40, errors=4, p90_ms=20.0)


def test_figures_of_nobody_and_of_less_than_a_minute(stubbed):
    client, stub = stubbed("cloudwatch")
    metrics = CloudWatchMetrics(client)
    stub.add_response("get_metric_data", {"MetricDataResults": []})
    nothing = Figures(requests=0, errors=0)
    assert metrics.figures("loans", 3, since="2026-01-01T10:00:00", until="2026-01-01T12:00:00") == nothing
    assert metrics.figures("loans", 3, since="2026-01-01T10:00:20", until="2026-01-01T10:00:50") == nothing
    stub.add_client_error("get_metric_data", "AccessDenied", "not authorized")
    with pytest.raises(DeployError, match="cannot read the metrics of loans: not authorized"):
        metrics.figures("loans", 3, since="2026-01-01T10:00:00", until="2026-01-01T12:00:00")


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
        Record(
            group="loans",
            generation=8,
            desired=3,
            serving=replace(DEPLOYMENT, probe='{"fico":700}'),
            canary=Canary(deployment=DEPLOYMENT, percent=10),
            verdict=Verdict(version=2, outcome="promoted", reason="2 of 900 failed", at="then"),
            unused={"loans/1-abc.tar.gz": "then"},
            deleting={"loans/0-abc.tar.gz": "now"},
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


def test_lists_the_artifacts_of_one_group(stubbed):
    client, stub = stubbed("s3")
    asked = {"Bucket": "data", "Prefix": "models/multi/loans/"}
    keys = [{"Key": "models/multi/loans/1-abc.tar.gz"}]
    more = {"Contents": keys, "IsTruncated": True, "NextContinuationToken": "more"}
    stub.add_response("list_objects_v2", more, asked)
    keys = [{"Key": "models/multi/loans/2-abc.tar.gz"}]
    stub.add_response("list_objects_v2", {"Contents": keys}, {**asked, "ContinuationToken": "more"})
    present = S3Artifacts(client, SETTINGS).present("loans")
    assert present == {"loans/1-abc.tar.gz", "loans/2-abc.tar.gz"}
    stub.add_client_error("list_objects_v2", "AccessDenied", "Access Denied")
    with pytest.raises(DeployError, match="cannot list s3://data/models/multi/loans/: Access Denied"):
        S3Artifacts(client, SETTINGS).present("loans")


def test_deletes_one_artifact(stubbed):
    client, stub = stubbed("s3")
    artifacts = S3Artifacts(client, SETTINGS)
    stub.add_response("delete_object", {}, {"Bucket": "data", "Key": "models/multi/loans/1-abc.tar.gz"})
    artifacts.delete("loans/1-abc.tar.gz")
    stub.add_client_error("delete_object", "AccessDenied", "Access Denied")
    with pytest.raises(DeployError, match=r"cannot delete s3://data/models/multi/l\.tar\.gz: Access Denied"):
        artifacts.delete("l.tar.gz")


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
        "cloudwatch": ports.metrics._client,
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
    stubs["s3"].add_response("list_objects_v2", {"Contents": [{"Key": f"models/multi/{artifact}"}]})
    stubs["dynamodb"].add_response(
        "put_item",
        {},
        {"TableName": "records", "Item": ANY, "ConditionExpression": "attribute_not_exists(generation)"},
    )
    assert handler.handle(CHANGE, None) == {"serving": {"loans": 3}}
    line, metric = map(json.loads, capsys.readouterr().out.splitlines())
    assert (metric["Endpoint"], metric["group"], metric["Failed"]) == ("models", "loans", 0)
    (directive,) = metric["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("Modelyard/Deployer", [["Endpoint"]])
    assert directive["Metrics"] == [{"Name": "Failed", "Unit": "Count"}]
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
    for _ in range(2):
        stubs["s3"].add_response("list_objects_v2", {})
    with pytest.raises(
        ReconcileError, match="loans version unknown: cannot list the packages of loans: slow down"
    ):
        handler.handle({"detail-type": "Scheduled Event"}, None)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    events = [line["event"] for line in lines if "event" in line]
    assert events == ["reconciled", "reconcile failed", "reconciled"]
    assert [line["Failed"] for line in lines if "Failed" in line] == [1, 0]
    assert lines[0]["serving"] == 3
    for stub in stubs.values():
        stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("age", "canary", "looks"), [(100, None, False), (290, None, True), (60, "one", True), (None, None, True)]
)
def test_the_schedule_looks_closer_once_an_interval_or_while_a_canary_runs(
    handler, capsys, age, canary, looks
):
    stubs = stub_ports(handler)
    now = datetime.now(UTC)
    record = Record(
        group="loans",
        generation=4,
        serving=DEPLOYMENT,
        canary=Canary(deployment=DEPLOYMENT, percent=10) if canary else None,
        updated=(now - timedelta(seconds=age)).isoformat() if age else "",
    )
    found = {"Item": to_item(record)} if age else {}
    stubs["dynamodb"].add_response("get_item", found)
    if looks:
        stubs["dynamodb"].add_response("get_item", found)
        stubs["sagemaker"].add_client_error("list_model_packages", "ThrottlingException", "slow down")
        stubs["s3"].add_response("list_objects_v2", {})
        stubs["dynamodb"].add_response("put_item", {})
        with pytest.raises(ReconcileError):
            handler.handle({"group": "loans", "onlyIfDue": True}, None)
    else:
        assert handler.handle({"group": "loans", "onlyIfDue": True}, None) == {"serving": {"loans": 3}}
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ages = [line["RecordAge"] for line in lines if "RecordAge" in line]
    assert ages == ([] if age is None else [pytest.approx(age, abs=5)])
    for stub in stubs.values():
        stub.assert_no_pending_responses()


def test_settings_survive_the_environment():
    settings = replace(
        SETTINGS, interval_seconds=600, grace_seconds=7200, canary=Rules(bake_seconds=60, margin=0.1)
    )
    assert Settings.from_environment(settings.to_environment()) == settings


@pytest.mark.parametrize(("name", "value"), [("interval_seconds", 59), ("grace_seconds", 3599)])
def test_settings_that_would_do_harm_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        replace(SETTINGS, **{name: value})
