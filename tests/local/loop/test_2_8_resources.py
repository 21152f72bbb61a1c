"""Enforcement bites custom resources: the function's answer reaches CloudFormation all the same.

The last of these chapters: emptying the data bucket closes it to everybody who writes.
"""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.loop.custom_resource import send
from tests.local.loop.enforcement import (
    BUCKET_EMPTIER,
    GROUP_EMPTIER,
    PROVIDER,
    ROLES,
    refused,
    start_afresh,
)
from tests.local.loop.story import MODEL, Story

pytestmark = [pytest.mark.loop, pytest.mark.timeout(900)]

PIPELINE = "Custom::SageMakerPipeline"
GROUP_EMPTYING = "Custom::ModelPackageGroupEmptying"
BUCKET_EMPTYING = "Custom::BucketEmptying"  # its last one is of the data bucket


@pytest.mark.parametrize(
    ("action", "changed"),
    [
        ("s3:GetObject", {}),
        ("s3:PutObject", {}),
        ("kms:GenerateDataKey", {}),
        ("sagemaker:DescribePipeline", {}),
        ("sagemaker:ListTags", {}),
        ("sagemaker:AddTags", {"Tags": {"team": "lending"}}),
        ("sagemaker:UpdatePipeline", {"Description": "changed"}),
        ("iam:PassRole", {"Description": "changed again"}),
    ],
)
def test_pipeline_provider(story: Story, action: str, changed: dict[str, Any]) -> None:
    with refused(story, PROVIDER, action):
        answer = send(story, "pipelines", PIPELINE, "Update", **changed)
    assert answer["Status"] == "FAILED", answer
    assert f"not authorized to perform: {action}" in answer["Reason"] or "Access Denied" in answer["Reason"]

    assert send(story, "pipelines", PIPELINE, "Update", **changed)["Status"] == "SUCCESS"


def test_pipeline_provider_takes_tags_back(story: Story) -> None:
    send(story, "pipelines", PIPELINE, "Update", Tags={"team": "lending"})
    with refused(story, PROVIDER, "sagemaker:DeleteTags"):
        answer = send(story, "pipelines", PIPELINE, "Update", before={"Tags": {"team": "lending"}})
    assert answer["Status"] == "FAILED", answer

    assert send(story, "pipelines", PIPELINE, "Update", before={"Tags": {"team": "lending"}})["Status"] == (
        "SUCCESS"
    )


def test_pipeline_provider_deletes_a_pipeline_that_runs(story: Story) -> None:
    sagemaker = story.administrator.client("sagemaker")
    for action in (
        "sagemaker:ListPipelineExecutions", "sagemaker:StopPipelineExecution", "sagemaker:DeletePipeline"
    ):  # fmt: skip
        # Through the wider round as well, so that it still runs when the function looks.
        running = start_afresh(story, MseThreshold="1.5", OnGateFailure="Retrain")
        with refused(story, PROVIDER, action):
            answer = send(story, "pipelines", PIPELINE, "Delete")
        assert answer["Status"] == "FAILED", answer
        assert f"not authorized to perform: {action}" in answer["Reason"]
        assert sagemaker.describe_pipeline(PipelineName=MODEL)["PipelineStatus"] == "Active"
    stopped = sagemaker.describe_pipeline_execution(PipelineExecutionArn=running)
    assert stopped["PipelineExecutionStatus"] == "Stopped"

    assert send(story, "pipelines", PIPELINE, "Delete")["Status"] == "SUCCESS"
    with pytest.raises(ClientError, match="does not exist"):
        sagemaker.describe_pipeline(PipelineName=MODEL)
    assert send(story, "pipelines", PIPELINE, "Create")["Status"] == "SUCCESS"
    assert sagemaker.describe_pipeline(PipelineName=MODEL)["PipelineStatus"] == "Active"


@pytest.mark.parametrize(
    ("role", "stack", "kind", "action"),
    [
        (GROUP_EMPTIER, "pipelines", GROUP_EMPTYING, "sagemaker:ListModelPackages"),
        (GROUP_EMPTIER, "pipelines", GROUP_EMPTYING, "sagemaker:DeleteModelPackage"),
        (BUCKET_EMPTIER, "data", BUCKET_EMPTYING, "s3:ListBucketVersions"),
        (BUCKET_EMPTIER, "data", BUCKET_EMPTYING, "s3:DeleteObjectVersion"),
        (BUCKET_EMPTIER, "data", BUCKET_EMPTYING, "s3:DeleteObject"),
    ],
)
def test_emptiers(story: Story, role: str, stack: str, kind: str, action: str) -> None:
    # That all is well with the permission is the last chapter: the stacks are destroyed.
    with refused(story, role, action):
        answer = send(story, stack, kind, "Delete")
    assert answer["Status"] == "FAILED", answer
    assert "AccessDenied" in answer["Reason"] or f"not authorized to perform: {action}" in answer["Reason"]


def test_every_role_of_the_stacks_was_tried(story: Story) -> None:
    assert set(story.names.roles.values()) == ROLES
