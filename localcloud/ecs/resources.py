"""CloudFormation's ECS types, by way of the service's API.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_ECS.html
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError

from localcloud.aws import administrator
from localcloud.cloudformation.properties import PropertyError, typed
from localcloud.cloudformation.register import Created, Properties, physical_name, register_type
from localcloud.context import Cloud
from localcloud.ecs.service import SERVICE
from localcloud.sagemaker import shapes

_LONGEST_NAME = 255
# AWS gives a service three hours to become stable.
_STABLE_WITHIN = 900.0
_PAUSE = 0.25
_EVENTS = 3
_FORCE = "ForceNewDeployment"
# Written out: asking botocore's model would load it at every start of the cloud.
_DEFINED = (
    "ContainerDefinitions", "Cpu", "EnableFaultInjection", "EphemeralStorage", "ExecutionRoleArn", "Family",
    "InferenceAccelerators", "IpcMode", "Memory", "NetworkMode", "PidMode", "PlacementConstraints",
    "ProxyConfiguration", "RequiresCompatibilities", "RuntimePlatform", "TaskRoleArn", "Volumes",
)  # fmt: skip
# Names that templates and the API write differently.
_RENAMED = {
    "Cluster": {"ClusterSettings": "settings"},
    "Service": {"PlacementStrategies": "placementStrategy"},
}


def install(cloud: Cloud) -> None:
    """Let templates use the five types."""
    prefix = "AWS::ECS::"
    register_type(f"{prefix}Cluster", Cluster(cloud), name_property="ClusterName")
    register_type(f"{prefix}CapacityProvider", CapacityProvider(cloud), name_property="Name")
    register_type(f"{prefix}ClusterCapacityProviderAssociations", Associations(cloud), tags=False)
    register_type(f"{prefix}TaskDefinition", TaskDefinition(cloud))
    register_type(f"{prefix}Service", Service(cloud), name_property="ServiceName")


def request(kind: str, operation: str, properties: Properties) -> dict[str, Any]:
    """Properties as the API takes them: members begin with small letters, the keys of maps stay.

    Raises:
        PropertyError: One that the API does not have.
    """
    shape = shapes.input_shape(operation, SERVICE)
    renamed = {_RENAMED.get(kind, {}).get(name, name): value for name, value in properties.items()}
    members: dict[str, Any] = typed(_small(renamed, shape, kind), shape)
    return members


def _small(value: Any, shape: Any, path: str) -> Any:
    if shape.type_name == "list" and isinstance(value, list):
        return [_small(item, shape.member, path) for item in value]
    if shape.type_name != "structure" or not isinstance(value, Mapping):
        return value
    found: dict[str, Any] = {}
    for name, item in value.items():
        member = name[:1].lower() + name[1:]
        # Some begin with several capitals, for instance EFSVolumeConfiguration.
        if member not in shape.members:
            member = next((each for each in shape.members if each.lower() == name.lower()), "")
        if not member:
            raise PropertyError(f"{path}: the local ECS does not take the property {name}.")
        if item is not None:
            found[member] = _small(item, shape.members[member], f"{path}.{name}")
    return found


class _Type:
    """What the types share."""

    replace_on: frozenset[str] = frozenset()

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    @property
    def client(self) -> Any:
        return self._cloud.client(SERVICE, administrator.credentials(self._cloud.folder))

    def retag(self, arn: str, old: Properties, new: Properties) -> None:
        """Bring a resource's tags to what the template says."""
        before = {tag["Key"] for tag in old.get("Tags") or ()}
        after = {tag["Key"]: str(tag["Value"]) for tag in new.get("Tags") or ()}
        if gone := sorted(before - after.keys()):
            self.client.untag_resource(resourceArn=arn, tagKeys=gone)
        if after:
            tags = [{"key": key, "value": value} for key, value in after.items()]
            self.client.tag_resource(resourceArn=arn, tags=tags)

    def gone(self, call: Any, **members: Any) -> bool:
        """Delete; True if it was gone already."""
        try:
            call(**members)
        except ClientError as error:
            code, text = error.response["Error"]["Code"], error.response["Error"]["Message"]
            missing = code.endswith(("NotFoundException", "NotActiveException")) or "does not exist" in text
            if not missing:
                raise
            return True
        return False


