"""The deployer on SageMaker's registry and CloudWatch: what it asks, what it makes of the answers."""

from datetime import UTC, datetime

import pytest
from serving_runtime.aws_metrics import CloudWatchMetrics
from serving_runtime.aws_registry import SageMakerRegistry
from serving_runtime.canary import Figures
from serving_runtime.errors import DeployError, OutdatedError, UnreadableError
from serving_runtime.ports import Description
from serving_runtime.record import Verdict

from tests.unit.deployer.deployer_support import ARN, PACKAGE, described, summary


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
    SageMakerRegistry(client).conclude(PACKAGE, verdict, changed="")


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
            registry.conclude(PACKAGE, verdict, changed="")
    stub.add_response("describe_model_package", described(CustomerMetadataProperties=WISH))
    stub.add_client_error("update_model_package", "AccessDeniedException", "not authorized")
    with pytest.raises(DeployError, match=r"cannot conclude the canary .*: not authorized"):
        registry.conclude(PACKAGE, verdict, changed="")


def test_a_canary_that_was_asked_for_again_while_it_was_judged_is_left(stubbed):
    client, stub = stubbed("sagemaker")
    verdict = Verdict(version=3, outcome="rolled-back", reason="-", at="now")
    again = datetime(2026, 1, 1, 10, tzinfo=UTC)
    stub.add_response(
        "describe_model_package", described(CustomerMetadataProperties=WISH, LastModifiedTime=again)
    )
    with pytest.raises(OutdatedError, match="changed while it was judged"):
        SageMakerRegistry(client).conclude(PACKAGE, verdict, changed="2026-01-01T09:00:00+00:00")


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
