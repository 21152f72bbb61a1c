"""Step caching: an earlier result of the same step, with the same arguments that count, in place of a run.

Follows https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-caching.html: one pipeline's steps only,
successful runs only, the newest one, if it is young enough.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from localcloud.sagemaker.pipelines.model import Step
from localcloud.sagemaker.pipelines.step_types import STEP_TYPES
from localcloud.sagemaker.store import Store

_KIND = "cache-entry"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheHit:
    """An earlier result: the execution that made it, what its step list and Describe operation said, and the
    keys that it left in S3, by output.
    """

    execution_arn: str
    metadata: Mapping[str, Any]
    properties: Mapping[str, Any]
    objects: Mapping[str, list[str]] = field(default_factory=dict)


def cache_key(
    pipeline_arn: str, step: Step, arguments: Mapping[str, Any], target: str | None = None
) -> str | None:
    """The key of a step's result, or None when its type is not cached.

    Args:
        arguments: the step's arguments with every expression resolved.
        target: its function or queue, resolved likewise.

    Returns:
        A SHA-256 in hex, over the pipeline, the step's name and type, and the arguments that count.
    """
    kind = STEP_TYPES[step.type]
    if not kind.cache_key and not kind.whole_arguments:
        return None
    counted = {name: _member(arguments, name) for name in kind.cache_key}
    if kind.whole_arguments:
        counted = dict(arguments)
    parts: list[Any] = [pipeline_arn, step.name, step.type, counted]
    if kind.whole_arguments:
        parts += [target, dict(step.outputs)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _member(arguments: Mapping[str, Any], path: str) -> Any:
    value: Any = arguments
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def find_hit(store: Store, key: str, *, now: float, max_age: float | None) -> CacheHit | None:
    """The result under a key, if it is young enough.

    Args:
        now: the time in epoch seconds.
        max_age: in seconds; None for any age.
    """
    entry = store.find(_KIND, key)
    if entry is None or (max_age is not None and now - entry["Time"] > max_age):
        return None
    return CacheHit(
        execution_arn=entry["PipelineExecutionArn"],
        metadata=entry["Metadata"],
        properties=entry["Properties"],
        objects=entry.get("Objects", {}),
    )


def remember(store: Store, key: str, hit: CacheHit, *, pipeline_arn: str, now: float) -> None:
    """Keep a result as the newest one under its key."""
    entry = {
        "Key": key,
        "PipelineArn": pipeline_arn,
        "PipelineExecutionArn": hit.execution_arn,
        "Metadata": dict(hit.metadata),
        "Properties": dict(hit.properties),
        "Objects": dict(hit.objects),
        "Time": now,
    }
    with store.transaction():
        if store.find(_KIND, key) is None:
            store.create(_KIND, key, entry)
        else:
            store.update(_KIND, key, lambda record: record.update(entry))


def forget_pipeline(store: Store, pipeline_arn: str) -> None:
    """Drop the results of a pipeline that is deleted."""
    with store.transaction():
        for entry in store.query(_KIND, where=lambda entry: entry["PipelineArn"] == pipeline_arn):
            store.delete(_KIND, entry["Key"])
