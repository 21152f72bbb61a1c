"""Scaling activities: what was done, why, and what came of it.

https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-scaling-activities.html
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from localcloud.autoscaling import targets
from localcloud.autoscaling.service import AutoScaling, Call, Operation
from localcloud.sagemaker.errors import validation
from localcloud.sagemaker.pagination import page
from localcloud.sagemaker.store import now

KIND = "scaling-activity"
_PAGE = 50
_KEPT = 500  # of a target; AWS keeps six weeks
_WHAT = {"sagemaker:variant:DesiredInstanceCount": "desired instance count"}


def what(target: Mapping[str, Any]) -> str:
    """What is scaled, in the words of descriptions."""
    return _WHAT.get(target["ScalableDimension"], "desired count")


def begin(service: AutoScaling, target: Mapping[str, Any], description: str, cause: str) -> str:
    """Note that an activity is in progress; returns its name in the store."""
    return _create(service, target, Description=description, Cause=cause, StatusCode="InProgress")


def end(service: AutoScaling, name: str, status: str, message: str) -> None:
    """Note how an activity ended."""
    service.store.update(
        KIND, name, lambda record: record.update(EndTime=now(), StatusCode=status, StatusMessage=message)
    )


def note_not_scaled(
    service: AutoScaling, target: Mapping[str, Any], cause: str, reason: Mapping[str, Any]
) -> None:
    """Note that an alarm asked and nothing was changed."""
    _create(
        service,
        target,
        Description="Attempting to scale due to alarm triggered",
        Cause=cause,
        StatusCode="Failed",
        EndTime=now(),
        NotScaledReasons=[dict(reason)],
    )


def fail_interrupted(service: AutoScaling) -> None:
    """Note that activities did not survive the end of the last run."""
    for activity in service.store.query(KIND, where=lambda found: found["StatusCode"] == "InProgress"):
        end(service, activity["_name"], "Failed", "The local cloud was stopped meanwhile.")


def _create(service: AutoScaling, target: Mapping[str, Any], **members: Any) -> str:
    identity = str(uuid.uuid4())
    prefix = f"{targets.name_of(dict(target))}|"
    name = prefix + identity
    record = {
        **{member: target[member] for member in ("ServiceNamespace", "ResourceId", "ScalableDimension")},
        "ActivityId": identity,
        "StartTime": now(),
        **members,
        "_name": name,
    }
    with service.store.transaction():
        service.store.create(KIND, name, record)
        for old in service.store.query(KIND, prefix=prefix)[:-_KEPT]:
            service.store.delete(KIND, old["_name"])
    return name


def _describe(call: Call) -> dict[str, Any]:
    call.require("DescribeScalingActivities")
    request = call.request
    if "ScalableDimension" in request and "ResourceId" not in request:
        raise validation("If you specify a scalable dimension, you must also specify a resource ID.")
    filters = ("ServiceNamespace", "ResourceId", "ScalableDimension")
    found = call.service.store.query(
        KIND,
        where=lambda activity: (
            all(activity[name] == request.get(name, activity[name]) for name in filters)
            and (request.get("IncludeNotScaledActivities") or "NotScaledReasons" not in activity)
        ),
    )
    found.reverse()
    chosen, token = page(found, request, key=lambda activity: str(activity["ActivityId"]), default=_PAGE)
    return {"ScalingActivities": chosen, "NextToken": token}


OPERATIONS: dict[str, Operation] = {"DescribeScalingActivities": _describe}
