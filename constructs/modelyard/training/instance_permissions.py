"""What the host of a training job may do, and what may start, command and end it."""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import aws_iam as iam

from modelyard.arns import arn_in_stack, partition_of, region_of
from modelyard.images import ContainerImage
from modelyard.permissions import allow, in_one_policy
from modelyard.training.hosts import VOLUME_ACTIONS
from modelyard.training.props import TrainingData

_AGENT = (
    "ec2messages:AcknowledgeMessage",
    "ec2messages:DeleteMessage",
    "ec2messages:FailMessage",
    "ec2messages:GetEndpoint",
    "ec2messages:GetMessages",
    "ec2messages:SendReply",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)
_DELIVERY = (
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
)


def allow_host(role: iam.Role, *, image: ContainerImage, data: TrainingData, log_group_arn: str) -> None:
    """What the host does: be told by SSM, pull the image, write the log, and what the trainer does."""
    with in_one_policy(role, "Permissions"):
        image.grant_pull(role)
        allow(
            role,
            actions=["logs:CreateLogStream", "logs:PutLogEvents"],
            resources=[log_group_arn],
        )
        allow(
            role,
            actions=["ssm:UpdateInstanceInformation"],
            resources=[arn_in_stack(role, "ec2", "instance/*")],
            reason="A host is named when it starts, and reports by its own name.",
        )
        allow(
            role,
            actions=_AGENT,
            resources=["*"],
            reason="The actions of SSM's agent take no resource.",
        )
        data.grant(role)


@dataclass(frozen=True, kw_only=True, slots=True)
class HostKind:
    """The hosts that a driver may start.

    Args:
        template_id: Their launch template.
        subnet_id: Where they stand.
        role_arn: Of their role.
        key_arn: Of the key of their volumes.
        document_name: Of the command that they are sent.
        tag: Name and value that they bear.
        spot: Whether they are Spot hosts.
    """

    template_id: str
    subnet_id: str
    role_arn: str
    key_arn: str
    document_name: str
    tag: tuple[str, str]
    spot: bool


def allow_driver(role: iam.Role, host: HostKind) -> None:
    """Start hosts as their template says, send them their command, look at them and end them."""
    of_host = arn_in_stack(role, "ec2", "instance/*")
    tagged = {"StringEquals": {f"aws:ResourceTag/{host.tag[0]}": host.tag[1]}}
    region = f"arn:{partition_of(role)}:ec2:{region_of(role)}"
    template = arn_in_stack(role, "ec2", f"launch-template/{host.template_id}")
    made = [of_host, arn_in_stack(role, "ec2", "volume/*")]
    allow(
        role,
        actions=["ec2:RunInstances"],
        resources=[
            template,
            arn_in_stack(role, "ec2", f"subnet/{host.subnet_id}"),
            arn_in_stack(role, "ec2", "security-group/*"),
            arn_in_stack(role, "ec2", "network-interface/*"),
            f"{region}::image/*",
            *made,
        ],
        # Everything as the template says, and nothing beside it.
        conditions={
            "ArnLike": {"ec2:LaunchTemplate": template},
            "Bool": {"ec2:IsLaunchTemplateResource": "true"},
        },
        reason="What a start makes has no name yet; the template says what it may be.",
    )
    if host.spot:
        # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-requests.html
        allow(
            role,
            actions=["ec2:RunInstances"],
            resources=[arn_in_stack(role, "ec2", "spot-instances-request/*")],
            reason="The request for a Spot host has no name yet, and starts what the template says.",
        )
    allow(
        role,
        actions=["ec2:CreateTags"],
        resources=made,
        conditions={"StringEquals": {"ec2:CreateAction": "RunInstances"}},
        reason="Tags are put on what the start makes, and by nothing else.",
    )
    allow(
        role,
        actions=["ec2:TerminateInstances"],
        resources=[of_host],
        conditions=tagged,
        reason="A host is named when it starts; the grant ends at those with this tag.",
    )
    allow(
        role,
        actions=["ec2:DescribeInstances", "ssm:GetCommandInvocation"],
        resources=["*"],
        reason="Neither takes a resource.",
    )
    allow(
        role,
        actions=["ssm:SendCommand"],
        resources=[arn_in_stack(role, "ssm", f"document/{host.document_name}")],
    )
    allow(
        role,
        actions=["ssm:SendCommand"],
        resources=[of_host],
        conditions={"StringEquals": {f"ssm:resourceTag/{host.tag[0]}": host.tag[1]}},
        reason="A host is named when it starts; the grant ends at those with this tag.",
    )
    allow(
        role,
        actions=["ssm:GetParameters"],
        resources=[f"arn:{partition_of(role)}:ssm:{region_of(role)}::parameter/aws/service/ecs/*"],
        reason="Where AWS publishes its newest images; EC2 asks for it on the driver's behalf.",
    )
    allow(
        role,
        actions=["iam:PassRole"],
        resources=[host.role_arn],
        conditions={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
    )
    through = {"StringEquals": {"kms:ViaService": f"ec2.{region_of(role)}.amazonaws.com"}}
    allow(role, actions=VOLUME_ACTIONS, resources=[host.key_arn], conditions=through)
    allow(
        role,
        actions=["kms:CreateGrant"],
        resources=[host.key_arn],
        conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
    )
    allow(
        role,
        actions=_DELIVERY,
        resources=["*"],
        reason="Step Functions sets up the delivery of its log by these, which take no resource.",
    )
