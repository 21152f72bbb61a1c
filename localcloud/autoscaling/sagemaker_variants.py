"""Which resource ids of namespace `sagemaker` stand for a variant of an endpoint."""

from __future__ import annotations

from collections.abc import Callable

from localcloud.sagemaker.store import Store


def exists_in(store: Store) -> Callable[[str], bool]:
    """A check of ids such as `endpoint/NAME/variant/VARIANT` against the local SageMaker."""

    def exists(resource_id: str) -> bool:
        parts = resource_id.split("/")
        if len(parts) != 4:
            return False
        endpoint = store.find("endpoint", parts[1])
        variants = (endpoint or {}).get("ProductionVariants", [])
        return parts[3] in {variant["VariantName"] for variant in variants}

    return exists
