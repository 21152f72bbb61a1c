"""Tasks: run, stopped, told about.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html
"""

from __future__ import annotations

from typing import Any

from localcloud.ecs import definition_operations, definitions, requests, strategy, tags
from localcloud.ecs.errors import invalid
from localcloud.ecs.runner import Plan
from localcloud.ecs.service import HOST, SERVICES, TASK, TOKEN, Call, Operation
from localcloud.sagemaker.errors import ServiceError

_MOST = 10
_MOST_DESCRIBED = 100
_LONGEST_STARTER = 128
# Of ListTasks, beside the cluster and startedBy.
_FILTERS = ("containerInstance", "desiredStatus", "family", "launchType", "serviceName")


def _run(call: Call) -> dict[str, Any]:
    request = call.request
    _ask(call)
    cluster = call.service.cluster(request.get("cluster"))
    definition = definition_operations.find(call.service, request["taskDefinition"])
    overrides = request.get("overrides", {})
    call.pass_roles(
        *(overrides.get(role) or definition.get(role) for role in ("taskRoleArn", "executionRoleArn"))
    )
    _check(request, definition)
    token = request.get("clientToken")
    if token and (known := call.store.find(TOKEN, token)):
        if known["request"] != request:
            raise ServiceError("ConflictException", "The clientToken was used with other parameters.")
        return {"tasks": [task for key in known["tasks"] if (task := _find(call, key))], "failures": []}
    launch_type, items = requests.where(request, cluster)
    requests.check_fit(request, definition, launch_type, items)
    count = request.get("count", 1)
    if launch_type == "EC2":
        call.service.runner.refresh(cluster)
        if not call.service.runner.hosts.registered(cluster["clusterName"]):
            raise invalid("No Container Instances were found in your cluster.")
    tagged = request.get("tags", [])
    if request.get("propagateTags") == "TASK_DEFINITION":
        tagged = [*tags.of(call.store, definition["taskDefinitionArn"]), *tagged]
    found, failures = call.service.runner.run(
        Plan(
            cluster=cluster,
            definition=definition,
            targets=strategy.divide(items, count, {}) if items else [None] * count,
            launch_type=launch_type,
            group=request.get("group", f"family:{definition['family']}"),
            started_by=request.get("startedBy"),
            overrides=overrides,
            constraints=[*definition["placementConstraints"], *request.get("placementConstraints", [])],
            strategy=request.get("placementStrategy", []),
            network=request.get("networkConfiguration", {}),
            tags=tagged,
            execute_command=request.get("enableExecuteCommand", False),
        )
    )
    if token:
        keys = [f"{task['_cluster']}/{task['taskArn'].rpartition('/')[2]}" for task in found]
        call.store.create(TOKEN, token, {"request": request, "tasks": keys})
    return {"tasks": found, "failures": failures}


def _ask(call: Call) -> None:
    """IAM, with the newest revision where the request names none, as on AWS."""
    request = call.request
    family, revision = call.names.definition(request["taskDefinition"])
    if revision is None:
        try:
            revision = definition_operations.find(call.service, family)["revision"]
        except ServiceError:
            revision = 0
    providers = [item["capacityProvider"] for item in request.get("capacityProviderStrategy", ())]
    conditions: dict[str, str | list[str]] = {
        **call.in_cluster(),
        "ecs:enable-execute-command": str(request.get("enableExecuteCommand", False)).lower(),
    }
    if providers:
        conditions["ecs:capacity-provider"] = [
            call.names.arn("capacity-provider", name) for name in providers
        ]
    call.require(call.names.arn("task-definition", f"{family}:{revision}"), conditions)


def _check(request: dict[str, Any], definition: dict[str, Any]) -> None:
    if not 1 <= request.get("count", 1) <= _MOST:
        raise invalid(f"count must be from 1 to {_MOST}.")
    if len(request.get("startedBy", "")) > _LONGEST_STARTER:
        raise invalid(f"startedBy must be at most {_LONGEST_STARTER} characters.")
    if request.get("group", "").startswith("service:"):
        raise invalid("The group of a task must not begin with service:.")
    definitions.check_constraints(request.get("placementConstraints", []))
    definitions.check_overrides(definition, request.get("overrides", {}))
    tags.check(request.get("tags", []))


def _find(call: Call, key: str) -> dict[str, Any] | None:
    return call.store.find(TASK, key)


def _stop(call: Call) -> dict[str, Any]:
    key = call.names.key(call.cluster_name, call.request["task"], "task")
    call.require(call.names.arn("task", key), call.in_cluster())
    call.service.cluster(call.request.get("cluster"))
    if _find(call, key) is None:
        raise invalid("The referenced task was not found.")
    call.service.runner.stop(key, call.request.get("reason", "Task stopped by user"), "UserInitiated")
    return {"task": call.store.get(TASK, key)}


def _describe(call: Call) -> dict[str, Any]:
    references = call.request["tasks"]
    if not 1 <= len(references) <= _MOST_DESCRIBED:
        raise invalid(f"From 1 to {_MOST_DESCRIBED} tasks can be described.")
    keys = [call.names.key(call.cluster_name, reference, "task") for reference in references]
    for key in keys:
        call.require(call.names.arn("task", key), call.in_cluster())
    call.service.cluster(call.request.get("cluster"))
    found, failures = [], []
    for key in keys:
        record = _find(call, key)
        if record is None:
            failures.append({"arn": call.names.arn("task", key), "reason": "MISSING"})
        else:
            connected = call.service.runner.heard(record) and record["connectivity"] == "CONNECTED"
            shown = {**record, "connectivity": "CONNECTED" if connected else "DISCONNECTED"}
            found.append(shown if "TAGS" in call.request.get("include", []) else {**shown, "tags": []})
    return {"tasks": found, "failures": failures}


def _list(call: Call) -> dict[str, Any]:
    request, cluster = call.request, call.cluster_name
    call.require(call.names.arn("container-instance", f"{cluster}/*"), call.in_cluster())
    call.service.cluster(cluster)
    # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListTasks.html
    if "startedBy" in request and (others := [name for name in _FILTERS if name in request]):
        raise invalid(f"startedBy must be the only filter; the request has {', '.join(others)} as well.")
    wanted: dict[str, Any] = {"desiredStatus": request.get("desiredStatus", "RUNNING")}
    if "startedBy" in request:
        wanted["startedBy"] = request["startedBy"]
    if "launchType" in request:
        wanted["launchType"] = request["launchType"]
    if "serviceName" in request:
        key = call.names.key(cluster, request["serviceName"], "service")
        if call.store.find(SERVICES, key) is None:
            raise ServiceError("ServiceNotFoundException", "Service not found.")
        wanted["group"] = f"service:{key.rpartition('/')[2]}"
    if "containerInstance" in request:
        key = call.names.key(cluster, request["containerInstance"], "container-instance")
        if call.store.find(HOST, key) is None:
            raise invalid("The referenced container instance was not found.")
        wanted["containerInstanceArn"] = call.names.arn("container-instance", key)
    family = request.get("family")
    found = call.store.query(
        TASK,
        prefix=f"{cluster}/",
        where=lambda task: (
            all(task.get(name) == value for name, value in wanted.items())
            and (family is None or task["_definition"].rpartition(":")[0] == family)
        ),
    )
    arns, token = call.page([task["taskArn"] for task in found])
    return {"taskArns": arns, "nextToken": token}


OPERATIONS: dict[str, Operation] = {
    "RunTask": _run,
    "StopTask": _stop,
    "DescribeTasks": _describe,
    "ListTasks": _list,
}
