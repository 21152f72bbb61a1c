"""Services, as the API makes, changes and shows them.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_services.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from localcloud.ecs import definition_operations, definitions, requests, tags
from localcloud.ecs.errors import invalid, service_not_found, unsupported
from localcloud.ecs.runner import states
from localcloud.ecs.service import SERVICES, Call, Operation
from localcloud.ecs.service_records import deploy, primary
from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.store import now

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,254}")
_BREAKER = {"enable": False, "rollback": False}
_DEPLOYMENT = {"maximumPercent": 200, "minimumHealthyPercent": 100}
# What makes a new deployment when UpdateService changes it.
_DEPLOYED = (
    "networkConfiguration",
    "platformVersion",
    "placementConstraints",
    "placementStrategy",
    "serviceRegistries",
)
_KEPT = ("enableECSManagedTags", "propagateTags", "enableExecuteCommand", "healthCheckGracePeriodSeconds")


def _arn(call: Call, reference: str) -> tuple[str, str]:
    key = call.names.key(call.cluster_name, reference, "service")
    return key, call.names.arn("service", key)


def _check_supported(request: Mapping[str, Any]) -> None:
    if request.get("loadBalancers"):
        raise unsupported("load balancers of services")
    if request.get("serviceConnectConfiguration", {}).get("enabled"):
        raise unsupported("Service Connect")
    if request.get("schedulingStrategy", "REPLICA") != "REPLICA":
        raise unsupported("the scheduling strategy DAEMON")
    controller = request.get("deploymentController", {}).get("type", "ECS")
    kind = request.get("deploymentConfiguration", {}).get("strategy", "ROLLING")
    if controller != "ECS" or kind != "ROLLING":
        raise unsupported(f"deployments other than rolling ones of ECS ({controller}, {kind})")
    for member in ("volumeConfigurations", "vpcLatticeConfigurations"):
        if request.get(member):
            raise unsupported(member)


def _conditions(call: Call) -> dict[str, str | list[str]]:
    found: dict[str, str | list[str]] = {**call.in_cluster()}
    if "taskDefinition" in call.request:
        family, revision = call.names.definition(call.request["taskDefinition"])
        name = family if revision is None else f"{family}:{revision}"
        found["ecs:task-definition"] = call.names.arn("task-definition", name)
    items = call.request.get("capacityProviderStrategy", ())
    if items:
        found["ecs:capacity-provider"] = [
            call.names.arn("capacity-provider", item["capacityProvider"]) for item in items
        ]
    return found


def _deployment_settings(request: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    settings = {**_DEPLOYMENT, **known, **request.get("deploymentConfiguration", {})}
    settings["deploymentCircuitBreaker"] = {**_BREAKER, **settings.get("deploymentCircuitBreaker", {})}
    low, high = settings["minimumHealthyPercent"], settings["maximumPercent"]
    if not 0 <= low <= 100 <= high <= 200 or (low == 100 and high == 100):
        raise invalid(
            "The combination of minimumHealthyPercent and maximumPercent would not allow a deployment."
        )
    return settings


def _create(call: Call) -> dict[str, Any]:
    request, name = call.request, call.request["serviceName"]
    key, arn = _arn(call, name)
    call.require(arn, _conditions(call))
    cluster = call.service.cluster(request.get("cluster"))
    if not _NAME.fullmatch(name):
        raise invalid("Invalid service name.")
    _check_supported(request)
    if "taskDefinition" not in request:
        raise invalid("TaskDefinition can not be blank.")
    definition = definition_operations.find(call.service, request["taskDefinition"])
    launch_type, items = requests.where(request, cluster)
    requests.check_fit(request, definition, launch_type, items)
    definitions.check_constraints(request.get("placementConstraints", []))
    tags.check(request.get("tags", []))
    _check_registries(call, definition)
    if request.get("desiredCount", 0) < 0:
        raise invalid("desiredCount must not be negative.")
    known = call.store.find(SERVICES, key)
    if known is not None and known["status"] != "INACTIVE":
        raise invalid("Creation of service was not idempotent.")
    record: dict[str, Any] = {
        "serviceArn": arn,
        "serviceName": name,
        "clusterArn": cluster["clusterArn"],
        "status": "ACTIVE",
        "desiredCount": request.get("desiredCount", 0),
        "taskDefinition": definition["taskDefinitionArn"],
        "deploymentConfiguration": _deployment_settings(request, {}),
        "deployments": [],
        "events": [],
        "loadBalancers": [],
        "serviceRegistries": request.get("serviceRegistries", []),
        "placementConstraints": request.get("placementConstraints", []),
        "placementStrategy": request.get("placementStrategy", []),
        "schedulingStrategy": "REPLICA",
        "deploymentController": {"type": "ECS"},
        "createdAt": now(),
        "createdBy": call.caller.arn,
        "enableECSManagedTags": False,
        "enableExecuteCommand": False,
        "propagateTags": "NONE",
        **{member: request[member] for member in (*_KEPT, "networkConfiguration") if member in request},
        **({"capacityProviderStrategy": items} if items else {"launchType": launch_type}),
        "_cluster": cluster["clusterName"],
        "_steady": False,
    }
    deploy(record)
    with call.store.transaction():
        if known is not None:
            call.store.delete(SERVICES, key)
        call.store.create(SERVICES, key, record)
        tags.put(call.store, arn, request.get("tags", []))
    return {"service": _shown(call, record, with_tags=True)}


def _check_registries(call: Call, definition: Mapping[str, Any]) -> None:
    for registry in call.request.get("serviceRegistries", ()):
        if "registryArn" not in registry or not call.service.runner.discovery.known(registry):
            raise invalid(f"The service registry {registry.get('registryArn')} does not exist.")
        if definition["networkMode"] != "awsvpc":
            raise unsupported("service registries for network modes other than awsvpc")


def _shown(call: Call, record: dict[str, Any], *, with_tags: bool) -> dict[str, Any]:
    cluster, group = record["_cluster"], f"service:{record['serviceName']}"
    tasks = call.service.runner.active(lambda task: task["_cluster"] == cluster and task["group"] == group)
    running, pending = states(tasks)
    deployments = []
    for each in record["deployments"]:
        own = states(task for task in tasks if task.get("startedBy") == each["id"])
        newest = each["id"] == primary(record)["id"]
        deployments.append(
            {
                **each,
                "desiredCount": record["desiredCount"] if newest else sum(own),
                "runningCount": own[0],
                "pendingCount": own[1],
            }
        )
    return {
        **record,
        "runningCount": running,
        "pendingCount": pending,
        "deployments": deployments,
        "tags": tags.of(call.store, record["serviceArn"]) if with_tags else None,
    }


def _describe(call: Call) -> dict[str, Any]:
    request, found, failures = call.request, [], []
    if not 1 <= len(request["services"]) <= 10:
        raise invalid("From 1 to 10 services can be described.")
    keys = [_arn(call, reference) for reference in request["services"]]
    for _, arn in keys:
        call.require(arn, call.in_cluster())
    call.service.cluster(request.get("cluster"))
    for key, arn in keys:
        record = call.store.find(SERVICES, key)
        if record is None:
            failures.append({"arn": arn, "reason": "MISSING"})
        else:
            found.append(_shown(call, record, with_tags="TAGS" in request.get("include", [])))
    return {"services": found, "failures": failures}


def _list(call: Call) -> dict[str, Any]:
    call.require("*", call.in_cluster())
    cluster = call.service.cluster(call.request.get("cluster"))["clusterName"]
    launch_type = call.request.get("launchType")
    found = call.store.query(
        SERVICES,
        prefix=f"{cluster}/",
        where=lambda each: each["status"] != "INACTIVE" and launch_type in (None, each.get("launchType")),
    )
    arns, token = call.page([each["serviceArn"] for each in found])
    return {"serviceArns": arns, "nextToken": token}


def _active(call: Call, key: str) -> dict[str, Any]:
    record = call.store.find(SERVICES, key)
    if record is None:
        raise service_not_found()
    if record["status"] != "ACTIVE":
        raise ServiceError("ServiceNotActiveException", "Service was not ACTIVE.")
    return record


def _update(call: Call) -> dict[str, Any]:
    request = call.request
    key, arn = _arn(call, request["service"])
    call.require(arn, _conditions(call))
    cluster = call.service.cluster(request.get("cluster"))
    known = _active(call, key)
    _check_supported(request)
    changes: dict[str, Any] = {member: request[member] for member in _KEPT if member in request}
    changes["deploymentConfiguration"] = _deployment_settings(request, known["deploymentConfiguration"])
    deployed = {member: request[member] for member in _DEPLOYED if member in request}
    if "taskDefinition" in request:
        definition = definition_operations.find(call.service, request["taskDefinition"])
        deployed["taskDefinition"] = definition["taskDefinitionArn"]
    if "capacityProviderStrategy" in request:
        _, deployed["capacityProviderStrategy"] = requests.where(request, cluster)
    if request.get("desiredCount", 0) < 0:
        raise invalid("desiredCount must not be negative.")
    definition = definition_operations.find(
        call.service, deployed.get("taskDefinition", known["taskDefinition"]), active=False
    )
    merged = {**known, **deployed}
    items = merged.get("capacityProviderStrategy", [])
    requests.check_fit(merged, definition, "" if items else merged.get("launchType", ""), items)
    definitions.check_constraints(merged["placementConstraints"])
    _check_registries(call, definition)

    def change(record: dict[str, Any]) -> None:
        different = any(record.get(member) != value for member, value in deployed.items())
        record.update(changes | deployed)
        if deployed.get("capacityProviderStrategy"):
            record.pop("launchType", None)
        if request.get("desiredCount", record["desiredCount"]) != record["desiredCount"]:
            record["desiredCount"], record["_steady"] = request["desiredCount"], False
        if different or request.get("forceNewDeployment"):
            deploy(record)

    return {"service": _shown(call, call.store.update(SERVICES, key, change), with_tags=False)}


def _delete(call: Call) -> dict[str, Any]:
    key, arn = _arn(call, call.request["service"])
    call.require(arn, call.in_cluster())
    call.service.cluster(call.request.get("cluster"))
    record = _active(call, key)
    if record["desiredCount"] and not call.request.get("force"):
        raise invalid("The service cannot be stopped while it is scaled above 0.")
    record = call.store.update(SERVICES, key, lambda each: each.update(status="DRAINING", desiredCount=0))
    tags.put(call.store, arn, [], [tag["key"] for tag in tags.of(call.store, arn)])
    return {"service": _shown(call, record, with_tags=False)}


OPERATIONS: dict[str, Operation] = {
    "CreateService": _create,
    "DescribeServices": _describe,
    "ListServices": _list,
    "UpdateService": _update,
    "DeleteService": _delete,
}
