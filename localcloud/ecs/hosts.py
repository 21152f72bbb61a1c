"""Container instances: entries for the instances of the Auto Scaling groups behind capacity providers.

MiniStack keeps the groups and names instances; nothing runs behind an entry. Managed scaling adds instances
at once when tasks wait, and takes idle ones away after a minute.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cluster-auto-scaling.html
"""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

from localcloud.context import Cloud
from localcloud.ecs.agents import DEAD, Agents
from localcloud.ecs.definitions import demand_from
from localcloud.ecs.instance_types import UNKNOWN, Resources, resources_of
from localcloud.ecs.names import Names, new_id
from localcloud.ecs.placement import Demand, Host
from localcloud.ecs.service import HOST, PROVIDER
from localcloud.sagemaker.store import Store, now

FARGATE = ("FARGATE", "FARGATE_SPOT")
# Of one that was deregistered: it is known for as long as its instance is there, so that it comes in no more.
INACTIVE = "INACTIVE"
# On the record of one that drains since Spot gave notice, and for nothing else.
WARNED = "_warned"
_IDLE_SECONDS = 60.0
_TYPES = "_InstanceTypes"
DRAINS = re.compile(r"ECS_ENABLE_SPOT_INSTANCE_DRAINING\s*=\s*\"?true")
Active = Callable[[Callable[[dict[str, Any]], bool]], list[dict[str, Any]]]


