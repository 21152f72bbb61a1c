"""Scheduled actions: other bounds of a target, at set times.

https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PutScheduledAction.html
"""

from __future__ import annotations

import uuid
from typing import Any

from localcloud.autoscaling import targets
from localcloud.autoscaling.rules.schedule import ScheduleError, parse
from localcloud.autoscaling.service import AutoScaling, Call, Operation
from localcloud.sagemaker.errors import ServiceError, validation
from localcloud.sagemaker.pagination import page
from localcloud.sagemaker.store import now

KIND = "scheduled-action"
_PAGE = 50


def _name_of(action: dict[str, Any]) -> str:
    return f"{targets.name_of(action)}|{action['ScheduledActionName']}"


def of_target(service: AutoScaling, target: dict[str, Any]) -> list[dict[str, Any]]:
    """Every scheduled action of a target, oldest first."""
    return service.store.query(KIND, prefix=f"{targets.name_of(target)}|")


def remove(service: AutoScaling, action: dict[str, Any]) -> None:
    """Delete an action."""
    service.store.delete(KIND, _name_of(action))


def next_time(action: dict[str, Any], after: float) -> float | None:
    """When an action is due after a moment, in epoch seconds; None if never again."""
    start, end = action.get("StartTime"), action.get("EndTime")
    begin = start if start is not None else action["_since"]
    schedule = parse(action["Schedule"], action.get("Timezone"), begin)
    # An action may be due at the very moment of its start.
    moment = schedule.next_after(after if start is None else max(after, start - 0.001))
    return None if moment is None or (end is not None and moment > end) else moment


def _put(call: Call) -> dict[str, Any]:
    call.require("PutScheduledAction", targets.arn_or_any(call))
    targets.find(call)
    request, store, moment = call.request, call.service.store, now()
    known = store.find(KIND, _name_of(request))
    action = {**(known or {"ScheduledActionARN": _arn(call), "CreationTime": moment}), **request}
    action["_since"] = moment
    for member in ("Schedule", "ScalableTargetAction"):
        if member not in action:
            raise validation(f"A new scheduled action needs {member}.")
    _check(action)
    if known is None:
        store.create(KIND, _name_of(request), action)
    else:
        store.update(KIND, _name_of(request), lambda record: record.update(action))
    return {}


def _check(action: dict[str, Any]) -> None:
    bounds = action["ScalableTargetAction"]
    if not bounds:
        raise validation("ScalableTargetAction needs MinCapacity, MaxCapacity, or both.")
    if bounds.get("MinCapacity", 0) > bounds.get("MaxCapacity", bounds.get("MinCapacity", 0)):
        raise validation("Minimum capacity must be less than or equal to the maximum capacity.")
    if min(bounds.values()) < 0:
        raise validation("Capacities must not be negative.")
    if "EndTime" in action and action["EndTime"] <= action.get("StartTime", action["EndTime"] - 1):
        raise validation("The end time of a scheduled action must be later than its start time.")
    try:
        parse(action["Schedule"], action.get("Timezone"), 0.0)
    except ScheduleError as error:
        raise validation(f"Schedule: {error}") from None


def _arn(call: Call) -> str:
    cloud, request = call.service.cloud, call.request
    return (
        f"arn:aws:autoscaling:{cloud.region}:{cloud.account}:scheduledAction:{uuid.uuid4()}:resource/"
        f"{request['ServiceNamespace']}/{request['ResourceId']}:"
        f"scheduledActionName/{request['ScheduledActionName']}"
    )


def _describe(call: Call) -> dict[str, Any]:
    call.require("DescribeScheduledActions")
    request = call.request
    if "ScalableDimension" in request and "ResourceId" not in request:
        raise validation("If you specify a scalable dimension, you must also specify a resource ID.")
    filters = ("ServiceNamespace", "ResourceId", "ScalableDimension")
    found = call.service.store.query(
        KIND,
        where=lambda action: (
            all(action[name] == request.get(name, action[name]) for name in filters)
            and action["ScheduledActionName"]
            in request.get("ScheduledActionNames", [action["ScheduledActionName"]])
        ),
    )
    chosen, token = page(found, request, key=_name_of, default=_PAGE)
    return {"ScheduledActions": chosen, "NextToken": token}


def _delete(call: Call) -> dict[str, Any]:
    call.require("DeleteScheduledAction", targets.arn_or_any(call))
    action = call.service.store.find(KIND, _name_of(call.request))
    if action is None:
        raise ServiceError(
            "ObjectNotFoundException",
            f"No scheduled action found for {targets.described(call.request)}, "
            f"scheduled action name: {call.request['ScheduledActionName']}.",
        )
    remove(call.service, action)
    return {}


OPERATIONS: dict[str, Operation] = {
    "PutScheduledAction": _put,
    "DescribeScheduledActions": _describe,
    "DeleteScheduledAction": _delete,
}
