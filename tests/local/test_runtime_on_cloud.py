"""The Lambda functions' code against the local cloud, with no more permissions than its docstrings name."""

import hashlib
import io
import json
import tarfile
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from serving_runtime.aws_artifacts import S3Artifacts
from serving_runtime.aws_metrics import CloudWatchMetrics
from serving_runtime.aws_records import DynamoRecords
from serving_runtime.aws_registry import SageMakerRegistry
from serving_runtime.canary import Rules
from serving_runtime.errors import DeployError, OutdatedError, ReconcileError
from serving_runtime.ports import Archive, Ports
from serving_runtime.reconcile import reconcile
from serving_runtime.settings import Settings

from modelyard_cli import registry
from tests.local.support import unique

DEFINITION = Path(__file__).parents[2] / "pipeline_defs" / "definitions" / "refinance-interest-rate.json"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tabular:1"


def allow(actions, *resources, **conditions):
    statement = {"Effect": "Allow", "Action": actions, "Resource": list(resources)}
    return {**statement, "Condition": conditions} if conditions else statement


@pytest.fixture
def bucket(cloud, admin):
    name = unique("runtime")
    cloud.client("s3", admin).create_bucket(Bucket=name)
    return name


class Endpoint:
    """Answers the golden rows; hosting has tests of its own."""

    def __init__(self):
        self.warmed = []

    def predict(self, artifact, instances):
        return [float(row["x"]) for row in instances]

    def warm(self, artifact, instances):
        self.warmed.append((artifact, instances))


class Clock:
    """The deployer's clock, which can be put forward."""

    def __init__(self):
        self.ahead = timedelta()

    def __call__(self):
        return (datetime.now(UTC) + self.ahead).isoformat(timespec="seconds")


def archive(x, predicted):
    golden = {"instances": [{"x": x}], "predictions": [predicted], "tolerance": 1e-4}
    data = json.dumps({"schema": 1, "golden": golden}).encode()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    return file.getvalue()


@pytest.fixture
def deployer(cloud, admin, actor, bucket):
    """Ports of a deployer that may do only what it needs, and a way to register versions of its group."""
    group, table = unique("group"), unique("records")
    sagemaker, s3 = cloud.client("sagemaker", admin), cloud.client("s3", admin)
    sagemaker.create_model_package_group(ModelPackageGroupName=group)
    cloud.client("dynamodb", admin).create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "group", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "group", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    key = cloud.client("kms", admin).create_key()["KeyMetadata"]["Arn"]
    account = "arn:aws:sagemaker:us-east-1:000000000000"
    packages = (f"{account}:model-package-group/{group}", f"{account}:model-package/{group}/*")
    bucket_arn = f"arn:aws:s3:::{bucket}"
    function = actor(
        [
            allow(["sagemaker:ListModelPackages", "sagemaker:DescribeModelPackage"], *packages),
            allow(
                "sagemaker:UpdateModelPackage",
                packages[1],
                StringNotEquals={"sagemaker:ModelApprovalStatus": "Approved"},
            ),
            allow("cloudwatch:GetMetricData", "*"),
            allow(
                ["dynamodb:GetItem", "dynamodb:PutItem"],
                f"arn:aws:dynamodb:us-east-1:000000000000:table/{table}",
            ),
            allow("s3:GetObject", f"{bucket_arn}/train/*", f"{bucket_arn}/models/multi/*"),
            allow("s3:PutObject", f"{bucket_arn}/models/multi/*"),
            allow("s3:DeleteObject", f"{bucket_arn}/models/multi/{group}/*"),
            allow("s3:ListBucket", bucket_arn, StringLike={"s3:prefix": "models/multi/*"}),
            allow(["kms:GenerateDataKey", "kms:Decrypt"], key),
        ]
    )
    settings = Settings(
        endpoint_name="e",
        table_name=table,
        groups=(group,),
        artifact_bucket=bucket,
        kms_key_arn=key,
        max_unpacked_bytes=10**6,
        canary=Rules(warm_up_seconds=0, bake_seconds=600, least_requests=50),
    )
    ports = Ports(
        registry=SageMakerRegistry(cloud.client("sagemaker", function)),
        records=DynamoRecords(cloud.client("dynamodb", function), table),
        artifacts=S3Artifacts(cloud.client("s3", function), settings),
        endpoint=Endpoint(),
        metrics=CloudWatchMetrics(cloud.client("cloudwatch", function)),
    )

    def register(data, status="Approved"):
        place = f"train/{uuid.uuid4()}/model.tar.gz"
        s3.put_object(Bucket=bucket, Key=place, Body=data)
        container = {"Image": IMAGE, "ModelDataUrl": f"s3://{bucket}/{place}"}
        specification = {
            "Containers": [container],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        }
        return sagemaker.create_model_package(
            ModelPackageGroupName=group, InferenceSpecification=specification, ModelApprovalStatus=status
        )["ModelPackageArn"]

    return group, ports, settings, register


