"""Applications, and groups that say how and with which alarms they are deployed."""

from __future__ import annotations

import uuid
from typing import Any

from localcloud.aws.errors import RoleNotFound
from localcloud.aws.identity import require_pass_role
from localcloud.codedeploy import shift
from localcloud.codedeploy.service import APPLICATION, GROUP, Call, CodeDeploy, Operation
from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.store import now

_PRINCIPAL = "codedeploy.amazonaws.com"
_DEFAULT_CONFIG = f"{shift.PREFIX}LambdaAllAtOnce"
_KEPT = ("serviceRoleArn", "deploymentConfigName", "alarmConfiguration", "autoRollbackConfiguration")


def key(request: dict[str, Any]) -> str:
    """`APPLICATION/GROUP`."""
    name = request.get("deploymentGroupName") or request.get("currentDeploymentGroupName")
    return f"{request['applicationName']}/{name}"


def find(service: CodeDeploy, request: dict[str, Any]) -> dict[str, Any]:
    """The group that a request names.

    Raises:
        ServiceError: It or its application does not exist.
    """
    application(service, request["applicationName"])
    found = service.store.find(GROUP, key(request))
    if found is None:
        name = key(request).partition("/")[2]
        raise ServiceError(
            "DeploymentGroupDoesNotExistException", f"No Deployment Group found for name: {name}"
        )
    return found


def application(service: CodeDeploy, name: str) -> dict[str, Any]:
    """Raises ServiceError where there is none of that name."""
    found = service.store.find(APPLICATION, name)
    if found is None:
        raise ServiceError("ApplicationDoesNotExistException", f"No application found for name: {name}")
    return found


def checked_config(name: str) -> str:
    """Raises ServiceError for a configuration that is not one of AWS's for functions."""
    if name not in shift.NAMES:
        raise ServiceError(
            "DeploymentConfigDoesNotExistException",
            f"No deployment configuration found for name: {name}. The local CodeDeploy has "
            f"{', '.join(shift.NAMES)}",
        )
    return name


def _create_application(call: Call) -> dict[str, Any]:
    request, name = call.request, call.request["applicationName"]
    call.require("CreateApplication", "application", name)
    if request.get("tags"):
        call.require("TagResource", "application", name)
    if request.get("computePlatform", "Server") != "Lambda":
        raise ServiceError(
            "InvalidComputePlatformException",
            "The local CodeDeploy deploys functions: computePlatform Lambda",
        )
    if call.service.store.find(APPLICATION, name):
        raise ServiceError("ApplicationAlreadyExistsException", f"Application already exists: {name}")
    record = {
        "applicationId": str(uuid.uuid4()),
        "applicationName": name,
        "computePlatform": "Lambda",
        "createTime": now(),
        "linkedToGitHub": False,
        "_tags": request.get("tags", []),
    }
    call.service.store.create(APPLICATION, name, record)
    return record


def _get_application(call: Call) -> dict[str, Any]:
    call.require("GetApplication", "application", call.request["applicationName"])
    return {"application": application(call.service, call.request["applicationName"])}


def _list_applications(call: Call) -> dict[str, Any]:
    call.require_any("ListApplications")
    return {"applications": [record["applicationName"] for record in call.service.store.query(APPLICATION)]}


def _delete_application(call: Call) -> dict[str, Any]:
    name, store = call.request["applicationName"], call.service.store
    call.require("DeleteApplication", "application", name)
    # One that is gone is no error on AWS either; its groups go with it.
    for group in store.query(GROUP, prefix=f"{name}/"):
        store.delete(GROUP, key(group))
    if store.find(APPLICATION, name):
        store.delete(APPLICATION, name)
    return {}


def _create_group(call: Call) -> dict[str, Any]:
    request, service = call.request, call.service
    call.require("CreateDeploymentGroup", "deploymentgroup", key(request))
    if request.get("tags"):
        call.require("TagResource", "deploymentgroup", key(request))
    application(service, request["applicationName"])
    if service.store.find(GROUP, key(request)):
        raise ServiceError(
            "DeploymentGroupAlreadyExistsException",
            f"Deployment group already exists: {request['deploymentGroupName']}",
        )
    record = {
        "applicationName": request["applicationName"],
        "deploymentGroupId": str(uuid.uuid4()),
        "deploymentGroupName": request["deploymentGroupName"],
        "deploymentConfigName": _DEFAULT_CONFIG,
        "deploymentStyle": {"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"},
        "computePlatform": "Lambda",
        "_tags": request.get("tags", []),
        **_settings(call),
    }
    service.store.create(GROUP, key(request), record)
    return record


def _settings(call: Call) -> dict[str, Any]:
    request = call.request
    if request.get("serviceRoleArn"):
        try:
            require_pass_role(call.caller, request["serviceRoleArn"], _PRINCIPAL)
        except RoleNotFound as error:
            raise ServiceError("InvalidRoleException", f"{error}") from error
    if request.get("deploymentConfigName"):
        checked_config(request["deploymentConfigName"])
    style = request.get("deploymentStyle")
    if style and style != {"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"}:
        raise ServiceError(
            "InvalidDeploymentStyleException",
            "For Lambda, deployment type and option must be BLUE_GREEN and WITH_TRAFFIC_CONTROL.",
        )
    return {name: request[name] for name in _KEPT if name in request}


def _get_group(call: Call) -> dict[str, Any]:
    call.require("GetDeploymentGroup", "deploymentgroup", key(call.request))
    return {"deploymentGroupInfo": find(call.service, call.request)}


def _list_groups(call: Call) -> dict[str, Any]:
    name = call.request["applicationName"]
    call.require("ListDeploymentGroups", "deploymentgroup", f"{name}/*")
    application(call.service, name)
    found = call.service.store.query(GROUP, prefix=f"{name}/")
    return {"applicationName": name, "deploymentGroups": [group["deploymentGroupName"] for group in found]}


def _update_group(call: Call) -> dict[str, Any]:
    request, service = call.request, call.service
    call.require("UpdateDeploymentGroup", "deploymentgroup", key(request))
    find(service, request)
    if "newDeploymentGroupName" in request:
        raise ServiceError("InvalidDeploymentGroupNameException", "The local CodeDeploy renames no groups.")
    settings = _settings(call)
    service.store.update(GROUP, key(request), lambda record: record.update(settings))
    return {}


def _delete_group(call: Call) -> dict[str, Any]:
    call.require("DeleteDeploymentGroup", "deploymentgroup", key(call.request))
    if call.service.store.find(GROUP, key(call.request)):
        call.service.store.delete(GROUP, key(call.request))
    return {}


def _get_config(call: Call) -> dict[str, Any]:
    name = call.request["deploymentConfigName"]
    call.require("GetDeploymentConfig", "deploymentconfig", name)
    config = {
        "deploymentConfigName": checked_config(name),
        "computePlatform": "Lambda",
        "trafficRoutingConfig": shift.routing(name),
    }
    return {"deploymentConfigInfo": config}


OPERATIONS: dict[str, Operation] = {
    "CreateApplication": _create_application,
    "GetApplication": _get_application,
    "ListApplications": _list_applications,
    "DeleteApplication": _delete_application,
    "CreateDeploymentGroup": _create_group,
    "GetDeploymentGroup": _get_group,
    "ListDeploymentGroups": _list_groups,
    "UpdateDeploymentGroup": _update_group,
    "DeleteDeploymentGroup": _delete_group,
    "GetDeploymentConfig": _get_config,
}
