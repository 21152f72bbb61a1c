"""The model registry through boto3: groups, versions, approval, lists, events."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from localcloud.context import Cloud, Credentials
from tests.local.support import code_of, unique

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tabular:1"
SPECIFICATION = {
    "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://models/a/model.tar.gz"}],
    "SupportedContentTypes": ["text/csv"],
    "SupportedResponseMIMETypes": ["text/csv"],
}


@pytest.fixture
def group(sagemaker: Any) -> str:
    name = unique("group")
    sagemaker.create_model_package_group(ModelPackageGroupName=name, ModelPackageGroupDescription="d")
    return name


def register(sagemaker: Any, group: str, **members: Any) -> str:
    arn: str = sagemaker.create_model_package(
        ModelPackageGroupName=group, InferenceSpecification=SPECIFICATION, **members
    )["ModelPackageArn"]
    return arn


def test_group(sagemaker: Any, group: str) -> None:
    arn = f"arn:aws:sagemaker:us-east-1:000000000000:model-package-group/{group}"
    described = sagemaker.describe_model_package_group(ModelPackageGroupName=group)
    assert described["ModelPackageGroupArn"] == arn
    assert described["ModelPackageGroupDescription"] == "d"
    assert described["ModelPackageGroupStatus"] == "Completed"
    assert sagemaker.describe_model_package_group(ModelPackageGroupName=arn)["ModelPackageGroupName"] == group
    assert code_of(sagemaker.create_model_package_group, ModelPackageGroupName=group) == (
        "ValidationException",
        f"Model Package Group already exists: {arn}",
    )
    listed = sagemaker.list_model_package_groups(NameContains=group)["ModelPackageGroupSummaryList"]
    assert [one["ModelPackageGroupName"] for one in listed] == [group]
    sagemaker.delete_model_package_group(ModelPackageGroupName=group)
    missing = ("ValidationException", f"ModelPackageGroup {arn} does not exist.")
    assert code_of(sagemaker.describe_model_package_group, ModelPackageGroupName=group) == missing
    assert code_of(sagemaker.delete_model_package_group, ModelPackageGroupName=group) == missing


def test_versions_count_up_and_are_never_used_again(sagemaker: Any, group: str) -> None:
    first, second = register(sagemaker, group), register(sagemaker, group)
    assert first == f"arn:aws:sagemaker:us-east-1:000000000000:model-package/{group}/1"
    assert second.endswith("/2")
    sagemaker.delete_model_package(ModelPackageName=second)
    assert register(sagemaker, group).endswith("/3")
    assert code_of(sagemaker.describe_model_package, ModelPackageName=second) == (
        "ValidationException",
        f"ModelPackage {second} does not exist.",
    )


def test_a_version_says_what_was_registered(sagemaker: Any, group: str) -> None:
    metrics = {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://b/e.json"}}}
    arn = register(sagemaker, group, ModelMetrics=metrics, CustomerMetadataProperties={"mse": "1.5"})
    described = sagemaker.describe_model_package(ModelPackageName=arn)
    assert described["ModelPackageGroupName"] == group
    assert described["ModelPackageVersion"] == 1
    assert described["ModelApprovalStatus"] == "PendingManualApproval"
    assert described["ModelPackageStatus"] == "Completed"
    assert described["ModelPackageStatusDetails"] == {"ValidationStatuses": [], "ImageScanStatuses": []}
    assert described["InferenceSpecification"] == SPECIFICATION
    assert described["ModelMetrics"] == metrics
    assert described["CustomerMetadataProperties"] == {"mse": "1.5"}
    assert sagemaker.describe_model_package(ModelPackageName=f"{group}/1")["ModelPackageArn"] == arn


def test_approval_and_metadata_change(sagemaker: Any, group: str) -> None:
    arn = register(sagemaker, group, CustomerMetadataProperties={"a": "1", "b": "2"})
    sagemaker.update_model_package(
        ModelPackageArn=arn,
        ModelApprovalStatus="Approved",
        ApprovalDescription="good",
        CustomerMetadataProperties={"b": "3"},
        CustomerMetadataPropertiesToRemove=["a"],
    )
    described = sagemaker.describe_model_package(ModelPackageName=arn)
    assert described["ModelApprovalStatus"] == "Approved"
    assert described["ApprovalDescription"] == "good"
    assert described["CustomerMetadataProperties"] == {"b": "3"}
    assert described["LastModifiedTime"] >= described["CreationTime"]


@pytest.mark.parametrize("status", ["approved", "Aproved", ""])
def test_unknown_approval_is_refused(sagemaker: Any, group: str, status: str) -> None:
    arn = register(sagemaker, group)
    code, message = code_of(sagemaker.update_model_package, ModelPackageArn=arn, ModelApprovalStatus=status)
    assert code == "ValidationException"
    assert message == (
        f"1 validation error detected: Value '{status}' at 'modelApprovalStatus' failed to satisfy "
        "constraint: Member must satisfy enum value set: [Approved, Rejected, PendingManualApproval]"
    )


def test_unknown_packages(sagemaker: Any, group: str) -> None:
    arn = f"arn:aws:sagemaker:us-east-1:000000000000:model-package/{group}/9"
    missing = ("ValidationException", f"ModelPackage {arn} does not exist.")
    assert (
        code_of(sagemaker.update_model_package, ModelPackageArn=arn, ModelApprovalStatus="Approved")
        == missing
    )
    assert code_of(sagemaker.delete_model_package, ModelPackageName=arn) == missing
    elsewhere = arn.replace("us-east-1", "eu-west-1")
    assert code_of(sagemaker.describe_model_package, ModelPackageName=elsewhere) == (
        "ValidationException",
        "ARN should be scoped to correct region: us-east-1",
    )


def test_registration_needs_one_existing_name(sagemaker: Any, group: str) -> None:
    create = sagemaker.create_model_package
    assert code_of(create, InferenceSpecification=SPECIFICATION) == ("ValidationException", "Missing ARN.")
    assert (
        "Cannot determine which one to use"
        in code_of(create, ModelPackageGroupName=group, ModelPackageName="x")[1]
    )
    assert code_of(create, ModelPackageGroupName="no-such-group") == (
        "ValidationException",
        "ModelPackageGroup arn:aws:sagemaker:us-east-1:000000000000:model-package-group/no-such-group "
        "does not exist.",
    )


def test_versions_have_no_tags_of_their_own(sagemaker: Any, group: str) -> None:
    tags = [{"Key": "a", "Value": "b"}]
    code, message = code_of(sagemaker.create_model_package, ModelPackageGroupName=group, Tags=tags)
    assert (code, "tags of their group" in message) == ("ValidationException", True)
    arn = register(sagemaker, group)
    code, message = code_of(sagemaker.add_tags, ResourceArn=arn, Tags=tags)
    assert (code, f"model-package-group/{group}" in message) == ("ValidationException", True)


def test_the_same_client_token_registers_once(sagemaker: Any, group: str) -> None:
    token = unique("token")
    assert register(sagemaker, group, ClientToken=token) == register(sagemaker, group, ClientToken=token)
    listed = sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]
    assert len(listed) == 1


def test_packages_without_versions(sagemaker: Any) -> None:
    name = unique("package")
    arn = sagemaker.create_model_package(ModelPackageName=name, InferenceSpecification=SPECIFICATION)
    described = sagemaker.describe_model_package(ModelPackageName=name)
    assert described["ModelPackageArn"] == arn["ModelPackageArn"]
    assert "ModelApprovalStatus" not in described
    listed = sagemaker.list_model_packages(NameContains=name)["ModelPackageSummaryList"]
    assert [one["ModelPackageName"] for one in listed] == [name]
    code, message = code_of(
        sagemaker.update_model_package, ModelPackageArn=arn["ModelPackageArn"], ModelApprovalStatus="Approved"
    )
    assert (code, "no versions" in message) == ("ValidationException", True)
    sagemaker.delete_model_package(ModelPackageName=name)


def test_a_group_with_packages_stays(sagemaker: Any, group: str) -> None:
    register(sagemaker, group)
    code, message = code_of(sagemaker.delete_model_package_group, ModelPackageGroupName=group)
    assert (code, "still contains model packages" in message) == ("ConflictException", True)


def test_lists_filter_sort_and_page(sagemaker: Any, group: str) -> None:
    arns = [register(sagemaker, group) for _ in range(5)]
    for arn in (arns[1], arns[3]):
        sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")

    def listed(**request: Any) -> list[int]:
        pages = sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=group, **request
        )
        return [one["ModelPackageVersion"] for page in pages for one in page["ModelPackageSummaryList"]]

    assert listed() == [1, 2, 3, 4, 5]
    assert listed(PaginationConfig={"PageSize": 2}) == [1, 2, 3, 4, 5]
    assert listed(SortBy="CreationTime", SortOrder="Descending") == [5, 4, 3, 2, 1]
    assert listed(ModelApprovalStatus="Approved", SortOrder="Descending") == [4, 2]
    first = sagemaker.list_model_packages(ModelPackageGroupName=group, MaxResults=2)
    assert len(first["ModelPackageSummaryList"]) == 2
    token = first["NextToken"]
    code, message = code_of(
        sagemaker.list_model_packages, ModelPackageGroupName=group, NextToken=token[:-5] + "AAAA="
    )
    assert (code, message.startswith("Invalid NextToken")) == ("ValidationException", True)


def test_approval_reaches_a_rule(cloud: Cloud, admin: Credentials, sagemaker: Any, group: str) -> None:
    queue = cloud.client("sqs", admin).create_queue(QueueName=unique("events"))["QueueUrl"]
    sqs = cloud.client("sqs", admin)
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
            }
        ],
    }
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
    events = cloud.client("events", admin)
    rule = unique("rule")
    pattern = {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Model Package State Change"],
        "detail": {"ModelPackageGroupName": [group], "ModelApprovalStatus": ["Approved"]},
    }
    events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": arn}])
    package = register(sagemaker, group)
    sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
    deadline, messages = time.monotonic() + 180, []
    while not messages and time.monotonic() < deadline:
        messages = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", [])
    event = json.loads(messages[0]["Body"])
    assert event["source"] == "aws.sagemaker"
    assert event["resources"] == [package]
    assert event["account"] == "000000000000"
    assert event["detail"]["ModelPackageVersion"] == 1
    assert event["detail"]["UpdatedModelPackageFields"] == ["ModelApprovalStatus"]
