"""What RunTask and services ask alike: where tasks go, and whether they can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.ecs import strategy
from localcloud.ecs.errors import invalid, unsupported
from localcloud.ecs.hosts import FARGATE


def where(request: Mapping[str, Any], cluster: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Launch type and capacity provider strategy of a request; one of both is empty.

    Raises:
        ServiceError: Both are given, or a provider does not belong to the cluster.
    """
    items = request.get("capacityProviderStrategy", [])
    launch_type = request.get("launchType", "")
    if items and launch_type:
        raise invalid(
            "Specifying both a launch type and capacity provider strategy is not supported. Remove one and "
            "try again."
        )
    if launch_type not in ("", "EC2", "FARGATE"):
        raise unsupported(f"the launch type {launch_type}")
    if not items and not launch_type:
        items = cluster["defaultCapacityProviderStrategy"]
    strategy.check(items)
    for item in items:
        if item["capacityProvider"] not in cluster["capacityProviders"]:
            raise invalid(
                "The specified capacity provider strategy cannot contain a capacity provider that is not "
                "associated with the cluster. Associate the capacity provider with the cluster and try again."
            )
    return ("" if items else launch_type or "EC2"), list(items)


def check_fit(
    request: Mapping[str, Any], definition: Mapping[str, Any], launch_type: str, items: list[dict[str, Any]]
) -> None:
    """Refuse what the definition's network mode and compatibilities do not allow."""
    if not all("type" in item for item in request.get("placementStrategy", ())):
        raise invalid("A placement strategy needs a type.")
    awsvpc = definition["networkMode"] == "awsvpc"
    network = request.get("networkConfiguration", {}).get("awsvpcConfiguration")
    if awsvpc and not network:
        raise invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    if network and not awsvpc:
        raise invalid("Network Configuration is not valid for the given networkMode of this task definition.")
    fargate = launch_type == "FARGATE" or any(item["capacityProvider"] in FARGATE for item in items)
    needed = "FARGATE" if fargate else "EC2"
    compatible = definition.get("requiresCompatibilities") or definition["compatibilities"]
    if needed not in compatible:
        raise invalid(f"Task definition does not support launch_type {needed}.")
