"""Tags of every kind of resource, kept by ARN beside the resources."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypedDict

from localcloud.sagemaker.errors import validation
from localcloud.sagemaker.store import Store

_MOST = 50  # https://docs.aws.amazon.com/general/latest/gr/aws_tagging.html
_KIND = "tags"


class Tag(TypedDict):
    """A tag as the API writes it."""

    Key: str
    Value: str


def tags_of(store: Store, arn: str) -> list[Tag]:
    """The tags of a resource, in the order in which their keys were first added."""
    record = store.find(_KIND, arn) or {"Tags": []}
    tags: list[Tag] = record["Tags"]
    return tags


def tagged(arn: str) -> str:
    """The ARN that has a resource's tags: versions of a model package have those of their group."""
    version = re.fullmatch(r"(.*:)model-package/([^/]+)/\d+", arn)
    return f"{version[1]}model-package-group/{version[2]}" if version else arn


def check_tags(tags: Sequence[Tag], *, reserved: bool = False) -> None:
    """Refuse tags that AWS refuses; `reserved` allows keys with the prefix `aws:`, as for CloudFormation."""
    keys = [tag["Key"] for tag in tags]
    for key in keys:
        if keys.count(key) > 1:
            raise validation(f"Duplicate tag keys found: {key}. Each key may be given once.")
        if key.lower().startswith("aws:") and not reserved:
            raise validation(f"The tag key {key} starts with aws:, which is reserved for AWS.")
    if len(keys) > _MOST:
        raise validation(f"A resource has at most {_MOST} tags; {len(keys)} were given.")


def add_tags(store: Store, arn: str, tags: Sequence[Tag]) -> list[Tag]:
    """Add tags, or give those that are there new values; return all of the resource's tags."""
    with store.transaction():
        values = {tag["Key"]: tag["Value"] for tag in [*tags_of(store, arn), *tags]}
        merged: list[Tag] = [Tag(Key=key, Value=value) for key, value in values.items()]
        if len(merged) > _MOST:
            raise validation(f"A resource has at most {_MOST} tags; this would make {len(merged)}.")
        _write(store, arn, merged)
    return merged


def remove_tags(store: Store, arn: str, keys: Sequence[str] | None = None) -> None:
    """Take away the tags with these keys, or all of them; keys that are not there are no error."""
    with store.transaction():
        kept = [] if keys is None else [tag for tag in tags_of(store, arn) if tag["Key"] not in keys]
        _write(store, arn, kept)


def _write(store: Store, arn: str, tags: list[Tag]) -> None:
    there = store.find(_KIND, arn) is not None
    if tags and there:
        store.update(_KIND, arn, lambda record: record.update(Tags=tags))
    elif tags:
        store.create(_KIND, arn, {"ResourceArn": arn, "Tags": tags})
    elif there:
        store.delete(_KIND, arn)
