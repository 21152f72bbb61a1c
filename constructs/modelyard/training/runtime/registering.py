"""The models of a job that has finished, as versions in the model registry.

Done here and not by the trainer: who may write to the registry runs no code that came with a job.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from .attempt import Attempt, Step
from .errors import RefusedError
from .job import Job, State, registered
from .ports import Model, Ports
from .settings import Settings

# What the model server takes and answers; the pipelines on images register the same.
_TAKES = ("image/jpeg", "image/png", "application/x-image", "application/json")
_ANSWERS = ("application/json",)
_INSTANCES = ("ml.m5.large", "ml.m5.xlarge")
# The report is the trainer's own: its paths may not lead out of the job's folder.
_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(/[A-Za-z0-9][A-Za-z0-9_-]*)*(\.[a-z0-9]+)+")
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModelPackage.html
_NO_VALUE = re.compile(r"[^\w\s.:/=+@-]")
_MOST_PROPERTIES, _LONGEST_NAME, _LONGEST_VALUE = 50, 128, 256


def register(at: Attempt, ports: Ports, settings: Settings) -> Attempt:
    """Add what the trainer has told of; a step of the state machine, which may be done twice.

    Raises:
        RefusedError: SageMaker, or this, takes the models never.
    """
    job, told = ports.jobs.read(at.job), ports.jobs.report(at.job)
    if job is not None and job.state is State.COMPLETED and told is not None and told.attempt == job.attempt:
        if told.models and ports.registry is None:
            raise RefusedError(f"there is no registry for group {job.request.model_group}")
        for model in told.models:
            assert ports.registry is not None
            arn = ports.registry.register(package(job, model, settings))
            ports.jobs.change(at.job, _with(arn, ports.clock()))
    return replace(at, next=Step.OVER)


def _with(arn: str, now: float) -> Callable[[Job], Job]:
    return lambda job: registered(job, arn, now)


def package(job: Job, model: Model, settings: Settings) -> dict[str, Any]:
    """The request for a version that waits for its approval.

    Args:
        job: That made it.
        model: What the trainer told of it.
        settings: Of the cluster.

    Raises:
        RefusedError: a path that leads elsewhere.
    """
    for path in (model.archive, model.metrics):
        if not _PATH.fullmatch(path):
            raise RefusedError(f"job {job.request.job}: {path!r} is no path of a file below its output")
    place = f"{settings.output_uri}{job.request.job}/output/"
    told = {
        "job": f"{job.request.job}/{job.attempt}",
        "model": model.name,
        "input_data": job.request.data,
        "hosts": str(job.request.hosts),
        "cost_usd": f"{job.cost:.2f}",
        **model.figures,
    }
    return {
        "ModelPackageGroupName": job.request.model_group,
        "ModelPackageDescription": f"The {model.name} model of training job {job.request.job}"[:1024],
        "ModelApprovalStatus": "PendingManualApproval",
        "InferenceSpecification": {
            "Containers": [{"Image": settings.serving_image, "ModelDataUrl": f"{place}{model.archive}"}],
            "SupportedContentTypes": list(_TAKES),
            "SupportedResponseMIMETypes": list(_ANSWERS),
            "SupportedRealtimeInferenceInstanceTypes": list(_INSTANCES),
            "SupportedTransformInstanceTypes": list(_INSTANCES),
        },
        "ModelMetrics": {
            "ModelQuality": {
                "Statistics": {"ContentType": "application/json", "S3Uri": f"{place}{model.metrics}"}
            }
        },
        "CustomerMetadataProperties": _properties(told),
        # The job as it was submitted: a name that is used again, after its record is gone, is another one.
        "ClientToken": hashlib.sha256(
            f"{job.request.job}/{job.submitted!r}/{job.attempt}/{model.name}".encode()
        ).hexdigest()[:32],
    }


def _properties(told: Mapping[str, str]) -> dict[str, str]:
    kept = list(told.items())[:_MOST_PROPERTIES]
    return {
        _NO_VALUE.sub("_", name)[:_LONGEST_NAME]: _NO_VALUE.sub("_", value)[:_LONGEST_VALUE]
        for name, value in kept
        if name and value
    }
