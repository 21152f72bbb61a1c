"""SageMaker's events on EventBridge, made of the store's changes, so that no operation has to send any.

Shapes: https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from localcloud.aws.events import emit
from localcloud.context import Cloud
from localcloud.sagemaker.store import Document, Store
from localcloud.sagemaker.tags import tags_of

SOURCE = "aws.sagemaker"
_EXECUTION_OVER = frozenset({"Succeeded", "Failed", "Stopped"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What goes to the default bus: see `localcloud.aws.events.emit`."""

    detail_type: str
    detail: dict[str, Any]
    resources: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """How documents of one kind become events.

    `watched` are the members whose change is a change of state; `detail` those that the event carries.
    """

    detail_type: str
    arn: str
    watched: tuple[str, ...]
    detail: tuple[str, ...]
    tags: bool = True


_JOB_TIMES = ("CreationTime", "LastModifiedTime")
_KINDS = {
    "training-job": _Kind(
        detail_type="SageMaker Training Job State Change",
        arn="TrainingJobArn",
        watched=("TrainingJobStatus", "SecondaryStatus"),
        detail=(
            "TrainingJobName",
            "TrainingJobArn",
            "TrainingJobStatus",
            "SecondaryStatus",
            "FailureReason",
            "HyperParameters",
            "AlgorithmSpecification",
            "RoleArn",
            "InputDataConfig",
            "OutputDataConfig",
            "ResourceConfig",
            "VpcConfig",
            "StoppingCondition",
            "TrainingStartTime",
            "TrainingEndTime",
            "SecondaryStatusTransitions",
            *_JOB_TIMES,
        ),
    ),
    "hyper-parameter-tuning-job": _Kind(
        detail_type="SageMaker HyperParameter Tuning Job State Change",
        arn="HyperParameterTuningJobArn",
        watched=("HyperParameterTuningJobStatus",),
        detail=(
            "HyperParameterTuningJobName",
            "HyperParameterTuningJobArn",
            "TrainingJobDefinition",
            "TrainingJobDefinitions",
            "HyperParameterTuningJobStatus",
            "FailureReason",
            "TrainingJobStatusCounters",
            "ObjectiveStatusCounters",
            *_JOB_TIMES,
        ),
    ),
    "processing-job": _Kind(
        detail_type="SageMaker Processing Job State Change",
        arn="ProcessingJobArn",
        watched=("ProcessingJobStatus",),
        detail=(
            "ProcessingJobName",
            "ProcessingJobArn",
            "ProcessingJobStatus",
            "FailureReason",
            "ExitMessage",
            "ProcessingInputs",
            "ProcessingOutputConfig",
            "ProcessingResources",
            "StoppingCondition",
            "AppSpecification",
            "Environment",
            "NetworkConfig",
            "RoleArn",
            "ExperimentConfig",
            "ProcessingStartTime",
            "ProcessingEndTime",
            *_JOB_TIMES,
        ),
        tags=False,
    ),
    "transform-job": _Kind(
        detail_type="SageMaker Transform Job State Change",
        arn="TransformJobArn",
        watched=("TransformJobStatus",),
        detail=(
            "TransformJobName",
            "TransformJobArn",
            "TransformJobStatus",
            "FailureReason",
            "ModelName",
            "MaxConcurrentTransforms",
            "MaxPayloadInMB",
            "BatchStrategy",
            "Environment",
            "TransformInput",
            "TransformOutput",
            "TransformResources",
            "TransformStartTime",
            "TransformEndTime",
            *_JOB_TIMES,
        ),
    ),
    "endpoint": _Kind(
        detail_type="SageMaker Endpoint State Change",
        arn="EndpointArn",
        watched=("EndpointStatus",),
        detail=(
            "EndpointName",
            "EndpointArn",
            "EndpointConfigName",
            "ProductionVariants",
            "EndpointStatus",
            "FailureReason",
            *_JOB_TIMES,
        ),
    ),
    "model-package": _Kind(
        detail_type="SageMaker Model Package State Change",
        arn="ModelPackageArn",
        watched=("LastModifiedTime", "ModelPackageStatus", "ModelApprovalStatus"),
        detail=(
            "ModelPackageGroupName",
            "ModelPackageName",
            "ModelPackageVersion",
            "ModelPackageArn",
            "ModelPackageDescription",
            "CreationTime",
            "InferenceSpecification",
            "ModelPackageStatus",
            "ModelPackageStatusDetails",
            "CertifyForMarketplace",
            "ModelApprovalStatus",
            "ApprovalDescription",
            "MetadataProperties",
            "ModelMetrics",
            "ModelLifeCycle",
            "CustomerMetadataProperties",
            "LastModifiedTime",
        ),
        tags=False,
    ),
}
# What an update does step by step, between two changes of an endpoint's status.
_DEPLOYMENT = replace(
    _KINDS["endpoint"],
    detail_type="SageMaker Endpoint Deployment State Change",
    watched=("PendingDeploymentSummary",),
    detail=(*_KINDS["endpoint"].detail, "PendingDeploymentSummary"),
)


