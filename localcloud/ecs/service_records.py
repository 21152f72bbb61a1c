"""Services in the shape of DescribeServices. Pure but for ids and the time."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from typing import Any

from localcloud.sagemaker.store import now

_EVENTS = 100
_DEPLOYED = (
    "taskDefinition",
    "launchType",
    "capacityProviderStrategy",
    "networkConfiguration",
    "platformVersion",
)


def deployment(record: Mapping[str, Any]) -> dict[str, Any]:
    """A new deployment of a service as it is now."""
    moment = now()
    return {
        "id": f"ecs-svc/{secrets.randbelow(10**19):019d}",
        "status": "PRIMARY",
        "failedTasks": 0,
        "createdAt": moment,
        "updatedAt": moment,
        "rolloutState": "IN_PROGRESS",
        "rolloutStateReason": "ECS deployment in progress.",
        **{member: record[member] for member in _DEPLOYED if record.get(member)},
    }


def deploy(record: dict[str, Any]) -> None:
    """Begin a new deployment; the ones before it are on their way out."""
    for each in record["deployments"]:
        each["status"] = "ACTIVE"
    record["deployments"].insert(0, deployment(record))
    record["_steady"] = False
    note(record, f"has started a deployment {record['deployments'][0]['id']}.")


def primary(record: Mapping[str, Any]) -> dict[str, Any]:
    """The newest deployment."""
    found: dict[str, Any] = record["deployments"][0]
    return found


def note(record: dict[str, Any], text: str) -> None:
    """Add an event, unless it is the last one again."""
    message = f"(service {record['serviceName']}) {text}"
    if record["events"] and record["events"][0]["message"] == message:
        return
    record["events"].insert(0, {"id": str(uuid.uuid4()), "createdAt": now(), "message": message})
    del record["events"][_EVENTS:]
