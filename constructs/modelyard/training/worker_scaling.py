"""As many workers as the queue needs: none while it is empty."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import aws_applicationautoscaling as appscaling
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_ecs as ecs
from constructs import Construct

from modelyard.durations import minutes
from modelyard.training.event_queue import EventQueue
from modelyard.training.preprocessing_props import Workers

# How many tasks run: ECS gives one sample of their CPU a minute and task, with or without Container Insights.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cloudwatch-metrics.html
_TASKS = ("AWS/ECS", "CPUUtilization", "SampleCount")
_POLICY = appscaling.CfnScalingPolicy

BACKLOG = "waiting / IF(FILL(tasks, 0) < 1, 1, FILL(tasks, 0))"
WAITS_FOR_NOBODY = "IF(FILL(tasks, 0) < 1, waiting, 0)"
# What a worker holds is work too: it must not be stopped for a queue that only looks empty.
IDLE = "IF(FILL(tasks, 0) > 0 AND waiting + held < 1, 1, 0)"


class WorkerScaling(Construct):
    """Three rules for the number of tasks of a service.

    - None runs and a message waits: one starts. (Tracking alone never leaves zero: it multiplies.)
    - The messages that wait, divided by the tasks, are tracked to `Workers.backlog`, upwards only.
    - Nothing waited and nothing was held for `Workers.idle_minutes`: all end.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        cluster_name: Of the service.
        service: What to scale.
        events: The queue it empties.
        workers: Bounds and target.

    Attributes:
        target: The scalable target.
        wake: Alarm that starts the first task.
        sleep: Alarm that ends the last ones.

    See https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-target-tracking-metric-math.html
    """

    target: appscaling.CfnScalableTarget
    wake: cloudwatch.Alarm
    sleep: cloudwatch.Alarm

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cluster_name: str,
        service: ecs.CfnService,
        events: EventQueue,
        workers: Workers,
    ) -> None:
        super().__init__(scope, construct_id)
        self._tasks = cloudwatch.Metric(
            namespace=_TASKS[0],
            metric_name=_TASKS[1],
            statistic=_TASKS[2],
            period=minutes(1),
            dimensions_map={"ClusterName": cluster_name, "ServiceName": service.attr_name},
        )
        # No role: ECS's services are scaled under a role of the service's own.
        self.target = appscaling.CfnScalableTarget(
            self,
            "Target",
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=f"service/{cluster_name}/{service.attr_name}",
            min_capacity=0,
            max_capacity=workers.most,
        )
        self._track(events, workers)
        queue = events.node.path
        self.wake = self._step(
            "Wake",
            f"Messages wait in {queue}, and no worker runs",
            WAITS_FOR_NOBODY,
            {"waiting": events.metric_waiting()},
            periods=1,
            adjustment="ChangeInCapacity",
            tasks=1,
            # A task takes a minute or two to start, and until then nothing shows that it will.
            cooldown=300,
        )
        self.sleep = self._step(
            "Sleep",
            f"Workers of {queue} have had nothing to do",
            IDLE,
            {"waiting": events.metric_waiting(), "held": events.metric_held()},
            periods=workers.idle_minutes,
            adjustment="ExactCapacity",
            tasks=0,
            cooldown=60,
        )

    def _track(self, events: EventQueue, workers: Workers) -> None:
        query = _POLICY.TargetTrackingMetricDataQueryProperty
        _POLICY(
            self,
            "Backlog",
            policy_name="BacklogPerTask",
            policy_type="TargetTrackingScaling",
            scaling_target_id=self.target.ref,
            target_tracking_scaling_policy_configuration=(
                _POLICY.TargetTrackingScalingPolicyConfigurationProperty(
                    target_value=workers.backlog,
                    disable_scale_in=True,
                    scale_out_cooldown=120,
                    customized_metric_specification=_POLICY.CustomizedMetricSpecificationProperty(
                        metrics=[
                            query(
                                id="waiting",
                                return_data=False,
                                metric_stat=_stat(
                                    "AWS/SQS",
                                    "ApproximateNumberOfMessagesVisible",
                                    "Maximum",
                                    {"QueueName": events.queue.queue_name},
                                ),
                            ),
                            query(
                                id="tasks",
                                return_data=False,
                                metric_stat=_stat(*_TASKS, self._tasks.dimensions or {}),
                            ),
                            query(
                                id="backlog", expression=BACKLOG, label="Messages per task", return_data=True
                            ),
                        ]
                    ),
                )
            ),
        )

    def _step(
        self,
        name: str,
        description: str,
        expression: str,
        metrics: Mapping[str, cloudwatch.IMetric],
        *,
        periods: int,
        adjustment: str,
        tasks: int,
        cooldown: int,
    ) -> cloudwatch.Alarm:
        """A policy that an alarm of its own sets off, as long as it lasts."""
        policy = _POLICY(
            self,
            name,
            policy_name=name,
            policy_type="StepScaling",
            scaling_target_id=self.target.ref,
            step_scaling_policy_configuration=_POLICY.StepScalingPolicyConfigurationProperty(
                adjustment_type=adjustment,
                cooldown=cooldown,
                metric_aggregation_type="Maximum",
                step_adjustments=[
                    _POLICY.StepAdjustmentProperty(metric_interval_lower_bound=0, scaling_adjustment=tasks)
                ],
            ),
        )
        alarm = cloudwatch.Alarm(
            self,
            f"{name}Alarm",
            alarm_description=description,
            metric=cloudwatch.MathExpression(
                expression=expression, using_metrics={**metrics, "tasks": self._tasks}, period=minutes(1)
            ),
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            threshold=1,
            evaluation_periods=periods,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        resource = alarm.node.default_child
        assert isinstance(resource, cloudwatch.CfnAlarm)
        resource.alarm_actions = [policy.ref]
        return alarm


def _stat(
    namespace: str, name: str, statistic: str, dimensions: Mapping[str, str]
) -> appscaling.CfnScalingPolicy.TargetTrackingMetricStatProperty:
    return _POLICY.TargetTrackingMetricStatProperty(
        stat=statistic,
        metric=_POLICY.TargetTrackingMetricProperty(
            namespace=namespace,
            metric_name=name,
            dimensions=[
                _POLICY.TargetTrackingMetricDimensionProperty(name=key, value=value)
                for key, value in dimensions.items()
            ],
        ),
    )
