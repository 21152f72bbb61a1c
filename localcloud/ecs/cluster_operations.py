"""Clusters.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/clusters.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from localcloud.ecs import strategy, tags
from localcloud.ecs.errors import cluster_not_found, invalid
from localcloud.ecs.hosts import FARGATE
from localcloud.ecs.runner import states
from localcloud.ecs.service import CLUSTER, PROVIDER, SERVICES, Call, Operation
from localcloud.sagemaker.errors import ServiceError

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,254}")
_KEPT = ("settings", "configuration", "serviceConnectDefaults")


def _create(call: Call) -> dict[str, Any]:
    request, name = call.request, call.request.get("clusterName", "default")
    arn = call.names.arn("cluster", name)
    call.require(
        arn,
        {"ecs:capacity-provider": request["capacityProviders"]} if "capacityProviders" in request else None,
    )
    if not _NAME.fullmatch(name):
        raise invalid("Invalid cluster name.")
    providers = request.get("capacityProviders", [])
    _check_providers(call, providers, request.get("defaultCapacityProviderStrategy", []))
    tags.check(request.get("tags", []))
    known = call.store.find(CLUSTER, name)
    if known is not None and known["status"] == "ACTIVE":
        # Making one that is there answers with it, as on AWS.
        return {"cluster": shown(call, known, frozenset({"TAGS"}))}
    if known is not None:
        call.store.delete(CLUSTER, name)
    record = {
        "clusterArn": arn,
        "clusterName": name,
        "status": "ACTIVE",
        "settings": [{"name": "containerInsights", "value": "disabled"}],
        "capacityProviders": providers,
        "defaultCapacityProviderStrategy": request.get("defaultCapacityProviderStrategy", []),
        **{member: request[member] for member in _KEPT if member in request},
    }
    call.store.create(CLUSTER, name, record)
    tags.put(call.store, arn, request.get("tags", []))
    return {"cluster": shown(call, record, frozenset({"TAGS"}))}


def _check_providers(call: Call, names: Sequence[str], default: Sequence[dict[str, Any]]) -> None:
    for name in names:
        if name not in FARGATE and call.store.find(PROVIDER, name) is None:
            raise invalid(f"The specified capacity provider '{name}' was not found.")
    strategy.check(default)
    for item in default:
        if item["capacityProvider"] not in names:
            raise invalid(
                f"The specified capacity provider strategy cannot contain a capacity provider that is not "
                f"associated with the cluster: {item['capacityProvider']}."
            )


def shown(call: Call, record: dict[str, Any], include: frozenset[str]) -> dict[str, Any]:
    """A cluster as DescribeClusters tells it."""
    name, runner = record["clusterName"], call.service.runner
    running, pending = states(runner.active(lambda task: task["_cluster"] == name))
    services = call.store.query(SERVICES, prefix=f"{name}/", where=lambda each: each["status"] == "ACTIVE")
    answer = {
        **record,
        "runningTasksCount": running,
        "pendingTasksCount": pending,
        "activeServicesCount": len(services),
        "registeredContainerInstancesCount": len(runner.hosts.registered(name)),
        "statistics": [],
        "attachments": [],
        "attachmentsStatus": "UPDATE_COMPLETE",
        "tags": tags.of(call.store, record["clusterArn"]) if "TAGS" in include else [],
    }
    for part, member in (("SETTINGS", "settings"), ("CONFIGURATIONS", "configuration")):
        if part not in include and call.operation == "DescribeClusters":
            answer.pop(member, None)
    if "ATTACHMENTS" not in include:
        del answer["attachments"], answer["attachmentsStatus"]
    return answer


def _describe(call: Call) -> dict[str, Any]:
    found, failures = [], []
    for reference in call.request.get("clusters") or ["default"]:
        name = call.names.last(reference, "cluster")
        arn = call.names.arn("cluster", name)
        call.require(arn)
        record = call.store.find(CLUSTER, name)
        if record is None:
            failures.append({"arn": arn, "reason": "MISSING"})
            continue
        call.service.runner.refresh(record)
        found.append(shown(call, record, frozenset(call.request.get("include", []))))
    return {"clusters": found, "failures": failures}


def _list(call: Call) -> dict[str, Any]:
    call.require("*")
    active = call.store.query(CLUSTER, where=lambda record: record["status"] == "ACTIVE")
    arns, token = call.page([record["clusterArn"] for record in active])
    return {"clusterArns": arns, "nextToken": token}


def _update(call: Call) -> dict[str, Any]:
    call.require(call.names.arn("cluster", call.cluster_name))
    cluster = call.service.cluster(call.request["cluster"])
    changes = {member: call.request[member] for member in _KEPT if member in call.request}
    record = call.store.update(CLUSTER, cluster["clusterName"], lambda known: known.update(changes))
    return {"cluster": shown(call, record, frozenset())}


def _put_providers(call: Call) -> dict[str, Any]:
    request = call.request
    conditions: dict[str, str | list[str]] = {"ecs:capacity-provider": request["capacityProviders"]}
    call.require(call.names.arn("cluster", call.cluster_name), conditions)
    cluster = call.service.cluster(request["cluster"])
    _check_providers(call, request["capacityProviders"], request["defaultCapacityProviderStrategy"])
    dropped = set(cluster["capacityProviders"]) - set(request["capacityProviders"])
    name = cluster["clusterName"]
    used = call.service.runner.active(
        lambda task: task["_cluster"] == name and task.get("capacityProviderName") in dropped
    )
    if used:
        raise ServiceError(
            "ResourceInUseException", "The specified capacity provider is in use and cannot be removed."
        )
    changes = {
        "capacityProviders": request["capacityProviders"],
        "defaultCapacityProviderStrategy": request["defaultCapacityProviderStrategy"],
    }
    record = call.store.update(CLUSTER, name, lambda known: known.update(changes))
    call.service.runner.refresh(record)
    return {"cluster": shown(call, record, frozenset({"ATTACHMENTS"}))}


def _delete(call: Call) -> dict[str, Any]:
    name = call.cluster_name
    call.require(call.names.arn("cluster", name))
    cluster = call.store.find(CLUSTER, name)
    if cluster is None:
        raise cluster_not_found()
    if call.store.query(SERVICES, prefix=f"{name}/", where=lambda each: each["status"] != "INACTIVE"):
        raise ServiceError(
            "ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active."
        )
    if call.service.runner.active(lambda task: task["_cluster"] == name):
        raise ServiceError(
            "ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active."
        )
    # Instances of a group with a fixed size stay registered on AWS, and refuse this until they are gone.
    record = call.store.update(
        CLUSTER, name, lambda known: known.update(status="INACTIVE", capacityProviders=[])
    )
    call.service.runner.refresh(record)
    return {"cluster": shown(call, record, frozenset())}


OPERATIONS: dict[str, Operation] = {
    "CreateCluster": _create,
    "DescribeClusters": _describe,
    "ListClusters": _list,
    "UpdateCluster": _update,
    "UpdateClusterSettings": _update,
    "PutClusterCapacityProviders": _put_providers,
    "DeleteCluster": _delete,
}
