"""Changes of state become events of AWS's shape, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.sagemaker.events import Event, event_of

ARN = "arn:aws:sagemaker:us-east-1:000000000000:"
TRAINING = {
    "TrainingJobName": "t",
    "TrainingJobArn": f"{ARN}training-job/t",
    "TrainingJobStatus": "InProgress",
    "SecondaryStatus": "Starting",
    "HyperParameters": {"eta": "0.1"},
    "CreationTime": 1600000000.25,
    "LastModifiedTime": 1600000001.0,
    "SecondaryStatusTransitions": [{"Status": "Starting", "StartTime": 1600000000.25}],
    "_Private": 1,
}
PROCESSING = {
    "ProcessingJobName": "p",
    "ProcessingJobArn": f"{ARN}processing-job/p",
    "ProcessingJobStatus": "InProgress",
    "RoleArn": "arn:aws:iam::000000000000:role/r",
    "AppSpecification": {"ImageUri": "i", "ContainerArguments": ["--module", "validate"]},
    "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1}},
    "Environment": {"SCORE": "1"},
    "CreationTime": 1600000000.25,
    "LastModifiedTime": 1600000001.0,
    "_Private": 1,
}
TRANSFORM = {
    "TransformJobName": "b",
    "TransformJobArn": f"{ARN}transform-job/b",
    "TransformJobStatus": "InProgress",
    "ModelName": "m",
    "BatchStrategy": "MultiRecord",
    "TransformInput": {"ContentType": "text/csv", "SplitType": "Line"},
    "TransformOutput": {"S3OutputPath": "s3://b/scores"},
    "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    "CreationTime": 1600000000.25,
    "LastModifiedTime": 1600000001.0,
    "_Container": {"Image": "i"},
}
PACKAGE = {
    "ModelPackageGroupName": "g",
    "ModelPackageVersion": 2,
    "ModelPackageArn": f"{ARN}model-package/g/2",
    "ModelPackageStatus": "Completed",
    "ModelApprovalStatus": "PendingManualApproval",
    "CreationTime": 1614186014.9,
    "LastModifiedTime": 1614186014.9,
    "_Name": "g/2",
}
EXECUTION = {
    "PipelineArn": f"{ARN}pipeline/p",
    "PipelineExecutionArn": f"{ARN}pipeline/p/execution/x",
    "PipelineExecutionStatus": "Executing",
    "PipelineExecutionDisplayName": "d",
    "CreationTime": 1615824193.0,
    "LastModifiedTime": 1615824610.0,
}
STEP = {
    "StepName": "Validate",
    "StepStatus": "Starting",
    "StartTime": 1615824194.0,
    "Metadata": {},
    "_StepType": "Processing",
    "_PipelineArn": f"{ARN}pipeline/p",
    "_PipelineExecutionArn": f"{ARN}pipeline/p/execution/x",
}
ENDPOINT = {
    "EndpointName": "E",
    "EndpointArn": f"{ARN}endpoint/e",
    "EndpointConfigName": "C",
    "EndpointStatus": "Creating",
    "ProductionVariants": [
        {"VariantName": "v", "DesiredWeight": 1.0, "DesiredInstanceCount": 2, "CurrentWeight": 0.0}
    ],
    "CreationTime": 1592411992.203,
    "LastModifiedTime": 1592411994.287,
}


def made(kind: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> Event:
    event = event_of(kind, old, new, lambda arn: {"of": arn})
    assert event is not None
    return event


def test_training_job() -> None:
    event = made("training-job", None, TRAINING)
    assert event.detail_type == "SageMaker Training Job State Change"
    assert event.resources == [f"{ARN}training-job/t"]
    assert event.detail["CreationTime"] == 1600000000250
    assert event.detail["SecondaryStatusTransitions"][0]["StartTime"] == 1600000000250
    assert event.detail["HyperParameters"] == {"eta": "0.1"}
    assert event.detail["Tags"] == {"of": f"{ARN}training-job/t"}
    assert "_Private" not in event.detail


def test_processing_job() -> None:
    event = made("processing-job", None, PROCESSING)
    assert event.detail_type == "SageMaker Processing Job State Change"
    assert event.resources == [f"{ARN}processing-job/p"]
    # AWS shows no tags in this one.
    assert event.detail == {
        **{name: value for name, value in PROCESSING.items() if name != "_Private"},
        "CreationTime": 1600000000250,
        "LastModifiedTime": 1600000001000,
    }
    end = {"ProcessingJobStatus": "Completed", "ExitMessage": "done", "ProcessingEndTime": 1600000003.5}
    ended = made("processing-job", PROCESSING, {**PROCESSING, **end})
    assert ended.detail["ProcessingJobStatus"] == "Completed"
    assert ended.detail["ExitMessage"] == "done"
    assert ended.detail["ProcessingEndTime"] == 1600000003500


def test_transform_job() -> None:
    event = made("transform-job", None, TRANSFORM)
    assert event.detail_type == "SageMaker Transform Job State Change"
    assert event.resources == [f"{ARN}transform-job/b"]
    assert event.detail == {
        **{name: value for name, value in TRANSFORM.items() if name != "_Container"},
        "CreationTime": 1600000000250,
        "LastModifiedTime": 1600000001000,
        "Tags": {"of": f"{ARN}transform-job/b"},
    }
    end = {"TransformJobStatus": "Failed", "FailureReason": "why", "TransformEndTime": 1600000003.5}
    ended = made("transform-job", TRANSFORM, {**TRANSFORM, **end})
    assert ended.detail["TransformJobStatus"] == "Failed"
    assert ended.detail["FailureReason"] == "why"
    assert ended.detail["TransformEndTime"] == 1600000003500


def test_failed_job_says_why() -> None:
    new = {**TRAINING, "TrainingJobStatus": "Failed", "FailureReason": "AlgorithmError: exit code 1"}
    event = made("training-job", TRAINING, new)
    assert event.detail["TrainingJobStatus"] == "Failed"
    assert event.detail["FailureReason"] == "AlgorithmError: exit code 1"


@pytest.mark.parametrize(
    ("kind", "record", "change"),
    [
        ("training-job", TRAINING, {"LastModifiedTime": 1600000009.0}),
        ("processing-job", PROCESSING, {"ProcessingStartTime": 1600000002.0}),
        ("transform-job", TRANSFORM, {"TransformStartTime": 1600000002.0}),
        ("pipeline-step", STEP, {"Metadata": {"ProcessingJob": {"Arn": "a"}}}),
        ("pipeline-execution", EXECUTION, {"LastModifiedTime": 1.0}),
        ("endpoint", ENDPOINT, {"LastModifiedTime": 1.0}),
    ],
)
def test_what_is_no_change_of_state_is_no_event(
    kind: str, record: dict[str, Any], change: dict[str, Any]
) -> None:
    assert event_of(kind, record, {**record, **change}, lambda _arn: {}) is None


@pytest.mark.parametrize(
    "kind", ["training-job", "endpoint", "model-package", "pipeline-execution", "pipeline-step"]
)
def test_deletions_are_no_events(kind: str) -> None:
    assert event_of(kind, {"any": 1}, None, lambda _arn: {}) is None


def test_documents_without_events() -> None:
    assert event_of("cache-entry", None, {"any": 1}, lambda _arn: {}) is None


def test_model_package_registered_and_approved() -> None:
    registered = made("model-package", None, PACKAGE)
    assert registered.detail_type == "SageMaker Model Package State Change"
    assert registered.detail["CreationTime"] == "2021-02-24T17:00:14Z"
    assert "UpdatedModelPackageFields" not in registered.detail
    new = {
        **PACKAGE,
        "ModelApprovalStatus": "Approved",
        "LastModifiedTime": 1614186020.0,
        "_UpdatedFields": ["ApprovalDescription", "ModelApprovalStatus", "SourceUri"],
    }
    approved = made("model-package", PACKAGE, new)
    assert approved.resources == [f"{ARN}model-package/g/2"]
    assert approved.detail["ModelPackageGroupName"] == "g"
    assert approved.detail["ModelPackageVersion"] == 2
    assert approved.detail["ModelApprovalStatus"] == "Approved"
    assert approved.detail["UpdatedModelPackageFields"] == [
        "ApprovalDescription",
        "ModelApprovalStatus",
        "sourceUri",
    ]


def test_endpoint_status_is_written_in_upper_case() -> None:
    event = made("endpoint", ENDPOINT, {**ENDPOINT, "EndpointStatus": "InService"})
    assert event.detail_type == "SageMaker Endpoint State Change"
    assert event.detail["EndpointStatus"] == "IN_SERVICE"
    assert event.detail["ProductionVariants"] == [
        {"VariantName": "v", "DesiredWeight": 1.0, "DesiredInstanceCount": 2}
    ]


def test_pipeline_execution() -> None:
    started = made("pipeline-execution", None, EXECUTION)
    assert started.detail_type == "SageMaker Model Building Pipeline Execution Status Change"
    assert started.resources == [f"{ARN}pipeline/p", f"{ARN}pipeline/p/execution/x"]
    assert started.detail == {
        "pipelineExecutionDisplayName": "d",
        "currentPipelineExecutionStatus": "Executing",
        "executionStartTime": "2021-03-15T16:03:13Z",
        "pipelineArn": f"{ARN}pipeline/p",
        "pipelineExecutionArn": f"{ARN}pipeline/p/execution/x",
    }
    ended = made("pipeline-execution", EXECUTION, {**EXECUTION, "PipelineExecutionStatus": "Succeeded"})
    assert ended.detail["previousPipelineExecutionStatus"] == "Executing"
    assert ended.detail["executionEndTime"] == "2021-03-15T16:10:10Z"


def test_pipeline_step() -> None:
    new = {
        **STEP,
        "StepStatus": "Failed",
        "EndTime": 1615824609.0,
        "FailureReason": "why",
        "Metadata": {"ProcessingJob": {"Arn": "a"}},
        "CacheHitResult": {"SourcePipelineExecutionArn": "s"},
    }
    event = made("pipeline-step", {**STEP, "StepStatus": "Executing"}, new)
    assert event.detail_type == "SageMaker Model Building Pipeline Execution Step Status Change"
    assert event.detail == {
        "metadata": {"processingJob": {"arn": "a"}},
        "stepStartTime": "2021-03-15T16:03:14Z",
        "stepEndTime": "2021-03-15T16:10:09Z",
        "stepName": "Validate",
        "stepType": "Processing",
        "previousStepStatus": "Executing",
        "currentStepStatus": "Failed",
        "failureReason": "why",
        "cacheHitResult": {"sourcePipelineExecutionArn": "s"},
        "pipelineArn": f"{ARN}pipeline/p",
        "pipelineExecutionArn": f"{ARN}pipeline/p/execution/x",
    }
