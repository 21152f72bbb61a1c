"""Cloud Map for tasks: services enter their tasks, and every task's `/etc/hosts` has what is entered.

There is no name server here. A name with A records resolves in tasks, within a second of the entry, and
nowhere else on this machine.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-discovery.html
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from localcloud.context import Cloud

_FIRST, _LAST = 1, 254
HostNames = dict[str, list[str]]


class Discovery:
    """Reads and writes MiniStack's Cloud Map."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def enter(self, task: Mapping[str, Any], registry: Mapping[str, Any]) -> None:
        """Register a task's address with the service that a registry names."""
        from ministack.services import servicediscovery

        cluster, identity = task["_cluster"], task["taskArn"].rpartition("/")[2]
        attributes = {
            "AWS_INSTANCE_IPV4": task["_address"],
            "AVAILABILITY_ZONE": task["availabilityZone"],
            "REGION": self._cloud.region,
            "ECS_CLUSTER_NAME": cluster,
            "ECS_SERVICE_NAME": task["group"].removeprefix("service:"),
            "ECS_TASK_DEFINITION_FAMILY": task["taskDefinitionArn"].rpartition("/")[2].rpartition(":")[0],
        }
        port = registry.get("port") or registry.get("containerPort")
        if port:
            attributes["AWS_INSTANCE_PORT"] = str(port)
        members = {"ServiceId": _service_id(registry), "InstanceId": identity, "Attributes": attributes}
        with self._scope():
            servicediscovery._register_instance(members)

    def leave(self, task: Mapping[str, Any], registry: Mapping[str, Any]) -> None:
        """Take a task's entry away; one that is gone is no error."""
        from ministack.services import servicediscovery

        identity = task["taskArn"].rpartition("/")[2]
        with self._scope():
            servicediscovery._deregister_instance(
                {"ServiceId": _service_id(registry), "InstanceId": identity}
            )

    def known(self, registry: Mapping[str, Any]) -> bool:
        """Whether Cloud Map has the service that a registry names."""
        from ministack.services import servicediscovery

        with self._scope():
            return _service_id(registry) in servicediscovery._services

    def names(self) -> HostNames:
        """The addresses of every name with A records."""
        from ministack.services import servicediscovery

        found: HostNames = {}
        with self._scope():
            for identity, service in list(servicediscovery._services.items()):
                namespace = servicediscovery._namespaces.get(service["NamespaceId"]) or {}
                records = (service.get("DnsConfig") or {}).get("DnsRecords") or []
                if not any(record.get("Type") == "A" for record in records) or not namespace:
                    continue
                health = servicediscovery._instance_health_status.get(identity) or {}
                entered = list((servicediscovery._instances.get(identity) or {}).items())
                addresses = [
                    instance["Attributes"]["AWS_INSTANCE_IPV4"]
                    for name, instance in entered
                    if "AWS_INSTANCE_IPV4" in instance.get("Attributes", {})
                    and health.get(name) != "UNHEALTHY"
                ]
                if addresses:
                    found[f"{service['Name']}.{namespace['Name']}"] = sorted(addresses)
        return found

    def _scope(self) -> AbstractContextManager[Any]:
        from ministack.core.responses import request_scope

        scope: AbstractContextManager[Any] = request_scope(self._cloud.account, self._cloud.region)
        return scope


def _service_id(registry: Mapping[str, Any]) -> str:
    return str(registry["registryArn"].rpartition("/")[2])


class Addresses:
    """A loopback address of its own for each task, so that tasks may listen on the same port of theirs.

    Elsewhere than on Linux there is one loopback address, which all share.
    """

    def __init__(self) -> None:
        self._next = itertools.cycle(
            f"127.2.{high}.{low}" for high in range(256) for low in range(_FIRST, _LAST)
        )

    def take(self, used: Iterable[str]) -> str:
        """One that no running task has; the last one given back comes last again."""
        if sys.platform != "linux":
            return "127.0.0.1"
        taken = set(used)
        return next(address for address in self._next if address not in taken)


def host_name(address: str) -> str:
    """The host name of a task with this address."""
    return f"ip-{address.replace('.', '-')}"


def private_dns_name(address: str, region: str) -> str:
    """As the VPC names what has this address."""
    domain = "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"
    return f"{host_name(address)}.{domain}"
