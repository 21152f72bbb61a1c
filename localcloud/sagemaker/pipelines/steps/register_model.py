"""RegisterModel steps: a new version in a model package group."""

from typing import Any

from localcloud.sagemaker.pipelines.failures import StepFailure, job_failure
from localcloud.sagemaker.pipelines.steps.context import StepContext, StepResult

_ENDED = frozenset({"Completed", "Failed"})


def run_register_model(context: StepContext) -> StepResult:
    """Create a model package, in a group that is created if need be, as Pipelines does on AWS.

    See https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html#step-type-register-model.
    """
    request = context.arguments()
    origin = {"GeneratedBy": context.execution.arn}
    request["MetadataProperties"] = {**origin, **(request.get("MetadataProperties") or {})}
    arn: str = _create(context, request)["ModelPackageArn"]
    metadata = {"RegisterModel": {"Arn": arn}}
    context.record.executing(metadata)
    name = arn.split(":model-package/", 1)[1]
    context.store.wait("model-package", name, lambda record: record["ModelPackageStatus"] in _ENDED)
    described = context.call("DescribeModelPackage", {"ModelPackageName": arn})
    if described["ModelPackageStatus"] == "Failed":
        raise job_failure(f"the model package {arn} failed: {described.get('ModelPackageStatusDetails')}")
    return StepResult(properties=described, metadata=metadata)


def _create(context: StepContext, request: dict[str, Any]) -> dict[str, Any]:
    group = request.get("ModelPackageGroupName")
    try:
        return context.call("CreateModelPackage", request)
    except StepFailure as failure:
        if not group or group.startswith("arn:") or "does not exist" not in failure.reason:
            raise
    context.call("CreateModelPackageGroup", {"ModelPackageGroupName": group})
    return context.call("CreateModelPackage", request)
