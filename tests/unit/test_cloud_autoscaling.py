"""Which variants may be scaled."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcloud.autoscaling.sagemaker_variants import exists_in
from localcloud.sagemaker.store import Store


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("endpoint/shop/variant/main", True),
        ("endpoint/shop/variant/other", False),
        ("endpoint/none/variant/main", False),
        ("inference-component/shop", False),
    ],
)
def test_variants_of_endpoints(resource: str, expected: bool) -> None:
    store = Store(Path(":memory:"))
    store.create("endpoint", "shop", {"ProductionVariants": [{"VariantName": "main"}]})
    assert exists_in(store)(resource) is expected
    store.close()
