"""Scalable targets: what may be scaled, and between which bounds.

https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html
"""

from __future__ import annotations

import re
import secrets
from typing import Any

from localcloud.autoscaling import service_role
from localcloud.autoscaling.service import AutoScaling, Call, Operation
from localcloud.aws.identity import require
from localcloud.sagemaker.errors import ServiceError, validation
from localcloud.sagemaker.pagination import page
from localcloud.sagemaker.store import now

KIND = "scalable-target"
_PAGE = 50

# Form of the resource ids, by dimension, as the API reference lists them.
_RESOURCE_IDS = {
    "sagemaker:variant:DesiredInstanceCount": r"endpoint/[^/]+/variant/[^/]+",
    "sagemaker:variant:DesiredProvisionedConcurrency": r"endpoint/[^/]+/variant/[^/]+",
    "sagemaker:inference-component:DesiredCopyCount": r"inference-component/[^/]+",
    "ecs:service:DesiredCount": r"service/[^/]+/[^/]+",
    "lambda:function:ProvisionedConcurrency": r"function:[^:]+:[^:]+",
    "dynamodb:table:ReadCapacityUnits": r"table/[^/]+",
    "dynamodb:table:WriteCapacityUnits": r"table/[^/]+",
}


def name_of(request: dict[str, Any]) -> str:
    """Key of a target, which is also what `Ref` returns in a template."""
    return f"{request['ResourceId']}|{request['ScalableDimension']}|{request['ServiceNamespace']}"


def described(request: dict[str, Any]) -> str:
    """A target in the words of the service's errors."""
    return (
        f"service namespace: {request['ServiceNamespace']}, resource ID: {request['ResourceId']}, "
        f"scalable dimension: {request['ScalableDimension']}"
    )


def find(call: Call) -> dict[str, Any]:
    """The target that a request names.

    Raises:
        ServiceError: ObjectNotFoundException.
    """
    found = call.service.store.find(KIND, name_of(call.request))
    if found is None:
        raise ServiceError(
            "ObjectNotFoundException", f"No scalable target found for {described(call.request)}."
        )
    return found


def arn_or_any(call: Call) -> str:
    """The resource that IAM is asked about: the target, or any if it does not exist yet."""
    found = call.service.store.find(KIND, name_of(call.request))
    cloud = call.service.cloud
    any_target = f"arn:aws:application-autoscaling:{cloud.region}:{cloud.account}:scalable-target/*"
    return found["ScalableTargetARN"] if found else any_target


def _register(call: Call) -> dict[str, Any]:
    request, store = call.request, call.service.store
    call.require("RegisterScalableTarget", arn_or_any(call))
    if "Tags" in request:
        call.require("TagResource", arn_or_any(call))
    _check_resource(call)
    _check_caller(call)
    known = store.find(KIND, name_of(request))
    if known is not None and "Tags" in request:
        raise validation("Tags cannot be set on a scalable target that exists; use TagResource.")
    if known is None and not {"MinCapacity", "MaxCapacity"} <= request.keys():
        raise validation("A new scalable target needs MinCapacity and MaxCapacity.")
    merged = {**(known or _new(call)), **{name: request[name] for name in request if name != "Tags"}}
    if merged["MinCapacity"] > merged["MaxCapacity"]:
        raise validation("Minimum capacity must be less than or equal to the maximum capacity.")
    if merged["MinCapacity"] < 0:
        raise validation("Minimum capacity must not be negative.")
    merged["SuspendedState"] = _suspended(merged.get("SuspendedState"))
    # A capacity outside of new bounds is brought within them, whatever the alarms say.
    if {"MinCapacity", "MaxCapacity"} & request.keys():
        merged["_hold"] = True
    if known is None:
        store.create(KIND, name_of(request), merged)
    else:
        store.update(KIND, name_of(request), lambda record: record.update(merged))
    return {"ScalableTargetARN": merged["ScalableTargetARN"]}


def _check_resource(call: Call) -> None:
    request = call.request
    namespace, resource = request["ServiceNamespace"], request["ResourceId"]
    form = _RESOURCE_IDS.get(request["ScalableDimension"])
    if form is None or not request["ScalableDimension"].startswith(f"{namespace}:"):
        raise validation(
            f"Unsupported service namespace, resource type or scalable dimension: {described(request)}."
        )
    if not re.fullmatch(form, resource):
        raise validation(f"Invalid resource ID {resource!r} for {request['ScalableDimension']}.")
    scalable = call.service.scalables.get(namespace)
    if scalable is not None and not scalable.exists(resource):
        raise validation(f"The resource {resource} of {namespace} does not exist.")


def _check_caller(call: Call) -> None:
    """What the caller needs beyond the action itself.

    https://docs.aws.amazon.com/autoscaling/application/userguide/security_iam_id-based-policy-examples.html
    """
    namespace, resource = call.request["ServiceNamespace"], call.request["ResourceId"]
    scalable = call.service.scalables.get(namespace)
    for action, arn in scalable.permissions(resource) if scalable else ():
        require(call.caller, action, arn)
    service_role.ensure(call.service.cloud, namespace, call.caller)


def _new(call: Call) -> dict[str, Any]:
    cloud, namespace = call.service.cloud, call.request["ServiceNamespace"]
    target = f"scalable-target/{secrets.token_hex(18)}"
    return {
        "ScalableTargetARN": f"arn:aws:application-autoscaling:{cloud.region}:{cloud.account}:{target}",
        "RoleARN": service_role.arn(cloud, namespace),
        "CreationTime": now(),
        "_tags": dict(call.request.get("Tags", {})),
    }


def _suspended(state: dict[str, bool] | None) -> dict[str, bool]:
    members = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
    return {member: bool((state or {}).get(member)) for member in members}


def _describe(call: Call) -> dict[str, Any]:
    call.require("DescribeScalableTargets")
    request = call.request
    if "ScalableDimension" in request and "ResourceIds" not in request:
        raise validation("If you specify a scalable dimension, you must also specify a resource ID.")
    found = call.service.store.query(
        KIND,
        where=lambda target: (
            target["ServiceNamespace"] == request["ServiceNamespace"]
            and target["ResourceId"] in request.get("ResourceIds", [target["ResourceId"]])
            and target["ScalableDimension"] == request.get("ScalableDimension", target["ScalableDimension"])
        ),
    )
    chosen, token = page(found, request, key=name_of, default=_PAGE)
    return {"ScalableTargets": chosen, "NextToken": token}


def _deregister(call: Call) -> dict[str, Any]:
    call.require("DeregisterScalableTarget", arn_or_any(call))
    remove(call.service, find(call))
    return {}


def remove(service: AutoScaling, target: dict[str, Any]) -> None:
    """Delete a target with its policies, their alarms and its scheduled actions."""
    from localcloud.autoscaling import policies, scheduled

    for policy in policies.of_target(service, target):
        policies.remove(service, policy)
    for action in scheduled.of_target(service, target):
        scheduled.remove(service, action)
    service.store.delete(KIND, name_of(target))


OPERATIONS: dict[str, Operation] = {
    "RegisterScalableTarget": _register,
    "DescribeScalableTargets": _describe,
    "DeregisterScalableTarget": _deregister,
}
