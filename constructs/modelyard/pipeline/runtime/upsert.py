"""What each event does. Repeating an event, whole or cut short anywhere, ends in the same state."""

import hashlib
import time
from collections.abc import Callable
from typing import Any

from modelyard.runtime.log import log

from .definition import render
from .errors import PipelineError
from .pipelines import Existing, Pipelines
from .request import LOGICAL_ID_TAG, STACK_TAG, Desired, Owner, Request

POLL_SECONDS = 5.0


def apply(request: Request, pipelines: Pipelines) -> dict[str, Any]:
    """Creates, adopts or updates the pipeline; returns its id and attributes.

    The definition is written last and in one call, so that whatever fails leaves the old one in place.
    Raises PipelineError when the definition is wrong or the pipeline belongs to somebody else.
    """
    desired = request.desired
    if desired is None:
        raise PipelineError(f"a {request.type} carries no properties")
    _check_rename(request.physical_id, desired.name)
    bundle = pipelines.bundle(desired)
    definition = render(bundle.definition, desired)
    pipelines.keep_code(desired, bundle.code)
    existing = pipelines.find(desired.name)
    if existing is None:
        arn = pipelines.create(desired, definition, {**desired.tags, **request.owner.tags()}, request.token)
        log("pipeline created", pipeline=desired.name)
    else:
        arn = existing.arn
        _bring_in_line(existing, desired, definition, request, pipelines)
    digest = hashlib.sha256(definition.encode()).hexdigest()
    return {"PhysicalResourceId": desired.name, "Data": {"PipelineArn": arn, "DefinitionSha256": digest}}


def _bring_in_line(
    existing: Existing, desired: Desired, definition: str, request: Request, pipelines: Pipelines
) -> None:
    if existing.status == "Deleting":
        raise PipelineError(f"pipeline {desired.name!r} is being deleted; deploy again when it is gone")
    actual = pipelines.tags(existing.arn)
    if actual.get(STACK_TAG) != request.owner.stack:
        raise PipelineError(
            f"a pipeline {desired.name!r} exists and is not this stack's. Choose another name, or hand it "
            f"over: tag it {STACK_TAG}={request.owner.stack} and deploy again"
        )
    tags = {**desired.tags, **request.owner.tags()}
    # Tags from elsewhere (cost allocation, say) stay: only what an earlier version of the template set goes.
    dropped = (request.old_tags & actual.keys()) - tags.keys()
    if dropped:
        pipelines.untag(existing.arn, dropped)
    added = {key: value for key, value in tags.items() if actual.get(key) != value}
    if added:
        pipelines.tag(existing.arn, added)
    same = (
        existing.definition == definition
        and existing.role_arn == desired.role_arn
        and existing.description == desired.description
        and existing.parallelism == desired.parallelism
    )
    if not same:
        pipelines.update(desired, definition)
    log("pipeline in line", pipeline=desired.name, updated=not same, tagged=len(added), untagged=len(dropped))


def remove(
    request: Request,
    pipelines: Pipelines,
    *,
    stop_seconds: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Stops running executions, waits for them, deletes the pipeline. What is gone or not ours is left.

    Raises PipelineError when executions still run after `stop_seconds`; the pipeline then stays.
    """
    name = request.physical_id or ""
    answer = {"PhysicalResourceId": name}
    existing = pipelines.find(name) if name else None
    if existing is None:
        log("pipeline already gone", pipeline=name)
        return answer
    if not _owns(request.owner, pipelines.tags(existing.arn)):
        # Another resource adopted it (a construct that moved within the stack), or the tags were taken off.
        log("pipeline left: its tags name another owner", pipeline=name)
        return answer
    deadline = clock() + stop_seconds
    while True:
        running = pipelines.running(name)
        for arn, status in running.items():
            if status == "Executing":
                pipelines.stop(arn, hashlib.sha256(f"{request.token}|{arn}".encode()).hexdigest())
        # An execution may start between the two calls; SageMaker then refuses the deletion.
        if not running and pipelines.delete(name, request.token):
            log("pipeline deleted", pipeline=name)
            return answer
        if clock() >= deadline:
            left = ", ".join(arn.split("/")[-1] for arn in running) or "one that has just started"
            raise PipelineError(
                f"pipeline {name!r} still has running executions after {stop_seconds:g} s ({left}); "
                "stop what starts them and delete again"
            )
        sleep(POLL_SECONDS)


def _owns(owner: Owner, tags: dict[str, str]) -> bool:
    return tags.get(STACK_TAG) == owner.stack and tags.get(LOGICAL_ID_TAG) == owner.logical_id


def _check_rename(physical_id: str | None, name: str) -> None:
    # ARNs hold names in lower case: both names would be one pipeline, and the clean-up would delete it.
    if physical_id is not None and physical_id != name and physical_id.lower() == name.lower():
        raise PipelineError(f"{physical_id!r} and {name!r} differ only in case; choose another name")
