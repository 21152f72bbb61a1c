"""Deployments: asked for, told about, stopped."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from localcloud.codedeploy import appspec, groups
from localcloud.codedeploy.service import DEPLOYMENT, Call, CodeDeploy, Operation, new_deployment_id
from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.store import now

ENDED = frozenset({"Succeeded", "Failed", "Stopped"})


def begin(
    service: CodeDeploy, group: dict[str, Any], revision: dict[str, Any], *, creator: str, config: str | None
) -> str:
    """Start a deployment to a group; its id.

    Raises:
        ServiceError: The revision cannot be deployed, or another deployment of the alias is on its way.
    """
    target = appspec.target_of(revision)
    wanted = asdict(target)

    def conflicts(record: dict[str, Any]) -> bool:
        same = record["_target"]["function"] == target.function and record["_target"]["alias"] == target.alias
        return same and record["status"] not in ENDED

    deployment_id = new_deployment_id()
    with service.store.transaction():
        if service.store.query(DEPLOYMENT, where=conflicts):
            raise ServiceError(
                "DeploymentLimitExceededException",
                f"A conflicting deployment is in progress for {target.function}:{target.alias}.",
            )
        service.store.create(
            DEPLOYMENT,
            deployment_id,
            {
                "applicationName": group["applicationName"],
                "deploymentGroupName": group["deploymentGroupName"],
                "deploymentConfigName": config or group["deploymentConfigName"],
                "deploymentId": deployment_id,
                "revision": revision,
                "status": "Created",
                "createTime": now(),
                "creator": creator,
                "computePlatform": "Lambda",
                "deploymentStyle": group["deploymentStyle"],
                "autoRollbackConfiguration": group.get("autoRollbackConfiguration"),
                "_target": wanted,
            },
        )
    service.mover.start(deployment_id, group)
    return deployment_id


def end_interrupted(service: CodeDeploy) -> None:
    """Say of deployments that an earlier run of the cloud left that they failed; aliases stay as they are."""
    reason = {"code": "INTERNAL_ERROR", "message": "The local cloud was stopped during the deployment."}
    for record in service.store.query(DEPLOYMENT, where=lambda record: record["status"] not in ENDED):
        service.store.update(
            DEPLOYMENT,
            record["deploymentId"],
            lambda left: left.update(status="Failed", errorInformation=reason, completeTime=now()),
        )


def _find(call: Call) -> dict[str, Any]:
    found = call.service.store.find(DEPLOYMENT, call.request["deploymentId"])
    if found is None:
        raise ServiceError(
            "DeploymentDoesNotExistException",
            f"The deployment {call.request['deploymentId']} does not exist.",
        )
    return found


def _create(call: Call) -> dict[str, Any]:
    request, service = call.request, call.service
    if "deploymentGroupName" not in request:
        raise ServiceError("DeploymentGroupNameRequiredException", "Deployment Group name is missing.")
    call.require("CreateDeployment", "deploymentgroup", groups.key(request))
    if "revision" not in request:
        raise ServiceError("RevisionRequiredException", "Revision is required.")
    group = groups.find(service, request)
    if "serviceRoleArn" not in group:
        raise ServiceError("InvalidRoleException", "The deployment group has no service role.")
    config = request.get("deploymentConfigName")
    if config:
        call.require("GetDeploymentConfig", "deploymentconfig", config)
        groups.checked_config(config)
    return {
        "deploymentId": begin(service, group, request["revision"], creator="user", config=config),
    }


def _get(call: Call) -> dict[str, Any]:
    found = call.service.store.find(DEPLOYMENT, call.request["deploymentId"])
    call.require("GetDeployment", "deploymentgroup", groups.key(found) if found else "*")
    return {"deploymentInfo": _find(call)}


def _list(call: Call) -> dict[str, Any]:
    request = call.request
    name = groups.key(request) if "deploymentGroupName" in request else "*"
    call.require("ListDeployments", "deploymentgroup", name)
    wanted = request.get("includeOnlyStatuses")

    def matches(record: dict[str, Any]) -> bool:
        members = ("applicationName", "deploymentGroupName")
        same = all(record[member] == request.get(member, record[member]) for member in members)
        return same and (not wanted or record["status"] in wanted)

    found = call.service.store.query(DEPLOYMENT, where=matches)
    return {"deployments": [record["deploymentId"] for record in reversed(found)]}


def _stop(call: Call) -> dict[str, Any]:
    call.require_any("StopDeployment")
    record = _find(call)
    if record["status"] in ENDED:
        raise ServiceError(
            "DeploymentAlreadyCompletedException",
            f"The deployment {record['deploymentId']} has already completed.",
        )
    call.service.mover.stop(record["deploymentId"])
    return {"status": "Pending", "statusMessage": "The deployment is being stopped."}


OPERATIONS: dict[str, Operation] = {
    "CreateDeployment": _create,
    "GetDeployment": _get,
    "ListDeployments": _list,
    "StopDeployment": _stop,
}