class Cluster(_Type):
    """`Ref` is its name."""

    replace_on = frozenset({"ClusterName"})

    def create(self, logical_id: str, properties: Properties, stack_name: str) -> Created:
        members = request("Cluster", "CreateCluster", properties)
        members.setdefault("clusterName", physical_name(stack_name, logical_id, _LONGEST_NAME))
        arn = self.client.create_cluster(**members)["cluster"]["clusterArn"]
        return members["clusterName"], {"Arn": arn}

    def update(self, physical_id: str, old: Properties, new: Properties, _stack_name: str) -> Created:
        members = request("Cluster", "CreateCluster", new)
        changes = {name: members[name] for name in ("settings", "configuration") if name in members}
        arn = self.client.update_cluster(cluster=physical_id, **changes)["cluster"]["clusterArn"]
        providers = ("CapacityProviders", "DefaultCapacityProviderStrategy")
        if any(old.get(name) != new.get(name) for name in providers):
            self.client.put_cluster_capacity_providers(
                cluster=physical_id,
                capacityProviders=members.get("capacityProviders", []),
                defaultCapacityProviderStrategy=members.get("defaultCapacityProviderStrategy", []),
            )
        self.retag(arn, old, new)
        return physical_id, {"Arn": arn}

    def delete(self, physical_id: str, _properties: Properties) -> None:
        self.gone(self.client.delete_cluster, cluster=physical_id)


class CapacityProvider(_Type):
    """`Ref` is its name."""

    replace_on = frozenset({"Name"})

    def create(self, logical_id: str, properties: Properties, stack_name: str) -> Created:
        members = request("CapacityProvider", "CreateCapacityProvider", properties)
        members.setdefault("name", physical_name(stack_name, logical_id, _LONGEST_NAME))
        self.client.create_capacity_provider(**members)
        return members["name"], {}

    def update(self, physical_id: str, old: Properties, new: Properties, _stack_name: str) -> Created:
        members = request("CapacityProvider", "CreateCapacityProvider", new)
        settings = {**members["autoScalingGroupProvider"]}
        group = settings.pop("autoScalingGroupArn")
        before = request("CapacityProvider", "CreateCapacityProvider", old)["autoScalingGroupProvider"]
        if group != before["autoScalingGroupArn"]:
            raise PropertyError(
                f"{physical_id}: the local ECS does not change the group of a capacity provider."
            )
        answer = self.client.update_capacity_provider(name=physical_id, autoScalingGroupProvider=settings)
        self.retag(answer["capacityProvider"]["capacityProviderArn"], old, new)
        return physical_id, {}

    def delete(self, physical_id: str, _properties: Properties) -> None:
        self.gone(self.client.delete_capacity_provider, capacityProvider=physical_id)


class Associations(_Type):
    """`Ref` is the cluster's name."""

    replace_on = frozenset({"Cluster"})

    def create(self, _logical_id: str, properties: Properties, _stack_name: str) -> Created:
        return self._put(properties)

    def update(self, _physical_id: str, _old: Properties, new: Properties, _stack_name: str) -> Created:
        return self._put(new)

    def delete(self, physical_id: str, _properties: Properties) -> None:
        self.gone(
            self.client.put_cluster_capacity_providers,
            cluster=physical_id,
            capacityProviders=[],
            defaultCapacityProviderStrategy=[],
        )

    def _put(self, properties: Properties) -> Created:
        members = request("ClusterCapacityProviderAssociations", "PutClusterCapacityProviders", properties)
        members.setdefault("capacityProviders", [])
        members.setdefault("defaultCapacityProviderStrategy", [])
        return str(self.client.put_cluster_capacity_providers(**members)["cluster"]["clusterName"]), {}


class TaskDefinition(_Type):
    """`Ref` is the ARN of a revision; every change but one of tags makes a new one."""

    replace_on = frozenset(_DEFINED)

    def create(self, logical_id: str, properties: Properties, stack_name: str) -> Created:
        members = request("TaskDefinition", "RegisterTaskDefinition", properties)
        members.setdefault("family", physical_name(stack_name, logical_id, _LONGEST_NAME))
        arn = self.client.register_task_definition(**members)["taskDefinition"]["taskDefinitionArn"]
        return arn, {"TaskDefinitionArn": arn}

    def update(self, physical_id: str, old: Properties, new: Properties, _stack_name: str) -> Created:
        self.retag(physical_id, old, new)
        return physical_id, {"TaskDefinitionArn": physical_id}

    def delete(self, physical_id: str, _properties: Properties) -> None:
        self.gone(self.client.deregister_task_definition, taskDefinition=physical_id)


