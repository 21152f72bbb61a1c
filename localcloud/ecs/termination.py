"""How a host is lost: `TerminateInstanceInAutoScalingGroup`, which MiniStack's Auto Scaling lacks, and EC2's
`TerminateInstances`, which knows no instances of groups there; nor does `DescribeInstances`.

It is gone at once, with its tasks, as a Spot host two minutes after its warning; the group has another one as
soon as somebody counts them, unless its desired capacity is to fall. `localcloud.ec2.authorization` says what
IAM is asked about `TerminateInstances`.
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_TerminateInstanceInAutoScalingGroup.html
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TerminateInstances.html
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from localcloud.ec2.authorization import all_tags, group_of

NAME, EC2_NAME = "TerminateInstanceInAutoScalingGroup", "TerminateInstances"
LOOK = "DescribeInstances"


def install() -> None:
    """Serve the operations."""
    from ministack.services import autoscaling, ec2

    autoscaling._ACTION_MAP.setdefault(NAME, _terminate)
    for name, operation in ((EC2_NAME, _terminate_in_ec2), (LOOK, _describe)):
        others = ec2._ACTION_MAP[name]
        ec2._ACTION_MAP[name] = functools.partial(operation, others=others)


def _terminate_in_ec2(parameters: Mapping[str, Any], others: Callable[[Any], Any]) -> Any:
    from ministack.services import ec2

    wanted, groups = _of_groups(parameters)
    if not groups:
        return others(parameters)
    if len(groups) < len(wanted):
        return ec2._error(
            "InvalidParameterValue", "The local EC2 ends instances of groups by themselves.", 400
        )
    items = ""
    for instance, group in groups.items():
        group["Instances"][:] = [each for each in group["Instances"] if each["InstanceId"] != instance]
        items += (
            f"<item><instanceId>{instance}</instanceId>"
            "<currentState><code>32</code><name>shutting-down</name></currentState>"
            "<previousState><code>16</code><name>running</name></previousState></item>"
        )
    return ec2._xml(200, f"{EC2_NAME}Response", f"<instancesSet>{items}</instancesSet>")


def _describe(parameters: Mapping[str, Any], others: Callable[[Any], Any]) -> Any:
    from ministack.services import ec2

    wanted, groups = _of_groups(parameters)
    if not groups:
        return others(parameters)
    if len(groups) < len(wanted) or ec2._parse_filters(parameters):
        return ec2._error(
            "InvalidParameterValue",
            "The local EC2 describes instances of groups by themselves, without filters.",
            400,
        )
    items = "".join(_reservation(name, group) for name, group in groups.items())
    return ec2._xml(200, f"{LOOK}Response", f"<reservationSet>{items}</reservationSet>")


def _reservation(instance: str, group: Mapping[str, Any]) -> str:
    from ministack.services import ec2

    tags = [*all_tags(instance), {"Key": "aws:autoscaling:groupName", "Value": group["AutoScalingGroupName"]}]
    listed = "".join(
        f"<item><key>{ec2._esc(tag['Key'])}</key><value>{ec2._esc(tag['Value'])}</value></item>"
        for tag in tags
    )
    return (
        f"<item><reservationId>r-{instance[2:]}</reservationId><ownerId>{ec2.get_account_id()}</ownerId>"
        f"<groupSet/><instancesSet><item><instanceId>{instance}</instanceId>"
        "<instanceState><code>16</code><name>running</name></instanceState>"
        f"<tagSet>{listed}</tagSet></item></instancesSet></item>"
    )


def _of_groups(parameters: Mapping[str, Any]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """The instances of a request, and those of groups among them, with their group."""
    from ministack.services import ec2

    wanted: list[str] = ec2._parse_member_list(parameters, "InstanceId")
    return wanted, {instance: group for instance in wanted if (group := group_of(instance)) is not None}


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
