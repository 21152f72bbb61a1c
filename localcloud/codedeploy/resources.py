"""`AWS::CodeDeploy::Application` and `::DeploymentGroup`, by way of the service's API.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_CodeDeploy.html
"""

from __future__ import annotations

from typing import Any

from localcloud.autoscaling.resources import typed
from localcloud.aws import administrator
from localcloud.cloudformation.register import Created, Properties, physical_name, register_type
from localcloud.codedeploy.service import SERVICE
from localcloud.context import Cloud
from localcloud.sagemaker import shapes

_LONGEST_NAME = 100


def install(cloud: Cloud) -> None:
    """Let templates use both types."""
    prefix = "AWS::CodeDeploy::"
    register_type(f"{prefix}Application", Application(cloud), name_property="ApplicationName")
    register_type(f"{prefix}DeploymentGroup", DeploymentGroup(cloud), name_property="DeploymentGroupName")


def _client(cloud: Cloud) -> Any:
    return cloud.client(SERVICE, administrator.credentials(cloud.folder))


def request(operation: str, properties: Properties) -> dict[str, Any]:
    """Properties as the API takes them: its members begin with small letters.

    Raises:
        ValueError: A property that only instances and ECS have.
    """
    shape = shapes.input_shape(operation, SERVICE)
    small = _small(dict(properties))
    small["tags"] = properties.get("Tags")
    unknown = sorted(name for name in small if name not in shape.members and name != "tags")
    if unknown:
        raise ValueError(
            f"the local CodeDeploy deploys functions alone; it does not take {', '.join(unknown)}"
        )
    known = {name: value for name, value in small.items() if value is not None and name in shape.members}
    members: dict[str, Any] = typed(known, shape)
    return members


def _small(value: Any) -> Any:
    if isinstance(value, list):
        return [_small(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name[:1].lower() + name[1:]: _small(item) for name, item in value.items()}


class Application:
    """`Ref` is its name."""

    replace_on = frozenset({"ApplicationName", "ComputePlatform"})

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def create(self, logical_id: str, properties: Properties, stack_name: str) -> Created:
        members = request("CreateApplication", properties)
        members.setdefault("applicationName", physical_name(stack_name, logical_id, _LONGEST_NAME))
        _client(self._cloud).create_application(**members)
        return members["applicationName"], {}

    def update(self, physical_id: str, _old: Properties, _new: Properties, _stack_name: str) -> Created:
        # Only tags are left to change, and nothing here reads them.
        return physical_id, {}

    def delete(self, physical_id: str, _properties: Properties) -> None:
        _client(self._cloud).delete_application(applicationName=physical_id)


class DeploymentGroup:
    """`Ref` is its name."""

    replace_on = frozenset({"ApplicationName", "DeploymentGroupName"})

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def create(self, logical_id: str, properties: Properties, stack_name: str) -> Created:
        members = request("CreateDeploymentGroup", properties)
        members.setdefault("deploymentGroupName", physical_name(stack_name, logical_id, _LONGEST_NAME))
        _client(self._cloud).create_deployment_group(**members)
        return members["deploymentGroupName"], {}

    def update(self, physical_id: str, _old: Properties, new: Properties, _stack_name: str) -> Created:
        members = request("CreateDeploymentGroup", new)
        members.pop("tags", None)
        # What a template no longer names is off again.
        members.setdefault("alarmConfiguration", {"enabled": False})
        members.setdefault("autoRollbackConfiguration", {"enabled": False})
        members["currentDeploymentGroupName"] = physical_id
        members.pop("deploymentGroupName", None)
        _client(self._cloud).update_deployment_group(**members)
        return physical_id, {}

    def delete(self, physical_id: str, properties: Properties) -> None:
        _client(self._cloud).delete_deployment_group(
            applicationName=properties["ApplicationName"], deploymentGroupName=physical_id
        )