class Service(_Type):
    """`Ref` is its ARN. Made and changed when its tasks run, as on AWS."""

    replace_on = frozenset({"ServiceName", "Cluster", "LaunchType", "SchedulingStrategy", "Role"})

    def create(self, logical_id: str, properties: Properties, stack_name: str) -> Created:
        members = self._members(properties)
        members.setdefault("serviceName", physical_name(stack_name, logical_id, _LONGEST_NAME))
        members.setdefault("desiredCount", 1)
        service = self.client.create_service(**members)["service"]
        arn = str(service["serviceArn"])
        try:
            self._settle(service)
        except Exception:
            # What failed to be created is not deleted by CloudFormation.
            self.delete(arn, properties)
            raise
        return arn, {"ServiceArn": arn, "Name": members["serviceName"]}

    def update(self, physical_id: str, old: Properties, new: Properties, _stack_name: str) -> Created:
        try:
            self._settle(self._change(physical_id, new, force=new.get(_FORCE) != old.get(_FORCE)))
        except Exception:
            # MiniStack rolls back the resources before this one, and leaves out what failed itself.
            with suppress(RuntimeError):
                self._settle(self._change(physical_id, old, force=False))
            raise
        self.retag(physical_id, old, new)
        return physical_id, {"ServiceArn": physical_id, "Name": physical_id.rpartition("/")[2]}

    def _change(self, physical_id: str, properties: Properties, *, force: bool) -> dict[str, Any]:
        members = self._members(properties)
        for fixed in ("serviceName", "launchType", "schedulingStrategy", "tags", "role"):
            members.pop(fixed, None)
        members |= {"service": physical_id, "cluster": _cluster(physical_id)}
        changed: dict[str, Any] = self.client.update_service(**members, forceNewDeployment=force)["service"]
        return changed

    def delete(self, physical_id: str, _properties: Properties) -> None:
        cluster = _cluster(physical_id)
        if self.gone(self.client.delete_service, cluster=cluster, service=physical_id, force=True):
            return
        deadline = time.monotonic() + _STABLE_WITHIN
        while self._record(physical_id)["status"] == "DRAINING" and time.monotonic() < deadline:
            time.sleep(_PAUSE)

    def _members(self, properties: Properties) -> dict[str, Any]:
        known = {name: value for name, value in properties.items() if name != _FORCE}
        return request("Service", "CreateService", known)

    def _settle(self, begun: dict[str, Any]) -> None:
        """Wait until the service's newest deployment, as it is now, alone runs its tasks."""
        arn, deployment = begun["serviceArn"], begun["deployments"][0]["id"]
        deadline = time.monotonic() + _STABLE_WITHIN
        while True:
            service = self._record(arn)
            newest = service["deployments"][0] if service["deployments"] else {}
            # Another one is the roll-back of the circuit breaker.
            failed = newest.get("id") != deployment or newest["rolloutState"] == "FAILED"
            settled = len(service["deployments"]) == 1 and service["runningCount"] == service["desiredCount"]
            if settled and not failed and newest["rolloutState"] == "COMPLETED":
                return
            if failed or time.monotonic() > deadline:
                raise RuntimeError(f"{arn} did not stabilize: {why_unstable(service, deployment)}")
            time.sleep(_PAUSE)

    def _record(self, arn: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.describe_services(cluster=_cluster(arn), services=[arn])[
            "services"
        ][0]
        return found


def why_unstable(service: Mapping[str, Any], deployment: str) -> str:
    """What the events of a service say of a deployment: its failure first, however much came after, and the
    newest.

    Args:
        service: as DescribeServices shows it.
    """
    told = [str(event["message"]) for event in service["events"]]
    failure = [message for message in told if f"(deployment {deployment}) deployment failed" in message]
    return " ".join(dict.fromkeys([*failure, *told[:_EVENTS]]))


def _cluster(arn: str) -> str:
    """Of a service's ARN."""
    return arn.split("/")[1]