class Hosts:
    """The container instances of all clusters. Its callers hold the runner's lock.

    Args:
        most: of one group, whatever its MaxSize.
        active: returns the tasks that have not ended and meet a condition.
    """

    def __init__(self, cloud: Cloud, store: Store, names: Names, most: int, active: Active) -> None:
        self._cloud, self._store, self._names, self._most = cloud, store, names, most
        self._active = active
        self.agents = Agents(cloud.folder.faults)
        self._idle: dict[str, float] = {}

    def records(self, cluster: str) -> list[dict[str, Any]]:
        """The instances of a cluster, oldest first."""
        return self._store.query(HOST, prefix=f"{cluster}/")

    def registered(self, cluster: str) -> list[dict[str, Any]]:
        """Those that nobody has deregistered."""
        return [record for record in self.records(cluster) if record["status"] != INACTIVE]

    def usable(self, cluster: str, provider: str | None) -> list[Host]:
        """Those that may take tasks, with what they have left; of one provider, or (None) of all."""
        return [
            self.of(record)
            for record in self.records(cluster)
            if record["status"] == "ACTIVE"
            and provider in (None, record["capacityProviderName"])
            and self.agents.heard(record)
        ]

    def of(self, record: dict[str, Any]) -> Host:
        """An instance with what its tasks take."""
        arn = record["containerInstanceArn"]
        tasks = self._active(lambda task: task.get("containerInstanceArn") == arn)
        attributes = {f"attribute:{each['name']}": each["value"] for each in record["attributes"]}
        return Host(
            arn=arn,
            zone=record["_zone"],
            offered=_offered(record["_type"]),
            taken=tuple(demand_from(task["_demand"]) for task in tasks),
            facts={
                "ec2InstanceId": record["ec2InstanceId"],
                "agentConnected": str(self.agents.heard(record)).lower(),
                **attributes,
            },
        )

    def refresh(self, cluster: dict[str, Any]) -> list[str]:
        """Bring the entries to what the groups have now; the ARNs of those whose instance is gone.

        One whose agent is not heard stays, as `DEAD`.
        """
        name, there = cluster["clusterName"], set()
        for provider in self._providers(cluster):
            with self._scope():
                group = _group(provider)
                instances = list(_instances(group, self._most)) if group else []
                kind = _instance_type(group) if group else ""
            for instance in instances:
                there.add(instance["InstanceId"])
                self._register(name, provider["name"], instance, kind)
        gone = [record for record in self.records(name) if record["ec2InstanceId"] not in there]
        for record in gone:
            if record["status"] != INACTIVE and not self.agents.heard(record):
                self._store.update(HOST, _key(record), lambda each: each.update({DEAD: True}))
            else:
                self._store.delete(HOST, _key(record))
        return [record["containerInstanceArn"] for record in gone]

    def grow(self, cluster: dict[str, Any], provider: str, demand: Demand) -> bool:
        """Add an instance for a task that waits; False where that would not help, or the group is full."""
        found = next((each for each in self._providers(cluster) if each["name"] == provider), None)
        if found is None or not managed(found):
            return False
        with self._scope():
            group = _group(found)
            if group is None or group["DesiredCapacity"] >= min(group["MaxSize"], self._most):
                return False
            empty = Host(arn="", zone="", offered=_offered(_instance_type(group)))
            if empty.refusal(demand) is not None:
                return False
            group["DesiredCapacity"] += 1
        self.refresh(cluster)
        return True

    def shrink(self, cluster: dict[str, Any], clock: float) -> None:
        """Take away what managed scaling added and no task has needed for a while."""
        managed_names = {each["name"]: each for each in self._providers(cluster) if managed(each)}
        for record in self.records(cluster["clusterName"]):
            arn, provider = record["containerInstanceArn"], managed_names.get(record["capacityProviderName"])
            if provider is None or self.of(record).taken or record.get(DEAD):
                self._idle.pop(arn, None)
                continue
            if now() - self._idle.setdefault(arn, now()) < _IDLE_SECONDS / clock:
                continue
            with self._scope():
                group = _group(provider)
                if group is None or group["DesiredCapacity"] <= group["MinSize"]:
                    continue
                group["DesiredCapacity"] -= 1
                group["Instances"][:] = [
                    each for each in group["Instances"] if each["InstanceId"] != record["ec2InstanceId"]
                ]
            self._idle.pop(arn, None)
            self._store.delete(HOST, _key(record))

    def lose(self, instance: str) -> None:
        """An instance is gone; its group, which is to have as many as before, gets another one."""
        from ministack.services import autoscaling

        with self._scope():
            for group in autoscaling._asgs.values():
                group["Instances"][:] = [
                    each for each in group["Instances"] if each["InstanceId"] != instance
                ]

    def drains(self, record: dict[str, Any]) -> bool:
        """Whether the instance's agent takes no more tasks once Spot has given notice.

        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/container-instance-spot.html
        """
        provider = self._store.find(PROVIDER, record["capacityProviderName"])
        with self._scope():
            group = _group(provider) if provider else None
            data = _template(group).get("UserData") or "" if group else ""
        with contextlib.suppress(ValueError):
            data = base64.b64decode(data, validate=True).decode(errors="replace")
        return DRAINS.search(data) is not None

    def _providers(self, cluster: dict[str, Any]) -> Iterable[dict[str, Any]]:
        for name in cluster["capacityProviders"]:
            found = self._store.find(PROVIDER, name)
            if found is not None and found["status"] == "ACTIVE":
                yield found

    def _register(self, cluster: str, provider: str, instance: dict[str, Any], kind: str) -> None:
        known = self._store.query(HOST, where=lambda each: each["ec2InstanceId"] == instance["InstanceId"])
        if known:  # also by another cluster: an instance's agent knows one
            return
        identity, zone = new_id(), instance["AvailabilityZone"]
        attributes = {"ecs.availability-zone": zone, "ecs.os-type": "linux"}
        if kind:
            attributes["ecs.instance-type"] = kind
        record = {
            "containerInstanceArn": self._names.arn("container-instance", f"{cluster}/{identity}"),
            "ec2InstanceId": instance["InstanceId"],
            "capacityProviderName": provider,
            "version": 1,
            "versionInfo": {"agentVersion": "0.0.0", "dockerVersion": "modelyard"},
            "status": "ACTIVE",
            "agentConnected": True,
            "attributes": [{"name": name, "value": value} for name, value in attributes.items()],
            "registeredAt": now(),
            "attachments": [],
            "_cluster": cluster,
            "_zone": zone,
            "_type": kind,
        }
        self._store.create(HOST, f"{cluster}/{identity}", record)

    def _scope(self) -> AbstractContextManager[Any]:
        from ministack.core.responses import request_scope

        scope: AbstractContextManager[Any] = request_scope(self._cloud.account, self._cloud.region)
        return scope


