"""Scaling of an endpoint's instances with its load."""

from __future__ import annotations

from aws_cdk import aws_applicationautoscaling as appscaling
from constructs import Construct

from modelyard.serving.multi_model_endpoint import MultiModelEndpoint
from modelyard.serving.props import Scaling, ScheduledBounds


class EndpointScaling(Construct):
    """Target tracking of an endpoint's variant on `SageMakerVariantInvocationsPerInstance`, within bounds
    that schedules may change.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        endpoint: What to scale.
        scaling: Bounds, target, cooldowns and schedules.

    Attributes:
        target: The scalable target.
        policy: The policy.

    Raises:
        ValueError: The endpoint starts with a number of instances outside the bounds.

    Example:
        >>> EndpointScaling(stack, "Scaling", endpoint=endpoint, scaling=Scaling(max_instances=4))

    See https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling.html and
    https://docs.aws.amazon.com/autoscaling/application/userguide/scheduled-scaling.html
    """

    target: appscaling.CfnScalableTarget
    policy: appscaling.CfnScalingPolicy

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        endpoint: MultiModelEndpoint,
        scaling: Scaling | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        scaling = scaling or Scaling()
        initial = endpoint.variant.initial_instances
        if not scaling.min_instances <= initial <= scaling.max_instances:
            raise ValueError(
                f"endpoint {endpoint.endpoint_name} starts with {initial} instances, outside of "
                f"{scaling.min_instances} to {scaling.max_instances}; change either"
            )
        # No role: SageMaker variants are scaled under a role of the service's own.
        self.target = appscaling.CfnScalableTarget(
            self,
            "Target",
            service_namespace="sagemaker",
            scalable_dimension="sagemaker:variant:DesiredInstanceCount",
            resource_id=f"endpoint/{endpoint.endpoint.attr_endpoint_name}/variant/{endpoint.variant.name}",
            min_capacity=scaling.min_instances,
            max_capacity=scaling.max_instances,
            scheduled_actions=[_action(one) for one in scaling.schedules] or None,
        )
        self.policy = appscaling.CfnScalingPolicy(
            self,
            "Policy",
            policy_name="InvocationsPerInstance",
            policy_type="TargetTrackingScaling",
            scaling_target_id=self.target.ref,
            target_tracking_scaling_policy_configuration=(
                appscaling.CfnScalingPolicy.TargetTrackingScalingPolicyConfigurationProperty(
                    target_value=scaling.invocations_per_minute,
                    scale_out_cooldown=scaling.scale_out_seconds,
                    scale_in_cooldown=scaling.scale_in_seconds,
                    predefined_metric_specification=(
                        appscaling.CfnScalingPolicy.PredefinedMetricSpecificationProperty(
                            predefined_metric_type="SageMakerVariantInvocationsPerInstance"
                        )
                    ),
                )
            ),
        )


def _action(bounds: ScheduledBounds) -> appscaling.CfnScalableTarget.ScheduledActionProperty:
    return appscaling.CfnScalableTarget.ScheduledActionProperty(
        scheduled_action_name=bounds.name,
        schedule=bounds.schedule,
        # AWS takes canonical names only, and UTC is what it means without one.
        timezone=None if bounds.timezone == "UTC" else bounds.timezone,
        scalable_target_action=appscaling.CfnScalableTarget.ScalableTargetActionProperty(
            min_capacity=bounds.min_instances, max_capacity=bounds.max_instances
        ),
    )
