"""Hosts that come when tasks want them, and go when none is left."""

from __future__ import annotations

from aws_cdk import Fn
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from constructs import Construct

from modelyard.arns import arn_in_stack, inherit_stack
from modelyard.permissions import acknowledge, allow, in_one_policy, service_principal
from modelyard.training.hosts import host_template
from modelyard.training.network import TrainingNetwork
from modelyard.training.props import Pool
from modelyard.training.runtime.aws_names import HOST_TAG

# Before a new host counts as there: it boots, loads drivers, and registers.
_WARM_UP_SECONDS = 300
_LONGEST_STOP = "120s"


class CapacityPool(Construct):
    """A capacity provider of ECS over an Auto Scaling group of one market in one zone.

    ECS sets the group's size from the tasks that wait (managed scaling), and keeps it from ending hosts that
    have tasks (managed termination protection). Spot hosts are not replaced ahead of an interruption: Auto
    Scaling would end them with its own order, and a training task has its two minutes from the interruption.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        pool: Market, types, bounds and zone.
        cluster_name: Which cluster the hosts join.
        gpu: Whether they have GPUs.
        network: Where they stand.
        security_group_id: Of the hosts; tasks have their own.
        role: Of the hosts.
        key_arn: Of the key of their volumes.

    Attributes:
        provider: The capacity provider.
        group: Its Auto Scaling group.
        name: The provider's name, for `RunTask`.

    Raises:
        ValueError: The network has no such zone.

    See https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cluster-auto-scaling.html
    """

    provider: ecs.CfnCapacityProvider
    group: autoscaling.CfnAutoScalingGroup
    name: str

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        pool: Pool,
        cluster_name: str,
        gpu: bool,
        network: TrainingNetwork,
        security_group_id: str,
        role: iam.Role,
        key_arn: str,
    ) -> None:
        super().__init__(scope, construct_id)
        if pool.zone >= len(network.subnet_ids):
            raise ValueError(
                f"Pool {pool.name!r} is in zone {pool.zone}, but the network has zones 0 to "
                f"{len(network.subnet_ids) - 1}; change either"
            )
        template = host_template(
            self,
            "Template",
            gpu=gpu,
            role=role,
            key_arn=key_arn,
            volume_gib=pool.volume_gib,
            security_group_ids=[security_group_id],
            user_data=Fn.base64(_joins(cluster_name, gpu=gpu)),
            tags={"Name": f"{self.node.path}", "modelyard:pool": pool.name, HOST_TAG: cluster_name},
        )
        group = autoscaling.CfnAutoScalingGroup
        self.group = group(
            self,
            "Group",
            min_size="0",
            max_size=str(pool.max_hosts),
            vpc_zone_identifier=[network.subnet_ids[pool.zone]],
            # Managed termination protection asks for it.
            new_instances_protected_from_scale_in=True,
            capacity_rebalance=False,
            mixed_instances_policy=group.MixedInstancesPolicyProperty(
                instances_distribution=group.InstancesDistributionProperty(
                    on_demand_base_capacity=0,
                    on_demand_percentage_above_base_capacity=0 if pool.market == "spot" else 100,
                    on_demand_allocation_strategy="prioritized",
                    spot_allocation_strategy="price-capacity-optimized",
                ),
                launch_template=group.LaunchTemplateProperty(
                    launch_template_specification=group.LaunchTemplateSpecificationProperty(
                        launch_template_id=template.ref, version=template.attr_latest_version_number
                    ),
                    overrides=[
                        group.LaunchTemplateOverridesProperty(instance_type=kind)
                        for kind in pool.instance_types
                    ],
                ),
            ),
            tags=[
                # ECS adds it; without it here an update would take it away.
                group.TagPropertyProperty(key="AmazonECSManaged", value="true", propagate_at_launch=True)
            ],
        )
        acknowledge(
            self.group, "AwsSolutions-AS3", "ECS scales the group; its events are on EventBridge, for all."
        )
        acknowledge(
            self.group,
            "AwsSolutions-EC26",
            "The rule cannot read groups of several types; the template's only volume is encrypted.",
        )
        provider = ecs.CfnCapacityProvider
        self.provider = provider(
            self,
            "Provider",
            auto_scaling_group_provider=provider.AutoScalingGroupProviderProperty(
                auto_scaling_group_arn=self.group.ref,
                managed_scaling=provider.ManagedScalingProperty(
                    status="ENABLED",
                    target_capacity=100,
                    minimum_scaling_step_size=1,
                    # All hosts of a gang at once: it does not start with a part of them.
                    maximum_scaling_step_size=pool.max_hosts,
                    instance_warmup_period=_WARM_UP_SECONDS,
                ),
                managed_termination_protection="ENABLED",
                # A host that is to be replaced waits for the end of its task.
                managed_draining="ENABLED",
            ),
        )
        self.name = self.provider.ref


def host_role(scope: Construct, construct_id: str, *, cluster_name: str, cluster_arn: str) -> iam.Role:
    """What ECS's agent needs for one cluster; AWS's managed policy is for all of them, and for images, which
    the execution role of a task pulls.

    See https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
    """
    role = iam.Role(
        scope, construct_id, description="Hosts of the training cluster", assumed_by=service_principal("ec2")
    )
    inherit_stack(role, scope)
    with in_one_policy(role, "Permissions"):
        allow(
            role,
            actions=[
                "ecs:DeregisterContainerInstance",
                "ecs:RegisterContainerInstance",
                "ecs:SubmitAttachmentStateChanges",
                "ecs:SubmitContainerStateChange",
                "ecs:SubmitTaskStateChange",
            ],
            resources=[cluster_arn],
        )
        allow(
            role,
            actions=["ecs:Poll", "ecs:StartTelemetrySession", "ecs:UpdateContainerInstancesState"],
            resources=[arn_in_stack(scope, "ecs", f"container-instance/{cluster_name}/*")],
            reason="Hosts are named when they register; the grant ends at those of this cluster.",
        )
        allow(
            role,
            actions=["ecs:DiscoverPollEndpoint"],
            resources=["*"],
            reason="ecs:DiscoverPollEndpoint takes no resource.",
        )
    return role


def _joins(cluster_name: str, *, gpu: bool) -> str:
    """Settings of ECS's agent.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-config.html
    """
    settings = {
        "ECS_CLUSTER": cluster_name,
        # No new task on a host that Spot takes away; those that run hear of it from the job's own rule.
        "ECS_ENABLE_SPOT_INSTANCE_DRAINING": "true",
        "ECS_CONTAINER_STOP_TIMEOUT": _LONGEST_STOP,
        # A task has a role of its own; that of the host is none of its business.
        "ECS_AWSVPC_BLOCK_IMDS": "true",
        # Attempts of a job follow each other on the same host, with the same image.
        "ECS_IMAGE_PULL_BEHAVIOR": "prefer-cached",
        **({"ECS_ENABLE_GPU_SUPPORT": "true"} if gpu else {}),
    }
    lines = "\n".join(f"{name}={value}" for name, value in settings.items())
    return f"#!/bin/bash\ncat > /etc/ecs/ecs.config <<'END'\n{lines}\nEND\n"
