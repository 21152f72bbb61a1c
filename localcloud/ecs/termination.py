"""`TerminateInstanceInAutoScalingGroup`, which MiniStack's Auto Scaling lacks: how a host is lost.

It is gone at once, with its tasks, as a Spot host two minutes after its warning; the group has another one as
soon as somebody counts them, unless its desired capacity is to fall.
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_TerminateInstanceInAutoScalingGroup.html
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

NAME = "TerminateInstanceInAutoScalingGroup"


def install() -> None:
    """Serve the operation."""
    from ministack.services import autoscaling

    autoscaling._ACTION_MAP.setdefault(NAME, _terminate)


def _terminate(parameters: Mapping[str, Any]) -> Any:
    from ministack.core.responses import now_iso
    from ministack.services import autoscaling

    wanted = str(parameters.get("InstanceId", ""))
    falls = str(parameters.get("ShouldDecrementDesiredCapacity", "")).lower() == "true"
    for name, group in autoscaling._asgs.items():
        instances: list[dict[str, Any]] = group["Instances"]
        if wanted not in {each["InstanceId"] for each in instances}:
            continue
        if falls and group["DesiredCapacity"] <= group["MinSize"]:
            text = (
                f"Currently, desiredSize equals minSize ({group['MinSize']}). Terminating instance without "
            )
            return autoscaling._error("ValidationError", f"{text}replacement will violate group's min size.")
        instances[:] = [each for each in instances if each["InstanceId"] != wanted]
        group["DesiredCapacity"] -= falls
        activity = (
            f"<ActivityId>{uuid.uuid4()}</ActivityId><AutoScalingGroupName>{name}</AutoScalingGroupName>"
            f"<Description>Terminating EC2 instance: {wanted}</Description><Cause>A user asked.</Cause>"
            f"<StartTime>{now_iso()}</StartTime><StatusCode>InProgress</StatusCode>"
        )
        body = f"<{NAME}Result><Activity>{activity}</Activity></{NAME}Result>"
        return autoscaling._xml(200, f"{NAME}Response", body)
    return autoscaling._error(
        "ValidationError", f"Instance Id not found - No managed instance found: {wanted}"
    )