def test_deployer_follows_the_registry(cloud, admin, bucket, deployer):
    group, ports, settings, register = deployer
    sagemaker, s3 = cloud.client("sagemaker", admin), cloud.client("s3", admin)

    def serving():
        record = reconcile(group, ports, settings)
        return record.serving and record.serving.version

    def decide(arn, status):
        sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus=status)

    assert serving() is None
    register(archive(1, 1.0))
    assert serving() == 1
    second = register(archive(2, 2.0), "PendingManualApproval")
    assert serving() == 1
    decide(second, "Approved")
    assert serving() == 2
    record = ports.records.read(group)
    assert record.previous.version == 1
    stored = s3.get_object(Bucket=bucket, Key=f"models/multi/{record.serving.artifact}")
    assert hashlib.sha256(stored["Body"].read()).hexdigest() == record.serving.sha256
    assert stored["ServerSideEncryption"] == "aws:kms"

    third = register(archive(3, 99.0))
    with pytest.raises(ReconcileError, match=r"version 3: golden row 0: predicted 3\.0, recorded 99\.0"):
        serving()
    record = ports.records.read(group)
    assert (record.serving.version, record.error.version) == (2, 3)

    decide(third, "Rejected")
    assert serving() == 2
    assert ports.records.read(group).error is None
    s3.delete_object(Bucket=bucket, Key=f"models/multi/{record.serving.artifact}")
    assert serving() == 2
    assert record.serving.artifact in ports.artifacts.present(group)
    sagemaker.delete_model_package(ModelPackageName=second)
    assert serving() == 1
    decide(f"{second.rsplit('/', 1)[0]}/1", "Rejected")
    assert serving() is None


def test_writes_that_lost_a_race_are_refused(deployer):
    group, ports, settings, _ = deployer
    reconcile(group, ports, settings)
    record = ports.records.read(group)
    with pytest.raises(OutdatedError):
        ports.records.write(record, expected=0)
    with pytest.raises(OutdatedError):
        ports.records.write(record, expected=record.generation - 1)
    first = Archive(file=io.BytesIO(b"one"), sha256=hashlib.sha256(b"one").hexdigest())
    other = Archive(file=io.BytesIO(b"two"), sha256=hashlib.sha256(b"two").hexdigest())
    for _ in range(2):
        ports.artifacts.publish(first, f"{group}/1.tar.gz")
    with pytest.raises(DeployError, match="exists with other content"):
        ports.artifacts.publish(other, f"{group}/1.tar.gz")


@pytest.fixture
def requests(cloud, admin, deployer):
    """Writes what the inference function would have measured over the last minutes."""
    group, *_ = deployer
    cloudwatch = cloud.client("cloudwatch", admin)

    def happened(version, count, *, errors=0, latency=20.0):
        dimensions = [{"Name": "Model", "Value": group}, {"Name": "Version", "Value": str(version)}]
        at = datetime.now(UTC) + timedelta(minutes=2)
        for name, values, unit in (
            ("Invocations", [1.0] * count, "Count"),
            ("Errors", [1.0] * errors + [0.0] * (count - errors), "Count"),
            ("Latency", [latency] * count, "Milliseconds"),
        ):
            datum = {"MetricName": name, "Dimensions": dimensions, "Unit": unit, "Timestamp": at}
            cloudwatch.put_metric_data(
                Namespace="Modelyard/Inference", MetricData=[{**datum, "Values": values}]
            )

    return happened