def install(cloud: Cloud, store: Store) -> None:
    """Send an event for every change of state from now on."""

    def on_change(kind: str, old: Document | None, new: Document | None) -> None:
        event = event_of(
            kind, old, new, lambda arn: {tag["Key"]: tag["Value"] for tag in tags_of(store, arn)}
        )
        if event:
            emit(cloud, SOURCE, event.detail_type, event.detail, event.resources)

    store.subscribe(on_change)


def event_of(
    kind: str, old: Document | None, new: Document | None, tags: Callable[[str], Mapping[str, str]]
) -> Event | None:
    """The event of one change in the store, or None where AWS sends none.

    Args:
        kind: the document's kind.
        old: the document before, None for a creation.
        new: the document after; a deletion (None) is no change of state that AWS reports.
        tags: the tags of an ARN.
    """
    if new is None:
        return None
    if kind == "pipeline-execution":
        return _execution(old or {}, new)
    if kind == "pipeline-step":
        return _step(old or {}, new)
    shape = _KINDS.get(kind)
    if kind == "endpoint" and old and "PendingDeploymentSummary" in new:
        shape = _DEPLOYMENT if old["EndpointStatus"] == new["EndpointStatus"] else shape
    if shape is None or (old and all(old.get(name) == new.get(name) for name in shape.watched)):
        return None
    detail = {name: new[name] for name in shape.detail if name in new}
    if kind == "model-package":
        detail = _with_times(detail, _iso)
        if old:
            detail["UpdatedModelPackageFields"] = [
                "sourceUri" if name == "SourceUri" else name for name in new.get("_UpdatedFields", [])
            ]
    else:
        detail = _with_times(detail, _milliseconds)
    if kind == "endpoint":
        detail = _endpoint(detail)
    if shape.tags:
        detail["Tags"] = dict(tags(new[shape.arn]))
    return Event(detail_type=shape.detail_type, detail=detail, resources=[new[shape.arn]])


def _endpoint(detail: dict[str, Any]) -> dict[str, Any]:
    shown = ("VariantName", "DesiredWeight", "DesiredInstanceCount")
    variants = [
        {name: variant[name] for name in shown if name in variant}
        for variant in detail.get("ProductionVariants", [])
    ]
    # Events write this status like IN_SERVICE, where the API says InService.
    status = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", detail["EndpointStatus"]).upper()
    return {**detail, "ProductionVariants": variants, "EndpointStatus": status}


def _execution(old: Document, new: Document) -> Event | None:
    before, after = old.get("PipelineExecutionStatus"), new["PipelineExecutionStatus"]
    if before == after:
        return None
    detail = {
        "pipelineExecutionDisplayName": new.get("PipelineExecutionDisplayName"),
        "currentPipelineExecutionStatus": after,
        "previousPipelineExecutionStatus": before,
        "executionStartTime": _iso(new["CreationTime"]),
        "executionEndTime": _iso(new["LastModifiedTime"]) if after in _EXECUTION_OVER else None,
        "pipelineExecutionDescription": new.get("PipelineExecutionDescription"),
        "pipelineArn": new["PipelineArn"],
        "pipelineExecutionArn": new["PipelineExecutionArn"],
    }
    return Event(
        detail_type="SageMaker Model Building Pipeline Execution Status Change",
        detail=_without_none(detail),
        resources=[new["PipelineArn"], new["PipelineExecutionArn"]],
    )


def _step(old: Document, new: Document) -> Event | None:
    before, after = old.get("StepStatus"), new["StepStatus"]
    if before == after:
        return None
    detail = {
        "metadata": _lower_camel(new.get("Metadata", {})),
        "stepStartTime": _iso(new["StartTime"]) if "StartTime" in new else None,
        "stepEndTime": _iso(new["EndTime"]) if "EndTime" in new else None,
        "stepName": new["StepName"],
        "stepType": new["_StepType"],
        "previousStepStatus": before,
        "currentStepStatus": after,
        "failureReason": new.get("FailureReason"),
        "cacheHitResult": _lower_camel(new["CacheHitResult"]) if "CacheHitResult" in new else None,
        "pipelineArn": new["_PipelineArn"],
        "pipelineExecutionArn": new["_PipelineExecutionArn"],
    }
    return Event(
        detail_type="SageMaker Model Building Pipeline Execution Step Status Change",
        detail=_without_none(detail),
        resources=[new["_PipelineArn"], new["_PipelineExecutionArn"]],
    )


def _with_times(node: Any, write: Callable[[float], Any]) -> Any:
    if isinstance(node, dict):
        return {
            name: write(value)
            if name.endswith("Time") and isinstance(value, int | float)
            else _with_times(value, write)
            for name, value in node.items()
        }
    return [_with_times(item, write) for item in node] if isinstance(node, list) else node


def _milliseconds(time: float) -> int:
    return round(time * 1000)


def _iso(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _lower_camel(node: Any) -> Any:
    if isinstance(node, dict):
        return {name[0].lower() + name[1:]: _lower_camel(value) for name, value in node.items()}
    return [_lower_camel(item) for item in node] if isinstance(node, list) else node


def _without_none(detail: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in detail.items() if value is not None}
