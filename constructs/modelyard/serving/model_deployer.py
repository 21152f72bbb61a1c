"""What the registry approves, the endpoint serves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from modelyard.functions import FunctionSize, RuntimeFunction
from modelyard.permissions import acknowledge
from modelyard.registry import approval_rule
from modelyard.serving.multi_model_endpoint import MultiModelEndpoint
from modelyard.serving.props import ModelSource
from modelyard.serving.record_table import RecordTable
from modelyard.serving.runtime.settings import Settings
from modelyard.storage import IDataBucket, Retention

if TYPE_CHECKING:
    from aws_cdk import aws_sns as sns

_RETRIES = 2
_EVENT_AGE = Duration.hours(6)
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html
_TARGETS_PER_RULE = 5
# An alarm's period is a day at most.
_LONGEST_INTERVAL = Duration.hours(12)


class ModelDeployer(Construct):
    """Reconciles an endpoint with the newest approved version of each group.

    Every event of a group, and a schedule, mean the same: look at the registry, make the endpoint serve what
    it says, write down what is served. So lost, doubled and reordered events do no harm. A version that fails
    its golden rows is not switched to; the one before serves on, the failure is in the record and in the
    alarm.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        endpoint: Where models are served.
        data: Bucket of training's model archives and of the endpoint's model prefix.
        sources: The groups to look after, with the prefixes of their archives.
        interval: How often every group is reconciled without an event; 15 minutes by default.
        retention: What becomes of the records when the stack is deleted.
        alarm_topic: Hears when models fail to be deployed, and when they no longer do.

    Attributes:
        records: Table of what is served; readers ask it for grants.
        function: The function.
        dead_letters: Events that failed for good.
        failures: Alarm on events that failed for good; it ends by itself two intervals after the last one.

    Raises:
        ValueError: No sources, or an interval outside 1 minute to 12 hours.

    Example:
        >>> ModelDeployer(stack, "Deployer", endpoint=endpoint, data=data,
        ...     sources=[ModelSource(registry=registry, artifacts="pipelines/refinance-interest-rate/")])
    """

    records: RecordTable
    function: RuntimeFunction
    dead_letters: sqs.Queue
    failures: cloudwatch.Alarm

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        endpoint: MultiModelEndpoint,
        data: IDataBucket,
        sources: Sequence[ModelSource],
        interval: Duration | None = None,
        retention: Retention | None = None,
        alarm_topic: sns.ITopic | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        interval = interval or Duration.minutes(15)
        if not 1 <= interval.to_minutes(integral=False) <= _LONGEST_INTERVAL.to_minutes():
            raise ValueError(
                "ModelDeployer.interval must be 1 minute to 12 hours; its alarm watches two of them"
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
            kms_key_arn=data.key.key_arn if data.key else "",
        )
        self.function = RuntimeFunction(
            self,
            "Function",
            domain="serving",
            description=f"Keeps endpoint {endpoint.endpoint_name} at what the registry approves",
            environment=settings.to_environment(),
            size=FunctionSize(memory_mib=1024, timeout_seconds=settings.timeout_seconds, storage_mib=1024),
            dead_letter_queue=self.dead_letters,
        )
        self.function.configure_async_invoke(retry_attempts=_RETRIES, max_event_age=_EVENT_AGE)
        self._grant(endpoint, data, sources)
        self._listen(groups, interval)
        self.failures = self._alarm(interval, alarm_topic)

    def metric_failures(self) -> cloudwatch.Metric:
        """Events that failed for good and went to the dead-letter queue, sum per minute."""
        # Lambda and EventBridge send them as any sender would, so SQS counts them.
        return self.dead_letters.metric_number_of_messages_sent(period=Duration.minutes(1), statistic="Sum")

    def metric_errors(self) -> cloudwatch.Metric:
        """Reconciliations that failed, retries included, sum per minute."""
        return self.function.metric_errors(period=Duration.minutes(1))

    def _alarm(self, interval: Duration, topic: sns.ITopic | None) -> cloudwatch.Alarm:
        # A version that keeps failing does so once per interval: two intervals without are a success.
        alarm = cloudwatch.Alarm(
            self,
            "Failures",
            alarm_description="A model was not deployed. See `error` in the record, and the function's log.",
            metric=self.metric_failures().with_(period=Duration.minutes(2 * interval.to_minutes())),
            threshold=1,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        if topic:
            # Here, like the type above, since importing it costs every synth that has no topic.
            from aws_cdk.aws_cloudwatch_actions import SnsAction

            alarm.add_alarm_action(SnsAction(topic))
            alarm.add_ok_action(SnsAction(topic))
        return alarm

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
        data.grant_get(role, *(f"{source.artifacts}*/model.tar.gz" for source in sources))
        data.grant_read(role, endpoint.model_prefix)
        data.grant_write(role, endpoint.model_prefix, multipart=False)
        for source in sources:
            source.registry.grant_read(role)
        endpoint.grant_invoke(
            role, target_models=[f"{source.registry.group_name}/*.tar.gz" for source in sources]
        )

    def _listen(self, groups: Sequence[str], interval: Duration) -> None:
        approval_rule(self, "Approval", groups=groups, target=self._target())
        for start in range(0, len(groups), _TARGETS_PER_RULE):
            several = groups[start : start + _TARGETS_PER_RULE]
            # An event each, so that a group neither waits for another nor shares its time limit.
            events.Rule(
                self,
                f"Periodic{start // _TARGETS_PER_RULE + 1}",
                description=f"Reconciles {', '.join(several)}, for events that were lost"[:512],
                schedule=events.Schedule.rate(interval),
                targets=[
                    self._target(events.RuleTargetInput.from_object({"group": group})) for group in several
                ],
            )

    def _target(self, event: events.RuleTargetInput | None = None) -> targets.LambdaFunction:
        return targets.LambdaFunction(
            self.function,
            event=event,
            dead_letter_queue=self.dead_letters,
            retry_attempts=_RETRIES,
            max_event_age=_EVENT_AGE,
        )
