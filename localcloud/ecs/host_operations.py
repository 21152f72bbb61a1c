"""Container instances, as the API shows them."""

from __future__ import annotations

import functools
from typing import Any

from localcloud.ecs import hosts, query_language, tags
from localcloud.ecs.errors import invalid
from localcloud.ecs.runner import states
from localcloud.ecs.service import HOST, Call, Operation


def _describe(call: Call) -> dict[str, Any]:
    cluster = call.cluster_name
    keys = [
        call.names.key(cluster, each, "container-instance") for each in call.request["containerInstances"]
    ]
    for key in keys:
        call.require(call.names.arn("container-instance", key), call.in_cluster())
    call.service.runner.refresh(call.service.cluster(cluster))
    found, failures = [], []
    for key in keys:
        record = call.store.find(HOST, key)
        if record is None:
            arn = call.names.arn("container-instance", key)
            failures.append({"arn": arn, "reason": "MISSING"})
        else:
            found.append(_shown(call, record))
    return {"containerInstances": found, "failures": failures}


def _shown(call: Call, record: dict[str, Any]) -> dict[str, Any]:
    arn = record["containerInstanceArn"]
    host = call.service.runner.hosts.of(record)
    running, pending = states(
        call.service.runner.active(lambda task: task.get("containerInstanceArn") == arn)
    )
    whole, left = host.offered, (host.cpu, host.memory, host.gpus)
    return {
        **record,
        "agentConnected": record["status"] != hosts.INACTIVE
        and call.service.runner.hosts.agents.heard(record),
        "runningTasksCount": running,
        "pendingTasksCount": pending,
        "registeredResources": hosts.offered(whole, cpu=whole.cpu, memory=whole.memory, gpus=whole.gpus),
        "remainingResources": hosts.offered(whole, cpu=left[0], memory=left[1], gpus=left[2]),
        "tags": tags.of(call.store, arn) if "TAGS" in call.request.get("include", []) else [],
    }


def _list(call: Call) -> dict[str, Any]:
    call.require(call.names.arn("cluster", call.cluster_name))
    meant = query_language.parse(call.request["filter"]) if call.request.get("filter") else None
    cluster = call.service.cluster(call.request.get("cluster"))
    call.service.runner.refresh(cluster)
    # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListContainerInstances.html
    wanted = call.request.get("status")
    found = [
        record["containerInstanceArn"]
        for record in call.service.runner.hosts.registered(cluster["clusterName"])
        if wanted in (None, record["status"]) and (meant is None or meant(_facts(call, record)))
    ]
    arns, token = call.page(found)
    return {"containerInstanceArns": arns, "nextToken": token}


def _facts(call: Call, record: dict[str, Any]) -> dict[str, str]:
    shown = _shown(call, record)
    counts = {name: str(shown[name]) for name in ("runningTasksCount", "pendingTasksCount")}
    return {**call.service.runner.hosts.of(record).facts, **counts}


def _update_state(call: Call) -> dict[str, Any]:
    """DRAINING: nothing new comes, tasks of services move away, those of RunTask stay."""
    cluster, status = call.cluster_name, call.request["status"]
    if status not in ("ACTIVE", "DRAINING"):
        raise invalid("Container instance status should be one of [ACTIVE, DRAINING].")
    found, failures = [], []
    for reference in call.request["containerInstances"]:
        key = call.names.key(cluster, reference, "container-instance")
        arn = call.names.arn("container-instance", key)
        call.require(arn, call.in_cluster())
        call.service.cluster(cluster)
        known = call.store.find(HOST, key)
        if known is None or known["status"] == hosts.INACTIVE:
            failures.append({"arn": arn, "reason": "MISSING"})
            continue
        found.append(_shown(call, call.store.update(HOST, key, functools.partial(_set_state, status))))
    return {"containerInstances": found, "failures": failures}


def _set_state(status: str, record: dict[str, Any]) -> None:
    record["status"] = status
    record.pop(hosts.WARNED, None)  # what somebody asked for outlasts a notice of Spot's that is taken back


def _deregister(call: Call) -> dict[str, Any]:
    """INACTIVE. By force its tasks count as ended, whatever becomes of their containers."""
    cluster = call.cluster_name
    call.require(call.names.arn("cluster", cluster))
    call.service.cluster(cluster)
    key = call.names.key(cluster, call.request["containerInstance"], "container-instance")
    found = call.store.find(HOST, key)
    if found is None or found["status"] == hosts.INACTIVE:
        raise invalid("The referenced container instance was not found.")
    if not call.service.runner.deregister(key, by_force=call.request.get("force", False)):
        raise invalid("Found running tasks on the instance.")
    return {"containerInstance": _shown(call, call.store.get(HOST, key))}


OPERATIONS: dict[str, Operation] = {
    "DeregisterContainerInstance": _deregister,
    "DescribeContainerInstances": _describe,
    "ListContainerInstances": _list,
    "UpdateContainerInstancesState": _update_state,
}
