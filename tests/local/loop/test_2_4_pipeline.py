"""Enforcement bites a pipeline: the step that needs a permission fails, for the reason that is given."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.loop.enforcement import (
    DATA_SCIENTIST,
    EXECUTION,
    failed_steps,
    refused,
    start_a_run,
    start_afresh,
    stop_allowed,
    until_runs,
    until_stopped,
    waiting,
)
from tests.local.loop.story import MODEL, Story

pytestmark = [pytest.mark.loop, pytest.mark.timeout(900)]

# Steps of which no run before had the input: the cache does not answer them, and never what has failed.
FRESH = ("ValidateData", "PreprocessData", "TrainModel")


def run_to(story: Story, step: str) -> dict[str, Any]:
    if step not in FRESH:
        return story.run()
    bucket, key = story.outputs["DataBucketName"], "raw/refinance/again.csv"
    story.scientist.client("s3").upload_file(str(story.data.table), bucket, key)
    return story.run(InputData=f"s3://{bucket}/{key}")


@pytest.mark.parametrize(
    ("action", "resource", "step"),
    [
        ("sagemaker:CreateProcessingJob", "", "ValidateData"),
        ("sagemaker:AddTags", "processing-job", "ValidateData"),
        ("iam:PassRole", "", "ValidateData"),
        ("sagemaker:DescribeProcessingJob", "", "ValidateData"),
        ("ecr:GetAuthorizationToken", "", "ValidateData"),
        ("ecr:BatchCheckLayerAvailability", "", "ValidateData"),
        ("ecr:BatchGetImage", "", "ValidateData"),
        ("ecr:GetDownloadUrlForLayer", "", "ValidateData"),
        ("s3:ListBucket", "data", "ValidateData"),
        ("s3:GetObject", "/raw/", "ValidateData"),
        ("s3:GetObject", "/code/", "ValidateData"),
        ("kms:Decrypt", "", "ValidateData"),
        ("s3:PutObject", "", "ValidateData"),
        ("kms:GenerateDataKey", "", "ValidateData"),
        ("sagemaker:CreateTrainingJob", "", "TrainModel"),
        ("sagemaker:DescribeTrainingJob", "", "TrainModel"),
        ("sagemaker:CreateModelPackage", "", "RegisterModel"),
        ("sagemaker:DescribeModelPackage", "", "RegisterModel"),
        ("sagemaker:CreateModel", "", "CreateModel"),
        ("sagemaker:CreateTransformJob", "", "BatchTransform"),
        ("sagemaker:DescribeTransformJob", "", "BatchTransform"),
        ("s3:GetObject", "/batch/", "BatchTransform"),
    ],
)
def test_pipeline(story: Story, action: str, resource: str, step: str) -> None:
    with refused(story, EXECUTION, action, resource):
        execution = run_to(story, step)

    assert execution["status"] == "Failed", execution
    failed = failed_steps(execution)
    assert list(failed) == [step]
    assert "AccessDenied" in failed[step] or "not authorized" in failed[step] or "403" in failed[step], failed


def test_pipeline_runs_again_with_all_it_needs(story: Story) -> None:
    execution = run_to(story, "TrainModel")

    assert execution["status"] == "Succeeded", execution
    cached = {step["name"] for step in execution["steps"] if step["detail"] == "from cache"}
    assert "TrainModel" not in cached


@pytest.mark.parametrize(
    ("step", "action"),
    [
        ("PreprocessData", "sagemaker:StopProcessingJob"),
        ("TrainModel", "sagemaker:StopTrainingJob"),
        ("BatchTransform", "sagemaker:StopTransformJob"),
    ],
)
def test_pipeline_stops_its_jobs(story: Story, step: str, action: str) -> None:
    sagemaker = story.scientist.client("sagemaker")
    with waiting(story, MODEL, step):
        arn = start_afresh(story) if step in FRESH else start_a_run(story)
        with refused(story, DATA_SCIENTIST, "sagemaker:StopPipelineExecution"), pytest.raises(ClientError):
            sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
        until_runs(story, arn, step)
        stop_allowed(story, arn, EXECUTION, action)
    until_stopped(story, arn)
