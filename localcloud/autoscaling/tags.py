"""Tags of scalable targets."""

from __future__ import annotations

from typing import Any

from localcloud.autoscaling import targets
from localcloud.autoscaling.service import Call, Operation
from localcloud.sagemaker.errors import ServiceError

_MOST = 50


def _target(call: Call) -> dict[str, Any]:
    arn = call.request["ResourceARN"]
    found = call.service.store.query(targets.KIND, where=lambda target: target["ScalableTargetARN"] == arn)
    if not found:
        raise ServiceError("ResourceNotFoundException", f"No scalable target with the ARN {arn}.")
    return found[0]


def _tag(call: Call) -> dict[str, Any]:
    call.require("TagResource", call.request["ResourceARN"])
    target = _target(call)
    tags = {**target["_tags"], **call.request["Tags"]}
    if len(tags) > _MOST:
        raise ServiceError("TooManyTagsException", f"A scalable target takes at most {_MOST} tags.")
    _store(call, target, tags)
    return {}


def _untag(call: Call) -> dict[str, Any]:
    call.require("UntagResource", call.request["ResourceARN"])
    target = _target(call)
    gone = set(call.request["TagKeys"])
    _store(call, target, {key: value for key, value in target["_tags"].items() if key not in gone})
    return {}


def _store(call: Call, target: dict[str, Any], tags: dict[str, str]) -> None:
    name = targets.name_of(target)
    call.service.store.update(targets.KIND, name, lambda record: record.update(_tags=tags))


def _list(call: Call) -> dict[str, Any]:
    call.require("ListTagsForResource", call.request["ResourceARN"])
    return {"Tags": _target(call)["_tags"]}


OPERATIONS: dict[str, Operation] = {
    "TagResource": _tag,
    "UntagResource": _untag,
    "ListTagsForResource": _list,
}
