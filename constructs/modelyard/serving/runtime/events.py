"""Which groups an event asks to look at. What else it says is not believed: the registry is asked.

https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
"""

from collections.abc import Mapping, Sequence
from typing import Any

# What the schedule sends, every minute, beside the group.
ONLY_IF_DUE = "onlyIfDue"
_STATE_CHANGE = "SageMaker Model Package State Change"


def groups_of(event: Mapping[str, Any], configured: Sequence[str]) -> tuple[str, ...]:
    """The groups to reconcile; none for an event about a group that is not ours.

    Raises ValueError for an event that is none of the three kinds, or names an unknown group directly.
    """
    if "group" in event:
        if event["group"] not in configured:
            raise ValueError(f"group {event['group']!r} is not deployed here; known: {', '.join(configured)}")
        return (event["group"],)
    kind = event.get("detail-type")
    if kind == "Scheduled Event":
        return tuple(configured)
    if kind == _STATE_CHANGE:
        group = event["detail"].get("ModelPackageGroupName")
        return (group,) if group in configured else ()
    raise ValueError(f"event of kind {kind!r}; send {_STATE_CHANGE!r}, a schedule, or {{'group': '<name>'}}")
