"""Endpoint configurations: which models on how many instances.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from localcloud.sagemaker.errors import ServiceError, validation
from localcloud.sagemaker.hosting import captures
from localcloud.sagemaker.jobs.failure import JobFailure
from localcloud.sagemaker.models import get_model
from localcloud.sagemaker.pagination import arrange, page
from localcloud.sagemaker.service import Call, operation
from localcloud.sagemaker.store import NotFound, now

KIND = "endpoint-config"
MAX_INSTANCES = 20  # https://docs.aws.amazon.com/general/latest/gr/sagemaker.html
# Accepting these and doing nothing would be worse than saying so.
_UNSUPPORTED = {
    "AsyncInferenceConfig": "asynchronous inference",
    "ExplainerConfig": "online explainability",
    "ShadowProductionVariants": "shadow variants",
}
_UNSUPPORTED_IN_VARIANT = {
    "ServerlessConfig": "serverless variants; give InstanceType and InitialInstanceCount",
    "AcceleratorType": "Elastic Inference",
    "InstancePools": "instance pools",
    "ManagedInstanceScaling": "managed instance scaling; use Application Auto Scaling",
}


@operation("CreateEndpointConfig")
def create(call: Call) -> dict[str, Any]:
    """Create a configuration of models that exist."""
    request = call.request
    if "ExecutionRoleArn" in request:
        call.pass_role(request["ExecutionRoleArn"])
    _refuse_unsupported(request)
    variants = [_variant(call, variant) for variant in request["ProductionVariants"]]
    names = [variant["VariantName"] for variant in variants]
    if len(set(names)) != len(names):
        raise validation(f"Each VariantName may be given once: {', '.join(names)}.")
    require_traffic(variant["InitialVariantWeight"] for variant in variants)
    name = request["EndpointConfigName"]
    arn = call.arn(KIND, name)
    record = {
        **{member: value for member, value in request.items() if member != "Tags"},
        "ProductionVariants": variants,
        "EndpointConfigArn": arn,
        "CreationTime": now(),
        "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
    }
    with call.store.transaction():
        # Names that differ in case only share their ARN, which is what has to be unique.
        if call.store.find_alike(KIND, name):
            raise validation(f'Cannot create already existing endpoint configuration "{arn}".')
        call.store.create(KIND, name, record)
    return {"EndpointConfigArn": arn}


@operation("DescribeEndpointConfig")
def describe(call: Call) -> dict[str, Any]:
    """Return a configuration."""
    return get_endpoint_config(call, call.request["EndpointConfigName"])


@operation("ListEndpointConfigs")
def list_configs(call: Call) -> dict[str, Any]:
    """List configurations, newest first unless asked otherwise."""
    found = arrange(call.store.query(KIND), call.request, name="EndpointConfigName")
    chosen, token = page(found, call.request, key=lambda record: record["EndpointConfigArn"])
    return {"EndpointConfigs": chosen, "NextToken": token}


@operation("DeleteEndpointConfig")
def delete(call: Call) -> dict[str, Any]:
    """Delete a configuration; endpoints that were made from it go on, as on AWS."""
    try:
        call.store.delete(KIND, call.request["EndpointConfigName"])
    except NotFound:
        raise _missing(call, call.request["EndpointConfigName"]) from None
    return {}


def get_endpoint_config(call: Call, name: str) -> dict[str, Any]:
    """Return a configuration's record, or ValidationException in AWS's words."""
    record = call.store.find(KIND, name)
    if record is None:
        raise _missing(call, name)
    return record


def require_traffic(weights: Iterable[float]) -> None:
    """Refuse variants of which none would get a request."""
    if not sum(weights) > 0:
        raise validation("The sum of the weights of all production variants must be greater than 0.")


def check_count(where: str, count: int) -> None:
    """Refuse more instances than the account's quota, of which each is a process here."""
    if count > MAX_INSTANCES:
        raise ServiceError(
            "ResourceLimitExceeded",
            f"{where}: the account-level service limit is {MAX_INSTANCES} instances per variant, with a "
            f"request of {count}.",
        )


def _variant(call: Call, variant: dict[str, Any]) -> dict[str, Any]:
    where = f"ProductionVariants {variant['VariantName']}"
    for member, what in _UNSUPPORTED_IN_VARIANT.items():
        if member in variant:
            raise validation(f"{where}: the local SageMaker does not run {what}.")
    for member in ("ModelName", "InstanceType", "InitialInstanceCount"):
        if member not in variant:
            raise validation(f"{where}: {member} is missing.")
    check_count(where, variant["InitialInstanceCount"])
    get_model(call, variant["ModelName"])
    return {"InitialVariantWeight": 1.0, **variant}


def _refuse_unsupported(request: dict[str, Any]) -> None:
    for member, what in _UNSUPPORTED.items():
        if member in request:
            raise validation(f"{member}: the local SageMaker does not do {what}.")
    try:
        captures.parse(request.get("DataCaptureConfig"))
    except JobFailure as failure:
        raise validation(f"DataCaptureConfig: {failure.reason}") from None


def _missing(call: Call, name: str) -> ServiceError:
    return validation(f'Could not find endpoint configuration "{call.arn(KIND, name)}".')
