"""Variants of SageMaker endpoints, as namespace `sagemaker` scales them."""

from __future__ import annotations

from typing import Any

from localcloud.autoscaling.scalable import Capacity
from localcloud.context import Cloud, Credentials
from localcloud.sagemaker.store import Store

_PARTS = 4


class Variants:
    """Resource ids are `endpoint/NAME/variant/VARIANT`.

    Args:
        store: of the local SageMaker; it is read, and changed through the API alone.
    """

    def __init__(self, cloud: Cloud, store: Store) -> None:
        self._cloud, self._store = cloud, store

    def exists(self, resource_id: str) -> bool:
        """Whether there is such a variant."""
        endpoint, name = self._find(resource_id)
        return _variant(endpoint, name) is not None

    def capacity(self, resource_id: str) -> Capacity | None:
        """Its instances."""
        endpoint, name = self._find(resource_id)
        if endpoint is None:
            return None
        variant = _variant(endpoint, name)
        if variant is None:
            return Capacity(current=0, settled=False)
        return Capacity(
            current=variant["CurrentInstanceCount"],
            settled=endpoint["EndpointStatus"] == "InService",
            failure=endpoint.get("FailureReason", ""),
        )

    def change(self, resource_id: str, wanted: int, credentials: Credentials) -> None:
        """Ask for instances."""
        _, endpoint, _, variant = resource_id.split("/")
        self._cloud.client("sagemaker", credentials).update_endpoint_weights_and_capacities(
            EndpointName=endpoint,
            DesiredWeightsAndCapacities=[{"VariantName": variant, "DesiredInstanceCount": wanted}],
        )

    def permissions(self, resource_id: str) -> list[tuple[str, str]]:
        """What https://docs.aws.amazon.com/autoscaling/application/userguide/ asks of the caller."""
        cloud, endpoint = self._cloud, resource_id.split("/")[1].lower()
        arn = f"arn:aws:sagemaker:{cloud.region}:{cloud.account}:endpoint/{endpoint}"
        return [("sagemaker:DescribeEndpoint", arn), ("sagemaker:UpdateEndpointWeightsAndCapacities", arn)]

    def _find(self, resource_id: str) -> tuple[dict[str, Any] | None, str]:
        parts = resource_id.split("/")
        if len(parts) != _PARTS:
            return None, ""
        return self._store.find("endpoint", parts[1]), parts[3]


def _variant(endpoint: dict[str, Any] | None, name: str) -> dict[str, Any] | None:
    variants = (endpoint or {}).get("ProductionVariants", [])
    return next((variant for variant in variants if variant["VariantName"] == name), None)
