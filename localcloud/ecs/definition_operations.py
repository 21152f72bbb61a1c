"""Task definitions: families and their revisions.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definitions.html
"""

from __future__ import annotations

from typing import Any

from localcloud.ecs import definitions, tags
from localcloud.ecs.errors import client_error
from localcloud.ecs.service import DEFINITION, FAMILY, Call, Ecs, Operation
from localcloud.sagemaker.store import now

_EMPTY = ("environment", "mountPoints", "volumesFrom", "portMappings", "systemControls")


def find(service: Ecs, reference: str, *, active: bool = True) -> dict[str, Any]:
    """A task definition by family, by family and revision, or by ARN.

    Raises:
        ServiceError: ClientException; there is none, or (`active`) it is deregistered.
    """
    family, revision = service.names.definition(reference)
    if revision is None:
        known = service.store.query(
            DEFINITION, prefix=f"{family}:", where=lambda each: each["status"] == "ACTIVE"
        )
        found = max(known, key=lambda each: int(each["revision"]), default=None)
    else:
        found = service.store.find(DEFINITION, f"{family}:{revision}")
    if found is None:
        raise client_error(
            "Unable to describe task definition." if not active else "TaskDefinition not found."
        )
    if active and found["status"] != "ACTIVE":
        raise client_error("TaskDefinition is inactive")
    return found


def _register(call: Call) -> dict[str, Any]:
    request, store = call.request, call.store
    call.require(call.names.arn("task-definition", f"{request['family']}:*"))
    definitions.check(request)
    definitions.check_constraints(request.get("placementConstraints", []))
    definitions.start_order(request["containerDefinitions"])
    tags.check(request.get("tags", []))
    roles = (request.get("taskRoleArn"), request.get("executionRoleArn"))
    call.pass_roles(*roles)
    given = {name: value for name, value in request.items() if name != "tags"}
    containers = [
        {"cpu": 0, "essential": True, **{name: [] for name in _EMPTY}, **container}
        for container in request["containerDefinitions"]
    ]
    fits = ["EC2", "FARGATE"] if _fits_fargate(request) else ["EC2"]
    with store.transaction():
        family = store.find(FAMILY, request["family"])
        if family is None:
            store.create(FAMILY, request["family"], {"revision": 0})
        revision = store.update(FAMILY, request["family"], _next)["revision"]
        name = f"{request['family']}:{revision}"
        record = {
            "networkMode": "bridge",
            "volumes": [],
            "placementConstraints": [],
            **given,
            "containerDefinitions": containers,
            "taskDefinitionArn": call.names.arn("task-definition", name),
            "revision": revision,
            "status": "ACTIVE",
            "requiresAttributes": [],
            "compatibilities": fits,
            "registeredAt": now(),
            "registeredBy": call.caller.arn,
        }
        store.create(DEFINITION, name, record)
        tags.put(store, record["taskDefinitionArn"], request.get("tags", []))
    return {"taskDefinition": record, "tags": request.get("tags", [])}


def _next(family: dict[str, Any]) -> None:
    family["revision"] += 1


def _fits_fargate(request: dict[str, Any]) -> bool:
    return request.get("networkMode") == "awsvpc" and bool(request.get("cpu") and request.get("memory"))


def _describe(call: Call) -> dict[str, Any]:
    call.require("*")
    found = find(call.service, call.request["taskDefinition"], active=False)
    include = call.request.get("include", [])
    shown = tags.of(call.store, found["taskDefinitionArn"]) if "TAGS" in include else []
    return {"taskDefinition": found, "tags": shown}


def _list(call: Call) -> dict[str, Any]:
    call.require("*")
    request = call.request
    status = request.get("status", "ACTIVE")
    # The prefix is a whole family's name, on AWS too.
    found = call.store.query(
        DEFINITION,
        where=lambda each: (
            each["status"] == status and each["family"] == request.get("familyPrefix", each["family"])
        ),
    )
    found.sort(
        key=lambda each: (each["family"], int(each["revision"])), reverse=request.get("sort") == "DESC"
    )
    arns, token = call.page([each["taskDefinitionArn"] for each in found])
    return {"taskDefinitionArns": arns, "nextToken": token}


def _list_families(call: Call) -> dict[str, Any]:
    call.require("*")
    request = call.request
    families: dict[str, bool] = {}
    for each in call.store.query(DEFINITION, prefix=request.get("familyPrefix", "")):
        families[each["family"]] = families.get(each["family"], False) or each["status"] == "ACTIVE"
    wanted = {"ACTIVE": (True,), "INACTIVE": (False,)}.get(request.get("status", "ALL"), (True, False))
    names, token = call.page(sorted(name for name, active in families.items() if active in wanted))
    return {"families": names, "nextToken": token}


def _deregister(call: Call) -> dict[str, Any]:
    call.require("*")
    family, revision = call.names.definition(call.request["taskDefinition"])
    if revision is None:
        raise client_error("Invalid revision number. Number: null")
    found = find(call.service, f"{family}:{revision}", active=False)
    moment = now()
    return {
        "taskDefinition": call.store.update(
            DEFINITION,
            f"{family}:{found['revision']}",
            lambda record: record.update(status="INACTIVE", deregisteredAt=moment),
        )
    }


OPERATIONS: dict[str, Operation] = {
    "RegisterTaskDefinition": _register,
    "DescribeTaskDefinition": _describe,
    "ListTaskDefinitions": _list,
    "ListTaskDefinitionFamilies": _list_families,
    "DeregisterTaskDefinition": _deregister,
}
