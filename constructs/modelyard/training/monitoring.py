"""What training jobs say of themselves, on a dashboard and in alarms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_cdk import Duration, Token
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from modelyard.arns import inherit_stack

if TYPE_CHECKING:
    from aws_cdk import aws_logs as logs
    from aws_cdk import aws_sns as sns

# As the trainer writes them: `training/vision/telemetry/names.py`.
NAMESPACE = "Modelyard/Training"
_CLUSTER, _JOB, _RANK = "Cluster", "Job", "Rank"
_STEP_AGE, _NON_FINITE, _GOODPUT = "StepAge", "NonFiniteSteps", "RecentGoodput"
_CHECKPOINT_AGE = "CheckpointAge"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")
_WIDTH, _HEIGHT = 8, 6
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
        minutes = self.goodput_minutes
        if not 0 < 60 * minutes <= _LONGEST_SECONDS or minutes % _GOODPUT_MINUTES:
            raise ValueError(
                f"TrainingAlarms.goodput_minutes is {minutes}; give a multiple of {_GOODPUT_MINUTES}, "
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
        cluster: The jobs' environment variable TRAINING_CLUSTER; `default` where they have none.
        alarms: What is too bad.
        log_group: Of the jobs, whose history is then on the dashboard.
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

    dashboard: cloudwatch.Dashboard
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
        self.dashboard = cloudwatch.Dashboard(
            self,
            "Dashboard",
            default_interval=Duration.hours(3),
            period_override=cloudwatch.PeriodOverride.INHERIT,
            widgets=[*self._rows(), *([[_history(log_group)]] if log_group else [])],
        )

    def metric_step_age(self) -> cloudwatch.Metric:
        """Seconds since the last step, of the rank that waits longest, maximum per minute."""
        return self._metric(_STEP_AGE, "Maximum")

    def metric_non_finite_steps(self) -> cloudwatch.Metric:
        """Steps whose loss, or gradient, is not a number, sum per minute."""
        return self._metric(_NON_FINITE, "Sum")

    def metric_recent_goodput(self) -> cloudwatch.Metric:
        """Of the last 15 minutes in percent, of the job that has the least, minimum per 5 minutes."""
        return self._metric(_GOODPUT, "Minimum", Duration.minutes(_GOODPUT_MINUTES))

    def metric_checkpoint_age(self) -> cloudwatch.Metric:
        """Seconds of training that would be lost, of the job that would lose most, maximum per minute."""
        return self._metric(_CHECKPOINT_AGE, "Maximum")

    def _metric(self, name: str, statistic: str, period: Duration | None = None) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=name,
            dimensions_map={_CLUSTER: self.cluster},
            period=period or Duration.minutes(1),
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

    def _rows(self) -> Sequence[Sequence[cloudwatch.IWidget]]:
        watched = [self.stall, self.non_finite, self.goodput, self.checkpoint]
        goodput = [("Goodput", "Average"), (_GOODPUT, "Average")]
        return [
            [cloudwatch.AlarmStatusWidget(title="Alarms", alarms=watched, width=3 * _WIDTH, height=3)],
            [
                self._graph("Loss", [("Loss", "Average")]),
                self._graph("Images a second", [("ImagesPerSecond", "Average")]),
                self._graph("Goodput, %", goodput),
            ],
            [
                self._graph("Step time, ms", [("StepTime", "p50"), ("StepTime", "p99")]),
                self._graph("Data wait, % of step time", [("DataWait", "Average")], by_rank=True),
                self._graph("Cost so far", [("Cost", "Maximum")]),
            ],
            [
                self._graph("GPU, %", [("GpuUtilization", "Average")], by_rank=True),
                self._graph("GPU memory, MB", [("GpuMemory", "Maximum")], by_rank=True),
                self._graph("Hosts", [("Hosts", "Minimum")]),
            ],
            [
                self._graph("CPU, %", [("CpuUtilization", "Average")], by_rank=True),
                self._graph("Memory, MB", [("Memory", "Maximum")], by_rank=True),
                self._graph("Age of the checkpoint, s", [(_CHECKPOINT_AGE, "Maximum")]),
            ],
            [
                self._graph("Learning rate", [("LearningRate", "Average")]),
                self._graph("Norm of the gradient", [("GradientNorm", "Maximum")]),
                self._graph("Seconds since the last step", [(_STEP_AGE, "Maximum")], by_rank=True),
            ],
        ]

    def _graph(
        self, title: str, metrics: Sequence[tuple[str, str]], *, by_rank: bool = False
    ) -> cloudwatch.GraphWidget:
        return cloudwatch.GraphWidget(
            title=title,
            left=[self._search(name, statistic, by_rank) for name, statistic in metrics],
            width=_WIDTH,
            height=_HEIGHT,
        )

    def _search(self, metric: str, statistic: str, by_rank: bool) -> cloudwatch.SearchExpression:
        """That metric of every job, or of every rank of it, whose name nobody knows yet."""
        names = [_CLUSTER, _JOB, *([_RANK] if by_rank else [])]
        schema = ",".join([NAMESPACE, *names])
        what = f'{_CLUSTER}="{self.cluster}" MetricName="{metric}"'
        whose = " ".join(f"${{PROP('Dim.{name}')}}" for name in names[1:])
        return cloudwatch.SearchExpression(
            expression=f"SEARCH('{{{schema}}} {what}', '{statistic}', 60)",
            label=f"{metric} {statistic} {whose}",
            period=Duration.minutes(1),
        )


def _history(log_group: logs.ILogGroup) -> cloudwatch.LogQueryWidget:
    return cloudwatch.LogQueryWidget(
        title="Starts, checkpoints and ends",
        log_group_names=[log_group.log_group_name],
        view=cloudwatch.LogQueryVisualizationType.TABLE,
        width=3 * _WIDTH,
        height=_HEIGHT,
        query_lines=[
            "fields @timestamp, Job, attempt, hosts, event, step, reason",
            'filter event in ["started", "resumed", "checkpoint", "evaluated", "ended"]',
            "sort @timestamp desc",
            "limit 100",
        ],
    )
