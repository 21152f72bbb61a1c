"""Capacity providers: those of Auto Scaling groups, and AWS's two for Fargate.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/asg-capacity-providers.html
"""

from __future__ import annotations

import re
from typing import Any

from localcloud.ecs import tags
from localcloud.ecs.errors import client_error, invalid, unsupported
from localcloud.ecs.hosts import FARGATE, group_exists
from localcloud.ecs.service import CLUSTER, PROVIDER, Call, Operation
from localcloud.sagemaker.errors import ServiceError

_NAME = re.compile(r"(?!aws|ecs|fargate)[A-Za-z0-9_-]{1,255}", re.IGNORECASE)
_SCALING = {
    "status": "DISABLED",
    "targetCapacity": 100,
    "minimumScalingStepSize": 1,
    "maximumScalingStepSize": 10000,
    "instanceWarmupPeriod": 300,
}


def _create(call: Call) -> dict[str, Any]:
    request, name = call.request, call.request["name"]
    arn = call.names.arn("capacity-provider", name)
    call.require(arn)
    if "managedInstancesProvider" in request or "autoScalingGroupProvider" not in request:
        raise unsupported("capacity providers other than those of Auto Scaling groups")
    if not _NAME.fullmatch(name):
        raise invalid(
            "The specified capacity provider name is invalid. Up to 255 letters, numbers, underscores and "
            "hyphens, without the prefixes aws, ecs and fargate."
        )
    if call.store.find(PROVIDER, name) is not None:
        raise client_error("The specified capacity provider already exists.")
    given = request["autoScalingGroupProvider"]
    if not group_exists(call.service.cloud, given["autoScalingGroupArn"]):
        raise client_error("The specified Auto Scaling group ARN is not valid.")
    record = {
        "capacityProviderArn": arn,
        "name": name,
        "status": "ACTIVE",
        "type": "EC2_AUTOSCALING",
        "autoScalingGroupProvider": {
            "managedTerminationProtection": "DISABLED",
            "managedDraining": "ENABLED",
            **given,
            "managedScaling": {**_SCALING, **given.get("managedScaling", {})},
        },
    }
    tags.check(request.get("tags", []))
    call.store.create(PROVIDER, name, record)
    tags.put(call.store, arn, request.get("tags", []))
    return {"capacityProvider": record}


def _describe(call: Call) -> dict[str, Any]:
    request = call.request
    own = [record["name"] for record in call.store.query(PROVIDER)]
    named = [call.names.last(each, "capacity-provider") for each in request.get("capacityProviders", ())]
    found, failures = [], []
    for name in named or [*FARGATE, *own]:
        arn = call.names.arn("capacity-provider", name)
        call.require(arn)
        record = call.store.find(PROVIDER, name)
        if name in FARGATE:
            record = {"capacityProviderArn": arn, "name": name, "status": "ACTIVE", "type": name}
        if record is None:
            failures.append({"arn": arn, "reason": "MISSING"})
            continue
        shown = tags.of(call.store, arn) if "TAGS" in request.get("include", []) else []
        found.append({**record, "tags": shown})
    return {"capacityProviders": found, "failures": failures}


def _update(call: Call) -> dict[str, Any]:
    request, name = call.request, call.request["name"]
    call.require(call.names.arn("capacity-provider", name))
    if call.store.find(PROVIDER, name) is None:
        raise client_error("The specified capacity provider does not exist.")

    def change(record: dict[str, Any]) -> None:
        given, kept = request.get("autoScalingGroupProvider", {}), record["autoScalingGroupProvider"]
        scaling = {**kept["managedScaling"], **given.get("managedScaling", {})}
        record["autoScalingGroupProvider"] = {**kept, **given, "managedScaling": scaling}
        record["updateStatus"] = "UPDATE_COMPLETE"

    return {"capacityProvider": call.store.update(PROVIDER, name, change)}


def _delete(call: Call) -> dict[str, Any]:
    name = call.names.last(call.request["capacityProvider"], "capacity-provider")
    call.require(call.names.arn("capacity-provider", name))
    record = call.store.find(PROVIDER, name)
    if name in FARGATE or record is None:
        raise client_error("The specified capacity provider does not exist, or is AWS's own.")
    if call.store.query(CLUSTER, where=lambda cluster: name in cluster["capacityProviders"]):
        raise ServiceError(
            "ResourceInUseException",
            "The capacity provider cannot be deleted because it is associated with a cluster. Remove the "
            "capacity provider from the cluster and try again.",
        )
    call.store.delete(PROVIDER, name)
    return {"capacityProvider": {**record, "status": "INACTIVE", "updateStatus": "DELETE_COMPLETE"}}


OPERATIONS: dict[str, Operation] = {
    "CreateCapacityProvider": _create,
    "DescribeCapacityProviders": _describe,
    "UpdateCapacityProvider": _update,
    "DeleteCapacityProvider": _delete,
}
