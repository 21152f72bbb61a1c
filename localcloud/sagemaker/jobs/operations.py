"""Create, Describe, List and Stop for processing, training and transform jobs.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_Operations_Amazon_SageMaker_Service.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.containers.public_images.metrics import algorithm_metrics
from localcloud.sagemaker.errors import resource_in_use, validation
from localcloud.sagemaker.image_uri import require_image
from localcloud.sagemaker.jobs import processing, requests, training
from localcloud.sagemaker.jobs.runner import ACTIVE, Watch
from localcloud.sagemaker.models import get_model, model_containers
from localcloud.sagemaker.pagination import arrange, page
from localcloud.sagemaker.service import Call, operation
from localcloud.sagemaker.store import now


@dataclass(frozen=True, slots=True)
class _Kind:
    """Names of one kind of job: in the store, in the API, in messages."""

    kind: str
    noun: str
    words: str

    @property
    def name(self) -> str:
        return f"{self.noun}Name"

    @property
    def status(self) -> str:
        return f"{self.noun}Status"

    @property
    def arn(self) -> str:
        return f"{self.noun}Arn"


PROCESSING = _Kind("processing-job", "ProcessingJob", "processing job")
TRAINING = _Kind("training-job", "TrainingJob", "training job")
TRANSFORM = _Kind("transform-job", "TransformJob", "transform job")


@operation("CreateProcessingJob")
def create_processing_job(call: Call) -> dict[str, Any]:
    """Store and start a processing job."""
    requests.check_processing(call.request)
    require_image(call.cloud, "ImageUri", call.request["AppSpecification"]["ImageUri"])
    call.pass_role(call.request["RoleArn"])
    record = _copy(call)
    record.setdefault("StoppingCondition", {"MaxRuntimeInSeconds": processing.DEFAULT_MAX_RUNTIME})
    for entry in record.get("ProcessingInputs", []):
        entry.setdefault("AppManaged", False)
        entry["S3Input"].setdefault("S3DataDistributionType", "FullyReplicated")
        entry["S3Input"].setdefault("S3InputMode", "File")
    return _start(call, PROCESSING, record)


@operation("CreateTrainingJob")
def create_training_job(call: Call) -> dict[str, Any]:
    """Store and start a training job."""
    return start_training(call)


def start_training(
    call: Call, watch: Watch | None = None, members: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Check, store and start a training job.

    Args:
        call: with a CreateTrainingJob request.
        watch: who follows the job.
        members: of the record beside the request's.
    """
    requests.check_training(call.request)
    require_image(call.cloud, "TrainingImage", call.request["AlgorithmSpecification"]["TrainingImage"])
    call.pass_role(call.request["RoleArn"])
    record = _copy(call)
    record.setdefault("StoppingCondition", {}).setdefault("MaxRuntimeInSeconds", training.DEFAULT_MAX_RUNTIME)
    for flag in (
        "EnableNetworkIsolation",
        "EnableInterContainerTrafficEncryption",
        "EnableManagedSpotTraining",
    ):
        record.setdefault(flag, False)
    algorithm = record["AlgorithmSpecification"]
    defined = algorithm_metrics(algorithm["TrainingImage"], record.get("HyperParameters", {}))
    if defined and not algorithm.get("MetricDefinitions"):
        algorithm["MetricDefinitions"] = defined
    record["SecondaryStatusTransitions"] = []
    training.enter(record, "Starting", "Starting the training job", now())
    record.update(members or {})
    return _start(call, TRAINING, record, watch)


