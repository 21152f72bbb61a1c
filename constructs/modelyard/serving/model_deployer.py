"""What the registry approves, the endpoint serves; at first for a share of the requests, if so approved."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from modelyard.arns import inherit_stack
from modelyard.durations import minutes
from modelyard.functions import FunctionSize, RuntimeFunction
from modelyard.permissions import acknowledge, allow, merged
from modelyard.registry import approval_rule
from modelyard.runtime.metrics import DEPLOYER, ENDPOINT, FAILED, RECORD_AGE
from modelyard.serving.multi_model_endpoint import MultiModelEndpoint
from modelyard.serving.props import ModelSource
from modelyard.serving.record_table import RecordTable
from modelyard.serving.runtime.canary import Rules as CanaryRules
from modelyard.serving.runtime.events import ONLY_IF_DUE
from modelyard.serving.runtime.settings import Settings
from modelyard.storage import IDataBucket, Retention

if TYPE_CHECKING:
    from aws_cdk import aws_sns as sns

_RETRIES = 2
_TICK_MINUTES = 1
_INTERVAL_SECONDS, _GRACE_SECONDS = 300, 86_400
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html
_TARGETS_PER_RULE = 5
# An alarm's period is a day at most.
_LONGEST_INTERVAL_SECONDS = 8 * 3600


class ModelDeployer(Construct):
    """Reconciles an endpoint with the newest approved version of each group.

    Every event of a group, and a schedule, mean the same: look at the registry, make the endpoint serve what
    it says, write down what is served. So lost, doubled and reordered events do no harm. A version that fails
    its golden rows is not switched to; the one before serves on, the failure is in the record and in the
    alarm.

    A version that is approved as a canary (`modelyard approve GROUP VERSION --canary 10`) answers that share
    of the requests, and is promoted or rolled back by what callers get from it; the registry says so then.
    The version that served before is kept loaded. Model archives that no record needs are deleted after a
    grace period; the bucket's versioning keeps them as noncurrent versions for as long as its lifecycle says.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        endpoint: Where models are served.
        data: Bucket of training's model archives and of the endpoint's model prefix.
        sources: The groups to look after, with the prefixes of their archives.
        interval: How often every group is reconciled without an event; 5 minutes by default. While a canary
            runs, every minute.
        canary: How canaries are judged.
        grace: How long a model archive stays that no record needs; a day by default.
        retention: What becomes of the records when the stack is deleted.
        alarm_topic: Hears of all three alarms, and of their end.

    Attributes:
        records: Table of what is served; readers ask it for grants.
        function: The function.
        dead_letters: Events that failed for good.
        failures: Alarm on groups that are not as the registry wants them; ends by itself when they are.
        letters: Alarm on dead letters; ends when somebody has read and removed them.
        stale: Alarm on records that nobody brings up to date, as when the function or its schedule is off.

    Raises:
        ValueError: No sources, an interval outside 1 minute to 8 hours, or a grace below an hour.

    Example:
        >>> ModelDeployer(stack, "Deployer", endpoint=endpoint, data=data,
        ...     sources=[ModelSource(registry=registry, artifacts="pipelines/refinance-interest-rate/")])
    """

    records: RecordTable
    function: RuntimeFunction
    dead_letters: sqs.Queue
    failures: cloudwatch.Alarm
    letters: cloudwatch.Alarm
    stale: cloudwatch.Alarm

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        endpoint: MultiModelEndpoint,
        data: IDataBucket,
        sources: Sequence[ModelSource],
        interval: Duration | None = None,
        canary: CanaryRules | None = None,
        grace: Duration | None = None,
        retention: Retention | None = None,
        alarm_topic: sns.ITopic | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        inherit_stack(self, scope)
        seconds = round(interval.to_seconds()) if interval else _INTERVAL_SECONDS
        if not 60 <= seconds <= _LONGEST_INTERVAL_SECONDS:
            raise ValueError(
                "ModelDeployer.interval must be 1 minute to 8 hours; its alarms watch three of them"
            )
        if not sources:
            raise ValueError("ModelDeployer needs at least one ModelSource to look after")
        groups = tuple(source.registry.group_name for source in sources)
        self.records = RecordTable(self, "Records", retention=retention)
        self.dead_letters = self._queue()
        settings = Settings(
            endpoint_name=endpoint.endpoint_name,
            table_name=self.records.table.table_name,
            groups=groups,
            artifact_bucket=data.bucket_name,
            artifact_prefix=endpoint.model_prefix,
            kms_key_arn=data.key_arn or "",
            interval_seconds=seconds,
            grace_seconds=round(grace.to_seconds()) if grace else _GRACE_SECONDS,
            canary=canary or CanaryRules(),
        )
        self.endpoint_name = endpoint.endpoint_name
        self.function = RuntimeFunction(
            self,
            "Function",
            domain="serving",
            description=f"Keeps endpoint {endpoint.endpoint_name} at what the registry approves",
            environment=settings.to_environment(),
            size=FunctionSize(memory_mib=1024, timeout_seconds=settings.timeout_seconds, storage_mib=1024),
            dead_letter_queue=self.dead_letters,
        )
        self.function.configure_async_invoke(retry_attempts=_RETRIES, max_event_age=_event_age())
        with merged(self.function.execution_role):
            self._grant(endpoint, data, sources)
        self._listen(groups)
        self._watch(seconds, alarm_topic)

    def metric_failures(self) -> cloudwatch.Metric:
        """1 where a reconciliation left a group other than the registry wants it, maximum per minute."""
        return self._metric(FAILED, minutes(1))

    def metric_record_age(self) -> cloudwatch.Metric:
        """Age of the oldest record in seconds, maximum per minute."""
        return self._metric(RECORD_AGE, minutes(1))

    def metric_dead_letters(self) -> cloudwatch.Metric:
        """Events that failed for good and that nobody has taken out of the queue yet."""
        return self.dead_letters.metric_approximate_number_of_messages_visible(
            period=minutes(1), statistic="Maximum"
        )

    def metric_errors(self) -> cloudwatch.Metric:
        """Invocations of the function that failed, retries included, sum per minute."""
        return self.function.metric_errors(period=minutes(1))

    def _metric(self, name: str, period: Duration) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace=DEPLOYER,
            metric_name=name,
            dimensions_map={ENDPOINT: self.endpoint_name},
            period=period,
            statistic="Maximum",
        )

    def _watch(self, interval: int, topic: sns.ITopic | None) -> None:
        # What keeps failing does so once an interval: two of them without are a success.
        self.failures = self._alarm(
            "Failures",
            self._metric(FAILED, Duration.seconds(_whole_minutes(2 * interval))),
            1,
            "A group is not as the registry wants it. See `modelyard models`, and the function's log.",
        )
        self.letters = self._alarm(
            "Letters",
            self.metric_dead_letters(),
            1,
            "Events of the deployer failed for good. Read them, mend what they say, purge the queue.",
        )
        self.stale = self._alarm(
            "Stale",
            self._metric(RECORD_AGE, Duration.seconds(_whole_minutes(3 * interval))),
            3 * interval,
            "A record is not brought up to date: the deployer, its schedule or its table does not work.",
            # The function itself says how old records are; where it is silent it does not run.
            missing=cloudwatch.TreatMissingData.BREACHING,
        )
        if topic:
            # Here, like the type above, since importing it costs every synth that has no topic.
            from aws_cdk.aws_cloudwatch_actions import SnsAction

            tell = SnsAction(topic)
            for alarm in (self.failures, self.letters, self.stale):
                alarm.add_alarm_action(tell)
                alarm.add_ok_action(tell)

    def _alarm(
        self,
        name: str,
        metric: cloudwatch.Metric,
        threshold: float,
        description: str,
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
    ) -> cloudwatch.Alarm:
        return cloudwatch.Alarm(
            self,
            name,
            alarm_description=description,
            metric=metric,
            threshold=threshold,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=missing,
        )

    def _queue(self) -> sqs.Queue:
        queue = sqs.Queue(
            self,
            "DeadLetters",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        acknowledge(queue, "AwsSolutions-SQS3", "It is the dead-letter queue.")
        return queue

    def _grant(self, endpoint: MultiModelEndpoint, data: IDataBucket, sources: Sequence[ModelSource]) -> None:
        role = self.function.execution_role
        self.records.grant_write(role)
        # Archives only: what else a pipeline writes, its training data above all, is none of its business.
        prefixes = [prefix for source in sources for prefix in (source.artifacts, *source.also)]
        data.grant_get(role, *(f"{prefix}*/model.tar.gz" for prefix in dict.fromkeys(prefixes)))
        data.grant_read(role, endpoint.model_prefix)
        data.grant_write(role, endpoint.model_prefix, multipart=False)
        data.grant_delete(
            role, *(f"{endpoint.model_prefix}{source.registry.group_name}/" for source in sources)
        )
        for source in sources:
            source.registry.grant_read(role)
        allow(
            role,
            actions=["sagemaker:UpdateModelPackage"],
            resources=[source.registry.packages_arn for source in sources],
            # It notes how a canary ended, and rejects one that is rolled back. Approving is for people.
            conditions={"StringNotEquals": {"sagemaker:ModelApprovalStatus": "Approved"}},
            reason="Versions of a model package are numbered at run time; the grant ends at the group.",
        )
        allow(
            role,
            actions=["cloudwatch:GetMetricData"],
            resources=["*"],
            reason="cloudwatch:GetMetricData takes no resource and knows no condition on what is read.",
        )
        endpoint.grant_invoke(
            role, target_models=[f"{source.registry.group_name}/*.tar.gz" for source in sources]
        )

    def _listen(self, groups: Sequence[str]) -> None:
        approval_rule(self, "Approval", groups=groups, target=self._target())
        for start in range(0, len(groups), _TARGETS_PER_RULE):
            several = groups[start : start + _TARGETS_PER_RULE]
            # An event each, so that a group neither waits for another nor shares its time limit.
            events.Rule(
                self,
                f"Periodic{start // _TARGETS_PER_RULE + 1}",
                description=f"Reconciles {', '.join(several)} where it is due"[:512],
                schedule=events.Schedule.rate(minutes(_TICK_MINUTES)),
                targets=[
                    self._target(events.RuleTargetInput.from_object({"group": group, ONLY_IF_DUE: True}))
                    for group in several
                ],
            )

    def _target(self, event: events.RuleTargetInput | None = None) -> targets.LambdaFunction:
        return targets.LambdaFunction(
            self.function,
            event=event,
            dead_letter_queue=self.dead_letters,
            retry_attempts=_RETRIES,
            max_event_age=_event_age(),
        )


@functools.cache
def _event_age() -> Duration:
    return Duration.hours(6)


def _whole_minutes(seconds: int) -> int:
    """An alarm's period is a multiple of a minute."""
    return -(-seconds // 60) * 60
