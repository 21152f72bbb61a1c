"""Services of ECS, as namespace `ecs` scales them."""

from __future__ import annotations

from typing import Any

from localcloud.autoscaling.scalable import Capacity
from localcloud.context import Cloud, Credentials
from localcloud.sagemaker.store import Store


class Services:
    """Resource ids are `service/CLUSTER/SERVICE`; what is scaled is the desired count.

    Args:
        store: of the local ECS; it is read, and changed through the API alone.
    """

    def __init__(self, cloud: Cloud, store: Store) -> None:
        self._cloud, self._store = cloud, store

    def exists(self, resource_id: str) -> bool:
        """Whether there is such a service."""
        return self._find(resource_id) is not None

    def capacity(self, resource_id: str) -> Capacity | None:
        """Its desired count: tasks that cannot start must not keep it from being changed."""
        service = self._find(resource_id)
        return None if service is None else Capacity(current=service["desiredCount"], settled=True)

    def change(self, resource_id: str, wanted: int, credentials: Credentials) -> None:
        """Set the desired count."""
        _, cluster, service = resource_id.split("/")
        self._cloud.client("ecs", credentials).update_service(
            cluster=cluster, service=service, desiredCount=wanted
        )

    def permissions(self, resource_id: str) -> list[tuple[str, str]]:
        """What https://docs.aws.amazon.com/autoscaling/application/userguide/ asks of the caller."""
        cloud = self._cloud
        arn = f"arn:aws:ecs:{cloud.region}:{cloud.account}:{resource_id}"
        return [("ecs:DescribeServices", arn), ("ecs:UpdateService", arn)]

    def _find(self, resource_id: str) -> dict[str, Any] | None:
        service = self._store.find("service", resource_id.removeprefix("service/"))
        return service if service is not None and service["status"] == "ACTIVE" else None
