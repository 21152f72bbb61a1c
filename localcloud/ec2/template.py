"""What a launch template says about a host, for as much as the local cloud does of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_RESOLVED = "resolve:ssm:"
IMAGES = "/aws/service/ecs/"
# Of a request; anything else would be beside what the template says.
_KNOWN = ("Action", "Version", "LaunchTemplate.", "MinCount", "MaxCount", "ClientToken", "DryRun")


class LaunchError(Exception):
    """A start that EC2 refuses: its code and its words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One kind of host.

    Args:
        image_parameter, image_id: the public parameter, and what it stands for.
        key_arn: of the root volume's key, empty without one.
        tags: by kind of resource, `instance` and `volume`.
        shutdown: what a shutdown from inside does, `stop` or `terminate`.
    """

    template_id: str
    version: str
    image_parameter: str
    image_id: str
    instance_type: str
    subnet_id: str
    group_ids: Sequence[str]
    profile: Mapping[str, str]
    role_arn: str
    user_data: str
    volume_gib: int
    key_arn: str
    spot: bool
    shutdown: str
    tokens_required: bool
    tags: Mapping[str, Mapping[str, str]]


def runs(data: Mapping[str, Any]) -> bool:
    """Whether a host is started from this data: one from ECS's public images. All else stays a record."""
    return str(data.get("ImageId", "")).startswith(f"{_RESOLVED}{IMAGES}")


def data_of(template_id: str, version: str) -> tuple[dict[str, Any], str]:
    """The data of a version, and its number. Raises LaunchError."""
    from ministack.services import ec2

    template = ec2._launch_templates.get(template_id)
    if template is None:
        raise LaunchError(
            "InvalidLaunchTemplateId.NotFound", f"The launch template '{template_id}' does not exist."
        )
    number = {"": template["DefaultVersionNumber"], "$Default": template["DefaultVersionNumber"]}.get(
        version, template["LatestVersionNumber"] if version == "$Latest" else version
    )
    for one in template["Versions"]:
        if str(one["VersionNumber"]) == str(number):
            return dict(one["LaunchTemplateData"]), str(number)
    raise LaunchError(
        "InvalidLaunchTemplateId.VersionNotFound",
        f"Could not find the specified version {version} for the launch template with ID {template_id}.",
    )


def launch(template_id: str, version: str, data: Mapping[str, Any], request: Mapping[str, Any]) -> Launch:
    """Read a template's data. Raises LaunchError for what EC2 refuses, and for what the local cloud lacks."""
    from ministack.services import ec2, ssm

    beside = sorted(name for name in request if not name.startswith(_KNOWN))
    if beside:
        raise LaunchError(
            "UnsupportedOperation",
            f"The local cloud starts hosts as their template says, without {', '.join(beside)} beside it.",
        )
    parameter = str(data["ImageId"]).removeprefix(_RESOLVED)
    image = ssm._public_parameter(parameter)
    if image is None:
        raise LaunchError("InvalidParameterValue", f"The parameter {parameter} does not exist.")
    interface = (data.get("NetworkInterfaces") or [{}])[0]
    subnet = interface.get("SubnetId") or ec2._DEFAULT_SUBNET_ID
    if subnet not in ec2._subnets:
        raise LaunchError("InvalidSubnetID.NotFound", f"The subnet ID '{subnet}' does not exist")
    profile, role_arn = _profile(data.get("IamInstanceProfile") or {})
    disk: Mapping[str, Any] = next(
        (one["Ebs"] for one in data.get("BlockDeviceMappings") or () if "Ebs" in one), {}
    )
    return Launch(
        template_id=template_id,
        version=version,
        image_parameter=parameter,
        image_id=image["Value"],
        instance_type=str(data.get("InstanceType", "m1.small")),
        subnet_id=subnet,
        group_ids=interface.get("Groups") or data.get("SecurityGroupIds") or [ec2._DEFAULT_SG_ID],
        profile=profile,
        role_arn=role_arn,
        user_data=str(data.get("UserData", "")),
        volume_gib=int(disk.get("VolumeSize", 30)),
        key_arn=str(disk.get("KmsKeyId", "")),
        spot=(data.get("InstanceMarketOptions") or {}).get("MarketType") == "spot",
        shutdown=str(data.get("InstanceInitiatedShutdownBehavior", "stop")),
        tokens_required=(data.get("MetadataOptions") or {}).get("HttpTokens") == "required",
        tags={
            one["ResourceType"]: {tag["Key"]: tag.get("Value", "") for tag in one.get("Tags", ())}
            for one in data.get("TagSpecifications") or ()
        },
    )


def _profile(named: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """An instance profile as a record names it, and the ARN of its role."""
    from ministack.services import iam

    if not named:
        return {}, ""
    found = iam._lookup_instance_profile(name=named.get("Name", ""), arn=named.get("Arn", ""))
    if found is None:
        text = named.get("Name") or named.get("Arn")
        raise LaunchError(
            "InvalidParameterValue",
            f"Value ({text}) for parameter iamInstanceProfile is invalid. Invalid IAM Instance Profile",
        )
    roles = [iam._roles.get(name) for name in found["Roles"]]
    role = next((str(one["Arn"]) for one in roles if one), "")
    return {"Arn": found["Arn"], "Id": found["InstanceProfileId"]}, role
