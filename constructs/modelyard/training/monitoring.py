"""What training jobs say of themselves, on a dashboard and in alarms."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_cdk import Duration, Token
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from modelyard.arns import inherit_stack, region_of
from modelyard.durations import minutes
from modelyard.training.monitoring_board import (
    CHECKPOINT_AGE,
    CLUSTER,
    GOODPUT,
    NAMESPACE,
    NON_FINITE,
    STEP_AGE,
    body,
)

if TYPE_CHECKING:
    from aws_cdk import aws_logs as logs
    from aws_cdk import aws_sns as sns

    from modelyard.training.event_queue import EventQueue

_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")
_GOODPUT_MINUTES = 5
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html
_LONGEST_SECONDS = 86_400


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingAlarms:
    """What is too bad.

    Args:
        stall_seconds: Without a step, in a job whose processes live. Longer than the longest evaluation, and
            than a job takes to its first step.
        goodput_percent: Share of the last 15 minutes' paid time that went into steps which count.
        goodput_minutes: How long it is below that.
        checkpoint_seconds: That would be lost. Some times as long as checkpoints are apart.

    Raises:
        ValueError: A number outside its range.
    """

    stall_seconds: int = 600
    goodput_percent: float = 50.0
    goodput_minutes: int = 15
    checkpoint_seconds: int = 1800

    def __post_init__(self) -> None:
        for name in ("stall_seconds", "checkpoint_seconds"):
            if getattr(self, name) < 1:
                raise ValueError(f"TrainingAlarms.{name} is {getattr(self, name)}; give at least 1")
        if not 0 < self.goodput_percent <= 100:
            raise ValueError(
                f"TrainingAlarms.goodput_percent is {self.goodput_percent:g}; give more than 0, 100 at most"
            )
        long = self.goodput_minutes
        if not 0 < 60 * long <= _LONGEST_SECONDS or long % _GOODPUT_MINUTES:
            raise ValueError(
                f"TrainingAlarms.goodput_minutes is {long}; give a multiple of {_GOODPUT_MINUTES}, "
                "1440 at most"
            )


class TrainingMonitoring(Construct):
    """A dashboard of all jobs of a cluster, live, and alarms on what needs somebody.

    The jobs' figures come from their logs, as lines in CloudWatch's embedded metric format; nothing needs to
    be granted. The dashboard finds jobs and ranks by itself. An alarm watches all jobs together, since it is
    older than they are; the dashboard says which one it was. Without a running job there are no figures, and
    no alarm: that a job ended, and why, its record says.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format.html

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        cluster: The jobs' environment variable TRAINING_CLUSTER; `default` where they have none. Jobs on a
            single host have that of the cluster whose `TrainingJobs` they were asked of.
        alarms: What is too bad.
        log_group: Of the jobs, whose history is then on the dashboard.
        queues: Of images to prepare, by the name of their dataset: how many wait, and what workers of this
            cluster made of them, is then there, too.
        alarm_topic: Hears of all alarms, and of their end.

    Attributes:
        dashboard: The dashboard.
        stall: Alarm on a job that lives and makes no step: a hanging collective, a slow store.
        non_finite: Alarm on a loss, or gradient, that is not a number.
        goodput: Alarm on hosts that are paid and do not train: restarts, waiting for data.
        checkpoint: Alarm on work that would be lost.

    Raises:
        ValueError: A name of a cluster that is no name.

    Example:
        >>> TrainingMonitoring(stack, "Monitoring", cluster="gpu")
    """

    dashboard: cloudwatch.CfnDashboard
    stall: cloudwatch.Alarm
    non_finite: cloudwatch.Alarm
    goodput: cloudwatch.Alarm
    checkpoint: cloudwatch.Alarm

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cluster: str = "default",
        alarms: TrainingAlarms | None = None,
        log_group: logs.ILogGroup | None = None,
        queues: Mapping[str, EventQueue] | None = None,
        alarm_topic: sns.ITopic | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        inherit_stack(self, scope)
        if not Token.is_unresolved(cluster) and not _NAME.fullmatch(cluster):
            raise ValueError(
                f"TrainingMonitoring.cluster is {cluster!r}; give 1 to 255 letters, digits, '.', '_' or '-'"
            )
        self.cluster = cluster
        self._watch(alarms or TrainingAlarms(), alarm_topic)
        watched = (self.stall, self.non_finite, self.goodput, self.checkpoint)
        board = body(
            cluster=cluster,
            region=region_of(self),
            alarms=[alarm.alarm_arn for alarm in watched],
            log_group=log_group.log_group_name if log_group else None,
            queues={
                dataset: (events.queue.queue_name, events.dead_letters.queue_name)
                for dataset, events in (queues or {}).items()
            },
        )
        self.dashboard = cloudwatch.CfnDashboard(
            self, "Dashboard", dashboard_body=json.dumps(board, separators=(",", ":"))
        )

    def metric_step_age(self) -> cloudwatch.Metric:
        """Seconds since the last step, of the rank that waits longest, maximum per minute."""
        return self._metric(STEP_AGE, "Maximum")

    def metric_non_finite_steps(self) -> cloudwatch.Metric:
        """Steps whose loss, or gradient, is not a number, sum per minute."""
        return self._metric(NON_FINITE, "Sum")

    def metric_recent_goodput(self) -> cloudwatch.Metric:
        """Of the last 15 minutes in percent, of the job that has the least, minimum per 5 minutes."""
        return self._metric(GOODPUT, "Minimum", minutes(_GOODPUT_MINUTES))

    def metric_checkpoint_age(self) -> cloudwatch.Metric:
        """Seconds of training that would be lost, of the job that would lose most, maximum per minute."""
        return self._metric(CHECKPOINT_AGE, "Maximum")

    def _metric(self, name: str, statistic: str, period: Duration | None = None) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=name,
            dimensions_map={CLUSTER: self.cluster},
            period=period or minutes(1),
            statistic=statistic,
        )

    def _watch(self, limits: TrainingAlarms, topic: sns.ITopic | None) -> None:
        self.stall = self._alarm(
            "Stall",
            self.metric_step_age(),
            limits.stall_seconds,
            "A training job makes no steps. See which on the dashboard, then its log.",
        )
        self.non_finite = self._alarm(
            "NonFinite",
            self.metric_non_finite_steps(),
            1,
            "The loss of a training job is not a number. Resume it with a lower learning_rate.",
        )
        self.goodput = self._alarm(
            "Goodput",
            self.metric_recent_goodput(),
            limits.goodput_percent,
            "Hosts are paid and do not train. See restarts and data wait on the dashboard.",
            periods=limits.goodput_minutes // _GOODPUT_MINUTES,
            comparison=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
        )
        self.checkpoint = self._alarm(
            "Checkpoint",
            self.metric_checkpoint_age(),
            limits.checkpoint_seconds,
            "A training job's last checkpoint is old: much would be lost. Its log says why none was written.",
        )
        if topic:
            # Here, since importing it costs every synth that has no topic.
            from aws_cdk.aws_cloudwatch_actions import SnsAction

            tell = SnsAction(topic)
            for alarm in (self.stall, self.non_finite, self.goodput, self.checkpoint):
                alarm.add_alarm_action(tell)
                alarm.add_ok_action(tell)

    def _alarm(
        self,
        name: str,
        metric: cloudwatch.Metric,
        threshold: float,
        description: str,
        *,
        periods: int = 1,
        comparison: cloudwatch.ComparisonOperator = (
            cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
        ),
    ) -> cloudwatch.Alarm:
        return cloudwatch.Alarm(
            self,
            name,
            alarm_description=description,
            metric=metric,
            threshold=threshold,
            evaluation_periods=periods,
            comparison_operator=comparison,
            # No job, no figures.
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
