"""ECS Task State Change events on the default bus.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from localcloud.aws.events import emit
from localcloud.context import Cloud
from localcloud.ecs.names import Names
from localcloud.ecs.service import SERVICE, TASK
from localcloud.sagemaker import shapes

DETAIL_TYPE = "ECS Task State Change"
_TELLING = ("lastStatus", "desiredStatus", "containers", "connectivity")
# Events have no health, on AWS either.
_LEFT_OUT = frozenset({"tags", "healthStatus"})


class Publisher:
    """Hears every change of the store, and tells those of tasks."""

    def __init__(self, cloud: Cloud, names: Names) -> None:
        self._cloud, self._names = cloud, names

    def __call__(self, kind: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        if kind != TASK or new is None:
            return
        if old is None or any(old.get(member) != new.get(member) for member in _TELLING):
            emit(self._cloud, "aws.ecs", DETAIL_TYPE, detail_of(new), [new["taskArn"]])


def detail_of(task: dict[str, Any]) -> dict[str, Any]:
    """A task in the form of the event: that of DescribeTasks, with times as text."""
    shape = shapes.service_model(SERVICE).shape_for("Task")
    detail = {
        name: _timed(value) if shape.members[name].type_name == "timestamp" else value
        for name, value in shapes.serialise(task, shape).items()
        if name not in _LEFT_OUT
    }
    return {**detail, "updatedAt": _timed(task["_updatedAt"])}


def _timed(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
