"""Which variants may be scaled, and what they have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localcloud.autoscaling.sagemaker_variants import Variants
from localcloud.autoscaling.scalable import Capacity
from localcloud.context import Cloud
from localcloud.folder import StateFolder
from localcloud.sagemaker.store import Store


@pytest.fixture
def variants() -> Iterator[tuple[Variants, Store]]:
    store = Store(Path(":memory:"))
    variant = {"VariantName": "main", "CurrentInstanceCount": 2, "DesiredInstanceCount": 3}
    record: dict[str, Any] = {"EndpointStatus": "InService", "ProductionVariants": [variant]}
    store.create("endpoint", "shop", record)
    cloud = Cloud(
        account="000000000000",
        region="us-east-1",
        endpoint_url="https://localhost:1",
        ca_bundle=Path("none"),
        folder=StateFolder(Path("none")),
    )
    yield Variants(cloud, store), store
    store.close()


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("endpoint/shop/variant/main", True),
        ("endpoint/shop/variant/other", False),
        ("endpoint/none/variant/main", False),
        ("inference-component/shop", False),
    ],
)
def test_variants_of_endpoints(variants: tuple[Variants, Store], resource: str, expected: bool) -> None:
    assert variants[0].exists(resource) is expected


def test_capacity(variants: tuple[Variants, Store]) -> None:
    found, store = variants
    assert found.capacity("endpoint/shop/variant/main") == Capacity(current=2, settled=True)
    assert found.capacity("endpoint/shop/variant/other") == Capacity(current=0, settled=False)
    assert found.capacity("endpoint/none/variant/main") is None
    store.update("endpoint", "shop", lambda record: record.update(EndpointStatus="Updating"))
    assert found.capacity("endpoint/shop/variant/main") == Capacity(current=2, settled=False)


def test_permissions_name_the_endpoint(variants: tuple[Variants, Store]) -> None:
    arn = "arn:aws:sagemaker:us-east-1:000000000000:endpoint/shop"
    assert ("sagemaker:UpdateEndpointWeightsAndCapacities", arn) in variants[0].permissions(
        "endpoint/Shop/variant/main"
    )
