"""Tags of clusters, services, task definitions, capacity providers and container instances."""

from __future__ import annotations

from typing import Any

from localcloud.ecs import tags
from localcloud.ecs.errors import invalid
from localcloud.ecs.service import CLUSTER, DEFINITION, HOST, PROVIDER, SERVICES, TASK, Call, Operation

_KINDS = {
    "cluster": CLUSTER,
    "capacity-provider": PROVIDER,
    "task-definition": DEFINITION,
    "service": SERVICES,
    "container-instance": HOST,
    "task": TASK,
}


def _arn(call: Call) -> str:
    arn: str = call.request["resourceArn"]
    call.require(arn)
    kind, _, name = arn.removeprefix(call.names.arn("", "")[:-1]).partition("/")
    if kind not in _KINDS or call.store.find(_KINDS[kind], name) is None:
        raise invalid("The specified resource is not found.")
    return arn


def _tag(call: Call) -> dict[str, Any]:
    tags.put(call.store, _arn(call), call.request["tags"])
    return {}


def _untag(call: Call) -> dict[str, Any]:
    tags.put(call.store, _arn(call), [], call.request["tagKeys"])
    return {}


def _list(call: Call) -> dict[str, Any]:
    return {"tags": tags.of(call.store, _arn(call))}


OPERATIONS: dict[str, Operation] = {
    "TagResource": _tag,
    "UntagResource": _untag,
    "ListTagsForResource": _list,
}
