"""A new task in the shape of DescribeTasks. Pure but for ids and the time."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from localcloud.ecs import definitions
from localcloud.ecs.discovery import private_dns_name
from localcloud.ecs.names import Names
from localcloud.sagemaker.store import now


def new_task(
    names: Names,
    cluster: str,
    identity: str,
    *,
    definition: Mapping[str, Any],
    overrides: Mapping[str, Any],
    address: str,
    zone: str,
    network: Mapping[str, Any],
) -> dict[str, Any]:
    """The record of a task that has no place yet.

    Args:
        cluster: its name.
        identity: of the task, 32 hexadecimal digits.
        definition, overrides: what it runs.
        address: its own.
        network: `awsvpcConfiguration` of the request; empty for other network modes.
    """
    arn, moment = names.arn("task", f"{cluster}/{identity}"), now()
    attachments = [_interface(address, zone, network)] if definition.get("networkMode") == "awsvpc" else []
    interfaces = [
        {"attachmentId": attachment["id"], "privateIpv4Address": address} for attachment in attachments
    ]
    containers = []
    for container in definitions.containers_of(definition, overrides):
        record = {
            "containerArn": names.arn("container", f"{cluster}/{identity}/{uuid.uuid4()}"),
            "taskArn": arn,
            "name": container["name"],
            "image": container["image"],
            "lastStatus": "PENDING",
            "networkInterfaces": interfaces,
            "healthStatus": "UNKNOWN",
            "cpu": str(container.get("cpu", 0)),
        }
        sizes = {name: str(container[name]) for name in ("memory", "memoryReservation") if name in container}
        containers.append(record | sizes)
    named = {override.get("name"): override for override in overrides.get("containerOverrides", ())}
    shown = [named.get(container["name"], {"name": container["name"]}) for container in containers]
    demand = definitions.demand_of(definition, overrides, "", ())
    return {
        "taskArn": arn,
        "clusterArn": names.arn("cluster", cluster),
        "taskDefinitionArn": definition["taskDefinitionArn"],
        "lastStatus": "PROVISIONING",
        "desiredStatus": "RUNNING",
        "healthStatus": "UNKNOWN",
        "connectivity": "CONNECTED",
        "connectivityAt": moment,
        "createdAt": moment,
        "availabilityZone": zone,
        "attachments": attachments,
        "attributes": [{"name": "ecs.cpu-architecture", "value": "x86_64"}],
        "containers": containers,
        "cpu": str(demand.cpu),
        "memory": str(demand.memory),
        "overrides": {**overrides, "containerOverrides": shown, "inferenceAcceleratorOverrides": []},
        "version": 1,
        "_cluster": cluster,
        "_definition": f"{definition['family']}:{definition['revision']}",
        "_address": address,
        "_updatedAt": moment,
    }


def _interface(address: str, zone: str, network: Mapping[str, Any]) -> dict[str, Any]:
    subnets = network.get("subnets") or [""]
    details = {
        "subnetId": subnets[0],
        "networkInterfaceId": f"eni-{uuid.uuid4().hex[:17]}",
        "privateDnsName": private_dns_name(address, zone[:-1]),
        "privateIPv4Address": address,
    }
    return {
        "id": str(uuid.uuid4()),
        "type": "ElasticNetworkInterface",
        "status": "ATTACHED",
        "details": [{"name": name, "value": value} for name, value in details.items()],
    }