def managed(provider: dict[str, Any]) -> bool:
    """Whether ECS scales the group."""
    scaling = provider.get("autoScalingGroupProvider", {}).get("managedScaling", {})
    return bool(scaling.get("status") == "ENABLED")


def offered(resources: Resources, *, cpu: int, memory: int, gpus: int) -> list[dict[str, Any]]:
    """Resources as DescribeContainerInstances lists them, with what is left of them."""
    listed: list[dict[str, Any]] = [
        {"name": name, "type": "INTEGER", "doubleValue": 0.0, "longValue": 0, "integerValue": value}
        for name, value in (("CPU", cpu), ("MEMORY", memory))
    ]
    if resources.gpus:
        listed.append(
            {"name": "GPU", "type": "STRINGSET", "stringSetValue": [f"GPU-{n}" for n in range(gpus)]}
        )
    return listed


def group_exists(cloud: Cloud, reference: str) -> bool:
    """Whether there is an Auto Scaling group of that ARN, or name."""
    from ministack.core.responses import request_scope

    with request_scope(cloud.account, cloud.region):
        return _group({"autoScalingGroupProvider": {"autoScalingGroupArn": reference}}) is not None


def keep_instance_types() -> None:
    """Let groups from templates remember the types of a mixed instances policy, which MiniStack drops."""
    from ministack.services.cloudformation import provisioners

    original = provisioners._asg_fields

    def fields(properties: dict[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = original(properties)
        template = (properties.get("MixedInstancesPolicy") or {}).get("LaunchTemplate") or {}
        if template:
            specification = template.get("LaunchTemplateSpecification")
            kept["LaunchTemplate"] = provisioners._asg_launch_template(specification)
        kept[_TYPES] = [
            each["InstanceType"] for each in template.get("Overrides") or () if "InstanceType" in each
        ]
        return kept

    provisioners._asg_fields = fields


def know_images() -> None:
    """Let templates find the images for container instances, as the CDK's `EcsOptimizedImage` does.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/retrieve-ecs-optimized_AMI.html
    """
    from ministack.services import ssm

    known = ssm._PUBLIC_AMI_PARAMETERS
    image = next(iter(known.values()))
    for system in ("amazon-linux-2", "amazon-linux-2023"):
        for kind in ("", "/arm64", "/gpu", "/inf", "/neuron"):
            known.setdefault(f"/aws/service/ecs/optimized-ami/{system}{kind}/recommended/image_id", image)


def _offered(instance_type: str) -> Resources:
    return resources_of(instance_type) if instance_type else UNKNOWN


def _group(provider: dict[str, Any]) -> dict[str, Any] | None:
    from ministack.services import autoscaling

    reference = provider.get("autoScalingGroupProvider", {}).get("autoScalingGroupArn", "")
    group: dict[str, Any] | None = autoscaling._asgs.get(reference.rpartition("/")[2])
    return group


def _instances(group: dict[str, Any], most: int) -> Iterable[dict[str, Any]]:
    from ministack.services import autoscaling

    # A group from a template has none until somebody counts them.
    autoscaling._reconcile_instances(group)
    return list(group["Instances"])[:most]


def _instance_type(group: dict[str, Any]) -> str:
    """Of the group's first choice; empty if it names none."""
    return str(group[_TYPES][0] if group.get(_TYPES) else _template(group).get("InstanceType", ""))


def _template(group: dict[str, Any]) -> dict[str, Any]:
    """The newest data of its launch template; empty if it has none."""
    from ministack.services import ec2

    template = ec2._launch_templates.get((group.get("LaunchTemplate") or {}).get("LaunchTemplateId", ""))
    versions = template["Versions"] if template else []
    return dict(versions[-1]["LaunchTemplateData"]) if versions else {}


def _key(record: dict[str, Any]) -> str:
    return f"{record['_cluster']}/{record['containerInstanceArn'].rpartition('/')[2]}"
