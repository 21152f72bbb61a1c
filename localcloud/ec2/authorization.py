"""What IAM is asked when a host is started, commanded or ended, as AWS asks it.

The gate of MiniStack asks once, about a resource and with conditions that are given it here; what more AWS
asks about is asked by the operations.
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssystemsmanager.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.aws import callers
from localcloud.aws.identity import Caller, require, require_pass_role
from localcloud.ec2.documents import document_arn
from localcloud.ec2.template import Launch

_SERVICE = "ec2.amazonaws.com"
# With the tags of the instances that they name.
OF_INSTANCES = ("TerminateInstances", "StopInstances", "StartInstances", "RebootInstances")


def install() -> None:
    """Wrap the two functions that gather what the gate asks."""
    from ministack.core import iam_actions

    resource_of, context_of = iam_actions.extract_resource_arn, iam_actions.request_tag_context

    def extract_resource_arn(
        service: str, method: str, path: str, headers: Any, body: bytes, query: Mapping[str, Any],
        region: str, account: str,
    ) -> str:  # fmt: skip
        if service == "ec2" and template_of(query):
            return f"arn:aws:ec2:{region}:{account}:instance/*"
        if service == "ssm" and str(headers.get("x-amz-target", "")).endswith(".SendCommand"):
            return document_arn(_member(body, "DocumentName"), region, account)
        return str(resource_of(service, method, path, headers, body, query, region, account))

    def request_tag_context(service: str, action: str, body: bytes, parameters: Mapping[str, Any]) -> Any:
        context = context_of(service, action, body, parameters)
        if action == "ec2:RunInstances" and (template := template_of(parameters)):
            return {**context, **of_template(template)}
        if action.removeprefix("ec2:") in OF_INSTANCES and (first := text(parameters, "InstanceId.1")):
            return {**context, **tags_of(first, "aws", "ec2")}
        return context

    iam_actions.extract_resource_arn = extract_resource_arn
    iam_actions.request_tag_context = request_tag_context


def template_of(parameters: Mapping[str, Any]) -> str:
    """Id of the launch template that a request for hosts names; empty for any other request."""
    if text(parameters, "Action") != "RunInstances":
        return ""
    named = text(parameters, "LaunchTemplate.LaunchTemplateName")
    return text(parameters, "LaunchTemplate.LaunchTemplateId") or _id_of(named)


def _id_of(name: str) -> str:
    from ministack.services import ec2

    found = (
        one["LaunchTemplateId"] for one in ec2._launch_templates.values() if one["LaunchTemplateName"] == name
    )
    return str(next(found, "")) if name else ""


def of_template(template: str) -> dict[str, str]:
    """Condition keys of whatever starts as the template says, and nothing beside it."""
    from ministack.core.responses import get_account_id, get_region

    arn = f"arn:aws:ec2:{get_region()}:{get_account_id()}:launch-template/{template}"
    return {"ec2:LaunchTemplate": arn, "ec2:IsLaunchTemplateResource": "true"}


def tags_of(instance_id: str, *prefixes: str) -> dict[str, str]:
    """Condition keys of an instance's tags, for example of `ssm`: `ssm:resourceTag/NAME`.

    An instance of a group has those that the group's launch template gives.
    """
    tags = all_tags(instance_id)
    return {f"{prefix}:ResourceTag/{tag['Key']}": tag["Value"] for prefix in prefixes for tag in tags}


def all_tags(instance_id: str) -> list[dict[str, str]]:
    """As `Key` and `Value`, those of its group's launch template first."""
    from ministack.services import ec2

    group = group_of(instance_id)
    return [*(_template_tags(group) if group else ()), *(ec2._tags.get(instance_id) or ())]


def group_of(instance_id: str) -> dict[str, Any] | None:
    """The Auto Scaling group that an instance is of."""
    from ministack.services import autoscaling

    groups: list[dict[str, Any]] = list(autoscaling._asgs.values())
    return next(
        (one for one in groups if instance_id in {each["InstanceId"] for each in one["Instances"]}), None
    )


def _template_tags(group: Mapping[str, Any]) -> list[dict[str, str]]:
    from ministack.services import ec2

    template = ec2._launch_templates.get((group.get("LaunchTemplate") or {}).get("LaunchTemplateId", ""))
    data = template["Versions"][-1]["LaunchTemplateData"] if template else {}
    return [
        tag
        for one in data.get("TagSpecifications") or ()
        if one.get("ResourceType") == "instance"
        for tag in one.get("Tags", ())
    ]


def require_others(action: str, names: Sequence[str], first: str) -> None:
    """Ask about all instances of a request but the one that the gate has asked about.

    Raises:
        AccessDenied: with AWS's words.
    """
    if (checked := callers.current("ec2")) is None:
        return
    caller = callers.identity_of(checked)
    for name in names:
        if name != first:
            arn = f"arn:aws:ec2:{caller.region}:{caller.account}:instance/{name}"
            require(caller, f"ec2:{action}", arn, tags_of(name, "aws", "ec2"))


def require_launch(caller: Caller, launch: Launch) -> None:
    """Ask for all that a start needs, but the instance itself.

    Raises:
        AccessDenied: with AWS's words.
    """
    where = f"arn:aws:ec2:{caller.region}:{caller.account}"
    conditions = of_template(launch.template_id)
    used = [
        f"{where}:launch-template/{launch.template_id}",
        f"arn:aws:ec2:{caller.region}::image/{launch.image_id}",
        f"{where}:subnet/{launch.subnet_id}",
        f"{where}:network-interface/*",
        f"{where}:volume/*",
        *(f"{where}:security-group/{group}" for group in launch.group_ids),
    ]
    require(caller, "ssm:GetParameters", f"arn:aws:ssm:{caller.region}::parameter{launch.image_parameter}")
    for resource in used:
        require(caller, "ec2:RunInstances", resource, conditions)
    if launch.spot:
        require(caller, "ec2:RunInstances", f"{where}:spot-instances-request/*", conditions)
    for kind, tags in launch.tags.items():
        set_ = {f"aws:RequestTag/{name}": value for name, value in tags.items()}
        keys: dict[str, str | list[str]] = {"aws:TagKeys": list(tags), "ec2:CreateAction": "RunInstances"}
        require(caller, "ec2:CreateTags", f"{where}:{kind}/*", {**set_, **keys})
    if launch.role_arn:
        require_pass_role(caller, launch.role_arn, _SERVICE)
    # A Spot host's volumes are made with the service's own role.
    if launch.key_arn and not launch.spot:
        via = {"kms:ViaService": f"ec2.{caller.region}.amazonaws.com"}
        require(caller, "kms:GenerateDataKeyWithoutPlaintext", launch.key_arn, via)
        require(caller, "kms:CreateGrant", launch.key_arn, {**via, "kms:GrantIsForAWSResource": "true"})


def text(parameters: Mapping[str, Any], name: str) -> str:
    """The first value of a member of a request."""
    found = parameters.get(name)
    return str(found[0] if isinstance(found, list) and found else found or "")


def _member(body: bytes, name: str) -> str:
    try:
        return str(json.loads(body or b"{}").get(name, ""))
    except (ValueError, AttributeError):
        return ""