@pytest.mark.parametrize(
    ("errors", "latency", "outcome", "reason"),
    [
        (0, 20.0, "promoted", "0 of 100 requests failed - before 5 of 900"),
        (40, 20.0, "rolled-back", "40 of 100 requests failed - before 5 of 900"),
        (0, 36.0, "rolled-back", "latency: p90 36.0 ms - before 20.0 ms - bound 35.0 ms - 100 requests"),
    ],
)
def test_a_canary_ends_by_what_callers_got(
    cloud, admin, deployer, requests, errors, latency, outcome, reason
):
    group, ports, settings, register = deployer
    sagemaker, clock = cloud.client("sagemaker", admin), Clock()
    register(archive(1, 1.0))
    reconcile(group, ports, settings, now=clock)
    second = register(archive(2, 2.0), "PendingManualApproval")
    registry.decide(sagemaker, group, 2, "Approved", None, canary=10)
    clock.ahead = timedelta(seconds=1)
    record = reconcile(group, ports, settings, now=clock)
    assert (record.serving.version, record.canary.deployment.version, record.canary.percent) == (1, 2, 10)
    assert record.desired == 1

    requests(1, 900, errors=5)
    requests(2, 100, errors=errors, latency=latency)
    clock.ahead = timedelta(minutes=11)
    record = reconcile(group, ports, settings, now=clock)
    assert record.canary is None
    assert (record.verdict.version, record.verdict.outcome) == (2, outcome)
    assert reason in record.verdict.reason
    assert record.serving.version == (2 if outcome == "promoted" else 1)
    described = sagemaker.describe_model_package(ModelPackageName=second)
    assert described["ModelApprovalStatus"] == ("Approved" if outcome == "promoted" else "Rejected")
    assert described["CustomerMetadataProperties"]["canary-verdict"] == outcome
    if outcome == "rolled-back":
        assert reason in described["ApprovalDescription"]

    registry.decide(sagemaker, group, 2, "Approved", None)
    described = sagemaker.describe_model_package(ModelPackageName=second)
    assert described.get("CustomerMetadataProperties", {}) == {}
    assert reconcile(group, ports, settings, now=clock).serving.version == 2


def test_models_that_nobody_needs_are_deleted_after_a_day(cloud, admin, bucket, deployer):
    group, ports, settings, register = deployer
    s3, clock = cloud.client("s3", admin), Clock()
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for x in (1, 2, 3):
        register(archive(x, float(x)))
        clock.ahead += timedelta(minutes=1)
        record = reconcile(group, ports, settings, now=clock)
    theirs = f"models/multi/{group}/by-hand.tar.gz"
    s3.put_object(Bucket=bucket, Key=theirs, Body=b"theirs")

    def versions():
        return sorted(
            int(name.split("/")[1].split("-")[0]) for name in ports.artifacts.present(group) - {theirs[13:]}
        )

    assert list(record.unused) == [name for name in ports.artifacts.present(group) if "/1-" in name]
    clock.ahead += timedelta(hours=23)
    reconcile(group, ports, settings, now=clock)
    assert versions() == [1, 2, 3]
    clock.ahead += timedelta(hours=2)
    record = reconcile(group, ports, settings, now=clock)
    assert versions() == [2, 3]
    (name,) = record.deleting
    found = s3.list_object_versions(Bucket=bucket, Prefix=f"models/multi/{name}")
    assert len(found["Versions"]) == len(found["DeleteMarkers"]) == 1
    assert s3.get_object(Bucket=bucket, Key=theirs)["Body"].read() == b"theirs"

    # Its name is not used again while a deletion may be under way.
    sagemaker = cloud.client("sagemaker", admin)
    for version in (3, 2):
        registry.decide(sagemaker, group, version, "Rejected", None)
    record = reconcile(group, ports, settings, now=clock)
    assert record.serving.version == 1
    assert record.serving.artifact == name.replace(".tar.gz", f"-{record.generation}.tar.gz")


def test_the_version_before_is_kept_warm_while_it_may_serve_again(cloud, admin, deployer):
    group, ports, settings, register = deployer
    first = register(archive(1, 1.0))
    before = reconcile(group, ports, settings).serving
    assert ports.endpoint.warmed == []
    register(archive(2, 2.0))
    for times in (1, 2):
        assert reconcile(group, ports, settings).previous.version == 1
        assert ports.endpoint.warmed == times * [(before.artifact, [{"x": 1}])]
    cloud.client("sagemaker", admin).update_model_package(
        ModelPackageArn=first, ModelApprovalStatus="Rejected"
    )
    reconcile(group, ports, settings)
    assert len(ports.endpoint.warmed) == 2


def test_the_deployer_may_neither_approve_nor_delete_what_is_not_its_own(cloud, bucket, deployer):
    _group, ports, _settings, register = deployer
    package = register(archive(1, 1.0), "PendingManualApproval")
    with pytest.raises(ClientError, match=r"not authorized to perform: sagemaker:UpdateModelPackage"):
        ports.registry._client.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
    for key in ("models/multi/other/1.tar.gz", "train/x/model.tar.gz"):
        with pytest.raises(ClientError, match="AccessDenied"):
            ports.artifacts._client.delete_object(Bucket=bucket, Key=key)
