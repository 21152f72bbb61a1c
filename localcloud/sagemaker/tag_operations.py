"""AddTags, ListTags and DeleteTags."""

from __future__ import annotations

from typing import Any

from localcloud.sagemaker import arns
from localcloud.sagemaker.errors import validation
from localcloud.sagemaker.pagination import page
from localcloud.sagemaker.service import Call, operation
from localcloud.sagemaker.tags import add_tags, remove_tags, tagged, tags_of

_MEMBERS = {
    "endpoint": "EndpointArn",
    "endpoint-config": "EndpointConfigArn",
    "hyper-parameter-tuning-job": "HyperParameterTuningJobArn",
    "model": "ModelArn",
    "model-package": "ModelPackageArn",
    "model-package-group": "ModelPackageGroupArn",
    "pipeline": "PipelineArn",
    "processing-job": "ProcessingJobArn",
    "training-job": "TrainingJobArn",
    "transform-job": "TransformJobArn",
}
_PAGE = 50  # every tag that a resource may have


@operation("AddTags")
def add(call: Call) -> dict[str, Any]:
    """Add tags to a resource, or overwrite their values; the answer has all tags."""
    return {"Tags": add_tags(call.store, _existing(call), call.request["Tags"])}


@operation("ListTags")
def list_tags(call: Call) -> dict[str, Any]:
    """List the tags of a resource."""
    tags = tags_of(call.store, _existing(call))
    chosen, token = page(tags, call.request, key=lambda tag: tag["Key"], default=_PAGE)
    return {"Tags": chosen, "NextToken": token}


@operation("DeleteTags")
def delete(call: Call) -> dict[str, Any]:
    """Remove tags by key."""
    remove_tags(call.store, _existing(call), call.request["TagKeys"])
    return {}


def _existing(call: Call) -> str:
    """The resource's ARN in the store's case, or ValidationException."""
    resource = arns.parse(call.cloud, call.request["ResourceArn"])
    wanted = call.arn(resource.kind, resource.name)
    if tagged(wanted) != wanted:
        raise validation(f"{wanted} has the tags of its group: use {tagged(wanted)}.")
    member = _MEMBERS.get(resource.kind)
    if member is None:
        raise validation(f"Invalid ARN: {call.request['ResourceArn']} is not of a kind that has tags here.")
    if not call.store.query(resource.kind, where=lambda record: record.get(member) == wanted):
        raise validation("Resource does not exist.")
    return wanted
