"""What of a Create request cannot run here, said before anything starts."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import Any

from localcloud.sagemaker.errors import ServiceError, validation
from localcloud.sagemaker.jobs.association import Association, AssociationError
from localcloud.sagemaker.jobs.metrics import pattern_problem

_PROCESSING = "/opt/ml/processing"
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTransformJob.html
_MAX_IN_FLIGHT = 100


def _unsupported(where: str, what: str) -> ServiceError:
    return validation(f"{where}: the local SageMaker does not support {what}.")


def check_processing(request: Mapping[str, Any]) -> None:
    """Raise ValidationException for a processing job that cannot run."""
    for entry in request.get("ProcessingInputs", []):
        where = f"ProcessingInputs {entry['InputName']}"
        if "DatasetDefinition" in entry:
            raise _unsupported(where, "DatasetDefinition; copy the data to S3 and use S3Input")
        source = entry.get("S3Input")
        if source is None:
            raise validation(f"{where}: S3Input is missing.")
        if source.get("S3InputMode", "File") != "File":
            raise _unsupported(where, "S3InputMode Pipe; use File")
        if "LocalPath" not in source and not entry.get("AppManaged"):
            raise validation(f"{where}: LocalPath is required unless the input is AppManaged.")
        if source.get("S3CompressionType", "None") != "None":
            raise validation(f"{where}: S3CompressionType Gzip needs S3InputMode Pipe.")
    for output in request.get("ProcessingOutputConfig", {}).get("Outputs", []):
        where = f"Outputs {output['OutputName']}"
        if "FeatureStoreOutput" in output:
            raise _unsupported(where, "FeatureStoreOutput; use S3Output")
        if "S3Output" not in output:
            raise validation(f"{where}: S3Output is missing.")
        if "LocalPath" not in output["S3Output"] and not output.get("AppManaged"):
            raise validation(f"{where}: LocalPath is required unless the output is AppManaged.")
    inputs = [entry.get("S3Input", {}) for entry in request.get("ProcessingInputs", [])]
    outputs = request.get("ProcessingOutputConfig", {}).get("Outputs", [])
    _unique((entry["InputName"] for entry in request.get("ProcessingInputs", [])), "InputName")
    _unique((output["OutputName"] for output in outputs), "OutputName")
    places = [
        entry["LocalPath"]
        for entry in [*inputs, *(o.get("S3Output", {}) for o in outputs)]
        if "LocalPath" in entry
    ]
    for place in places:
        if not f"{posixpath.normpath(place)}/".startswith(_PROCESSING + "/"):
            raise validation(f"LocalPath {place} must lie under {_PROCESSING}.")
    _unique((posixpath.normpath(place) for place in places), "LocalPath")


def check_training(request: Mapping[str, Any]) -> None:
    """Raise ValidationException for a training job that cannot run."""
    algorithm = request.get("AlgorithmSpecification")
    if algorithm is None or "TrainingImage" not in algorithm:
        raise _unsupported("AlgorithmSpecification", "jobs without a TrainingImage")
    resources = request.get("ResourceConfig")
    if resources is None or "InstanceGroups" in resources:
        raise _unsupported("ResourceConfig", "InstanceGroups; give InstanceType and InstanceCount")
    for member in ("InstanceType", "InstanceCount"):
        if member not in resources:
            raise validation(f"ResourceConfig: {member} is missing.")
    _spot(bool(request.get("EnableManagedSpotTraining")), request.get("StoppingCondition", {}))
    target = request["OutputDataConfig"]["S3OutputPath"]
    if not re.fullmatch(r"s3://[^/]+(?:/.*)?", target):
        raise validation(f"S3OutputPath {target} is not an S3 URI such as s3://bucket/prefix.")
    _input_mode("AlgorithmSpecification", algorithm["TrainingInputMode"])
    if problem := pattern_problem(algorithm.get("MetricDefinitions", [])):
        raise validation(f"MetricDefinitions: {problem}")
    for channel in request.get("InputDataConfig", []):
        where = f"InputDataConfig {channel['ChannelName']}"
        source = channel["DataSource"].get("S3DataSource")
        if source is None:
            raise _unsupported(where, "file systems as a source; use S3DataSource")
        if source["S3DataType"] not in {"S3Prefix", "ManifestFile"}:
            raise _unsupported(where, f"S3DataType {source['S3DataType']}; use S3Prefix or ManifestFile")
        _input_mode(where, channel.get("InputMode", "File"))
        for member, what in (("CompressionType", "Gzip"), ("RecordWrapperType", "RecordIO")):
            if channel.get(member, "None") != "None":
                raise _unsupported(where, f"{member} {what}, which needs InputMode Pipe")
    _unique((channel["ChannelName"] for channel in request.get("InputDataConfig", [])), "ChannelName")


def _spot(spot: bool, condition: Mapping[str, Any]) -> None:
    wait = condition.get("MaxWaitTimeInSeconds")
    if spot and wait is None:
        raise validation("MaxWaitTimeInSeconds must be provided for managed spot training jobs.")
    if not spot and wait is not None:
        raise validation("MaxWaitTimeInSeconds is for managed spot training jobs: EnableManagedSpotTraining.")
    if wait is not None and wait < condition.get("MaxRuntimeInSeconds", 86_400):
        raise validation("MaxWaitTimeInSeconds must be greater than or equal to MaxRuntimeInSeconds.")


def _input_mode(where: str, mode: str) -> None:
    if mode == "Pipe":
        raise _unsupported(where, "InputMode Pipe; use File or FastFile")


def check_transform(request: Mapping[str, Any], containers: list[dict[str, Any]]) -> None:
    """Raise ValidationException for a transform job that cannot run."""
    if len(containers) != 1:
        raise _unsupported(f"ModelName {request['ModelName']}", "inference pipelines of several containers")
    if containers[0].get("Mode") == "MultiModel":
        raise validation(
            f"Model {request['ModelName']} is a multi-model; batch transform runs single models."
        )
    source = request["TransformInput"]
    if source["DataSource"]["S3DataSource"]["S3DataType"] not in {"S3Prefix", "ManifestFile"}:
        raise _unsupported("TransformInput", "AugmentedManifestFile; use S3Prefix or ManifestFile")
    split = source.get("SplitType", "None")
    if split not in {"None", "Line"}:
        raise _unsupported("TransformInput", f"SplitType {split}; use None or Line")
    compression = source.get("CompressionType", "None")
    if compression not in {"None", "Gzip"}:
        raise _unsupported("TransformInput", f"CompressionType {compression}; use None or Gzip")
    if split == "None" and request.get("BatchStrategy") == "MultiRecord":
        raise validation("BatchStrategy MultiRecord needs a SplitType of Line, RecordIO, or TFRecord.")
    try:
        Association.of(request)
    except AssociationError as error:
        raise validation(f"DataProcessing: {error}.") from error
    if request.get("MaxConcurrentTransforms", 1) * request.get("MaxPayloadInMB", 6) > _MAX_IN_FLIGHT:
        raise validation(
            f"MaxConcurrentTransforms multiplied by MaxPayloadInMB must not exceed {_MAX_IN_FLIGHT} MB."
        )
    if request.get("DataCaptureConfig"):
        raise _unsupported("DataCaptureConfig", "data capture")


def _unique(names: Iterable[str], member: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise validation(f"Each {member} may be given once: {name}.")
        seen.add(name)