@operation("CreateTransformJob")
def create_transform_job(call: Call) -> dict[str, Any]:
    """Store and start a transform job of an existing model."""
    model = get_model(call, call.request["ModelName"])
    containers = model_containers(call.store, call.request["ModelName"])
    requests.check_transform(call.request, containers)
    if "ExecutionRoleArn" not in model:
        raise validation(f"Model {model['ModelName']} has no ExecutionRoleArn; create it with one.")
    record = _copy(call)
    record["TransformInput"].setdefault("SplitType", "None")
    record["TransformInput"].setdefault("CompressionType", "None")
    record["TransformOutput"].setdefault("AssembleWith", "None")
    # The model as it is now: deleting it does not disturb the job.
    record["_Container"] = containers[0]
    record["_ExecutionRoleArn"] = model["ExecutionRoleArn"]
    record["_Isolated"] = model.get("EnableNetworkIsolation", False)
    return _start(call, TRANSFORM, record)


def _copy(call: Call) -> dict[str, Any]:
    return {name: value for name, value in call.request.items() if name != "Tags"}


def _start(call: Call, kind: _Kind, record: dict[str, Any], watch: Watch | None = None) -> dict[str, Any]:
    name, moment = call.request[kind.name], now()
    arn = call.arn(kind.kind, name)
    record.update(
        {
            kind.arn: arn,
            kind.status: "InProgress",
            "CreationTime": moment,
            "LastModifiedTime": moment,
            "_Name": name,
        }
    )
    with call.store.transaction():
        # Names that differ in case only share their ARN, which is what has to be unique.
        if call.store.find_alike(kind.kind, name):
            raise resource_in_use(
                f"{kind.words.capitalize()} names must be unique within an AWS account and region, and a "
                f"{kind.words} with this name already exists ({arn})"
            )
        call.store.create(kind.kind, name, record)
    call.sagemaker.jobs.start(kind.kind, name, watch)
    return {kind.arn: arn}


def _existing(call: Call, kind: _Kind) -> dict[str, Any]:
    """The job, or ValidationException. Its ARN has small letters: who has only that asks with its end, as
    AWS's SDK does in `from_processing_arn`."""
    record = call.store.find_alike(kind.kind, call.request[kind.name])
    if record is None:
        raise validation("Requested resource not found.")
    return record


def _describe(kind: _Kind) -> Callable[[Call], dict[str, Any]]:
    def describe(call: Call) -> dict[str, Any]:
        record = _existing(call, kind)
        if kind is TRAINING:
            # AWS always has it, and `Estimator.attach` of its SDK relies on that.
            record["OutputDataConfig"].setdefault("KmsKeyId", "")
        elif kind is TRANSFORM:
            record["TransformOutput"].setdefault("KmsKeyId", "")
        return record

    return describe


def _list(kind: _Kind, key: str) -> Callable[[Call], dict[str, Any]]:
    def list_jobs(call: Call) -> dict[str, Any]:
        records = call.store.query(kind.kind)
        found = arrange(records, call.request, name=kind.name, status=kind.status)
        chosen, token = page(found, call.request, key=lambda record: str(record[kind.arn]))
        return {key: chosen, "NextToken": token}

    return list_jobs


def _stop(kind: _Kind) -> Callable[[Call], None]:
    def stop(call: Call) -> None:
        def change(record: dict[str, Any]) -> None:
            status = record[kind.status]
            if status not in ACTIVE:
                raise validation(f"The request was rejected because the {kind.words} is in status {status}.")
            if status == "InProgress":
                record[kind.status] = "Stopping"
                record["LastModifiedTime"] = now()
                if kind is TRAINING:
                    training.enter(record, "Stopping", "Stopping the training job", now())

        name = _existing(call, kind)["_Name"]
        call.store.update(kind.kind, name, change)
        call.sagemaker.jobs.stop(kind.kind, name)

    return stop


for _kind, _key in (
    (PROCESSING, "ProcessingJobSummaries"),
    (TRAINING, "TrainingJobSummaries"),
    (TRANSFORM, "TransformJobSummaries"),
):
    operation(f"Describe{_kind.noun}")(_describe(_kind))
    operation(f"List{_kind.noun}s")(_list(_kind, _key))
    operation(f"Stop{_kind.noun}")(_stop(_kind))
