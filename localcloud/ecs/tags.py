"""Tags of ECS's resources, whose keys begin with small letters."""

from __future__ import annotations

from collections.abc import Sequence

from localcloud.ecs.errors import invalid
from localcloud.ecs.service import TAGS
from localcloud.sagemaker.store import Store

_MOST = 50
Tags = Sequence[dict[str, str]]


def check(tags: Tags) -> None:
    """Refuse what AWS refuses."""
    keys = [tag.get("key", "") for tag in tags]
    if len(set(keys)) != len(keys):
        raise invalid("Duplicate keys found in the list of tags.")
    if len(keys) > _MOST:
        raise invalid(f"A resource has at most {_MOST} tags.")


def of(store: Store, arn: str) -> list[dict[str, str]]:
    """A resource's tags."""
    found: list[dict[str, str]] = (store.find(TAGS, arn) or {"tags": []})["tags"]
    return found


def put(store: Store, arn: str, tags: Tags, drop: Sequence[str] = ()) -> None:
    """Add tags, give those that are there new values, take some away."""
    with store.transaction():
        values = {tag["key"]: tag.get("value", "") for tag in [*of(store, arn), *tags]}
        kept = [{"key": key, "value": value} for key, value in values.items() if key not in drop]
        check(kept)
        if store.find(TAGS, arn) is not None:
            store.delete(TAGS, arn)
        if kept:
            store.create(TAGS, arn, {"tags": kept})
