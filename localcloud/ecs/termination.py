"""How a host is lost: `TerminateInstanceInAutoScalingGroup`, which MiniStack's Auto Scaling lacks, and EC2's
`TerminateInstances`, which knows no instances of groups there.

It is gone at once, with its tasks, as a Spot host two minutes after its warning; the group has another one as
soon as somebody counts them, unless its desired capacity is to fall. IAM hears the tags that the group's
launch template gives to its instances.
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_TerminateInstanceInAutoScalingGroup.html
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TerminateInstances.html
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

NAME, EC2_NAME = "TerminateInstanceInAutoScalingGroup", "TerminateInstances"


def install() -> None:
    """Serve the operations."""
    from ministack.core import iam_actions
    from ministack.services import autoscaling, ec2

    autoscaling._ACTION_MAP.setdefault(NAME, _terminate)
    others = ec2._ACTION_MAP[EC2_NAME]
    ec2._ACTION_MAP[EC2_NAME] = lambda parameters: _terminate_in_ec2(parameters, others)
    known = iam_actions.request_tag_context

    def request_tag_context(service: str, action: str, body: bytes, parameters: Mapping[str, Any]) -> Any:
        context = known(service, action, body, parameters)
        if action != f"ec2:{EC2_NAME}":
            return context
        asked = {**parse_qs(body.decode()), **parameters}
        return {**context, **_tags_of(_named(asked))}

    iam_actions.request_tag_context = request_tag_context


def _named(parameters: Mapping[str, Any]) -> list[str]:
    values = (value for name, value in sorted(parameters.items()) if name.startswith("InstanceId."))
    return [str(value[0] if isinstance(value, list) else value) for value in values]


def _group_of(instance: str) -> dict[str, Any] | None:
    from ministack.services import autoscaling

    groups: list[dict[str, Any]] = list(autoscaling._asgs.values())
    return next(
        (one for one in groups if instance in {each["InstanceId"] for each in one["Instances"]}), None
    )


def _tags_of(instances: list[str]) -> dict[str, str]:
    """As condition keys; of several instances those that all have."""
    from ministack.services import ec2

    found: list[dict[str, str]] = []
    for instance in instances:
        group = _group_of(instance)
        if group is None:
            tags = ec2._tags.get(instance, [])
        else:
            template = ec2._launch_templates.get(
                (group.get("LaunchTemplate") or {}).get("LaunchTemplateId", "")
            )
            data = template["Versions"][-1]["LaunchTemplateData"] if template else {}
            tags = [
                tag
                for one in data.get("TagSpecifications") or ()
                if one.get("ResourceType") == "instance"
                for tag in one.get("Tags", ())
            ]
        found.append({f"aws:ResourceTag/{tag['Key']}".lower(): tag["Value"] for tag in tags})
    return dict(set.intersection(*(set(tags.items()) for tags in found))) if found else {}


def _terminate_in_ec2(parameters: Mapping[str, Any], others: Callable[[Any], Any]) -> Any:
    from ministack.services import ec2

    wanted = _named(parameters)
    groups = {instance: group for instance in wanted if (group := _group_of(instance)) is not None}
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
