"""EC2 hosts as training wants them: encrypted, without open ports, with the newest image of their kind."""

from __future__ import annotations

from typing import Any

from aws_cdk import CfnTag, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from modelyard.arns import account_of, partition_of
from modelyard.permissions import allow

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/retrieve-ecs-optimized_AMI.html
_IMAGES = "/aws/service/ecs/optimized-ami/amazon-linux-2023/"
ROOT_DEVICE = "/dev/xvda"


def newest_image(*, gpu: bool) -> str:
    """ECS's image for x86, with NVIDIA's driver or without, looked up by EC2 whenever a host starts.

    So a group that starts from none does not begin with an image as old as its last deployment.
    https://docs.aws.amazon.com/autoscaling/ec2/userguide/using-systems-manager-parameters.html
    """
    return f"resolve:ssm:{_IMAGES}{'gpu/' if gpu else ''}recommended/image_id"


def host_key(scope: Construct, construct_id: str) -> kms.Key:
    """A key for the volumes of hosts, which Auto Scaling and Spot may use when they start one.

    Named by a condition, not as principals: those must exist when a key is made, and an account gets these
    two roles with its first group and its first Spot host.
    https://docs.aws.amazon.com/autoscaling/ec2/userguide/key-policy-requirements-EBS-encryption.html
    """
    key = kms.Key(
        scope,
        construct_id,
        description=f"Volumes of hosts in {scope.node.path}",
        enable_key_rotation=True,
        removal_policy=RemovalPolicy.DESTROY,
    )
    account, prefix = account_of(scope), f"arn:{partition_of(scope)}:iam::{account_of(scope)}:role/"
    services = (
        "autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
        "spot.amazonaws.com/AWSServiceRoleForEC2Spot",
    )
    these = {
        "ArnEquals": {"aws:PrincipalArn": [f"{prefix}aws-service-role/{service}" for service in services]},
        "StringEquals": {"kms:CallerAccount": account},
    }
    for actions, conditions in (
        (VOLUME_ACTIONS, these),
        (["kms:CreateGrant"], {**these, "Bool": {"kms:GrantIsForAWSResource": "true"}}),
    ):
        key.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.AnyPrincipal()],
                actions=list(actions),
                resources=["*"],
                conditions=conditions,
            )
        )
    return key


VOLUME_ACTIONS = (
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)
"""What starting a host with an encrypted volume takes, beside the grant for the volume."""


def host_template(
    scope: Construct,
    construct_id: str,
    *,
    gpu: bool,
    role: iam.Role,
    key_arn: str,
    volume_gib: int,
    user_data: str,
    tags: dict[str, str],
    **settings: Any,
) -> ec2.CfnLaunchTemplate:
    """A launch template: metadata only with a session token and not from containers, an encrypted volume, no
    key pair.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        gpu: Whether the hosts have GPUs.
        role: Of the hosts.
        key_arn: Of the volumes' key.
        volume_gib: Size of the root volume.
        user_data: Script that runs at the start, in base64.
        tags: Of hosts and volumes.
        settings: What else the template's data hold: the type, security groups or interfaces.
    """
    profile = iam.CfnInstanceProfile(scope, f"{construct_id}Profile", roles=[role.role_name])
    data = ec2.CfnLaunchTemplate
    marks = [CfnTag(key=name, value=value) for name, value in tags.items()]
    return ec2.CfnLaunchTemplate(
        scope,
        construct_id,
        launch_template_data=data.LaunchTemplateDataProperty(
            image_id=newest_image(gpu=gpu),
            iam_instance_profile=data.IamInstanceProfileProperty(arn=profile.attr_arn),
            # One hop: the answers do not reach a container's network.
            # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
            metadata_options=data.MetadataOptionsProperty(
                http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
            ),
            block_device_mappings=[
                data.BlockDeviceMappingProperty(
                    device_name=ROOT_DEVICE,
                    ebs=data.EbsProperty(
                        encrypted=True,
                        kms_key_id=key_arn,
                        volume_size=volume_gib,
                        volume_type="gp3",
                        delete_on_termination=True,
                    ),
                )
            ],
            user_data=user_data,
            tag_specifications=[
                data.TagSpecificationProperty(resource_type=kind, tags=marks)
                for kind in ("instance", "volume")
            ],
            **settings,
        ),
    )


def allow_look(grantee: iam.IGrantable) -> None:
    """Allow seeing whether a host is there: one that has ended has no tag, and ending it again is denied."""
    allow(
        grantee,
        actions=["ec2:DescribeInstances"],
        resources=["*"],
        reason="ec2:DescribeInstances takes no resource.",
    )
