"""What the registry approves, the endpoint serves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from modelyard.functions import FunctionSize, RuntimeFunction
from modelyard.permissions import acknowledge
from modelyard.serving.multi_model_endpoint import MultiModelEndpoint
from modelyard.serving.props import ModelSource
from modelyard.serving.record_table import RecordTable
from modelyard.serving.runtime.settings import Settings
from modelyard.storage import DataBucket, Retention

_RETRIES = 2
_EVENT_AGE = Duration.hours(6)


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
        interval: How often every group is reconciled without an event.
        retention: What becomes of the records when the stack is deleted.

    Attributes:
        records: Table of what is served; readers ask it for grants.
        function: The function.
        dead_letters: Events that failed for good.
        failures: Alarm on dead letters.

    Raises:
        ValueError: No sources.

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
        data: DataBucket,
        sources: Sequence[ModelSource],
        interval: Duration | None = None,
        retention: Retention | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
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
            kms_key_arn=data.key.key_arn,
        )
        self.function = RuntimeFunction(
            self,
            "Function",
            folder=Path(__file__).parent,
            description=f"Keeps endpoint {endpoint.endpoint_name} at what the registry approves",
            environment=settings.to_environment(),
            size=FunctionSize(
                memory_mib=1024, timeout_seconds=settings.replay_seconds + 300, storage_mib=1024
            ),
            dead_letter_queue=self.dead_letters,
        )
        self.function.configure_async_invoke(retry_attempts=_RETRIES, max_event_age=_EVENT_AGE)
        self._grant(endpoint, data, sources)
        self._listen(sources, interval or Duration.minutes(15))
        self.failures = self.metric_dead_letters().create_alarm(
            self,
            "Failures",
            alarm_description="A model was not deployed. See `error` in the record, and the function's log.",
            threshold=1,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )

    def metric_dead_letters(self) -> cloudwatch.Metric:
        """Events that failed for good and wait in the dead-letter queue, most per minute."""
        return self.dead_letters.metric_approximate_number_of_messages_visible(
            period=Duration.minutes(1), statistic="Maximum"
        )

    def metric_errors(self) -> cloudwatch.Metric:
        """Reconciliations that failed, retries included, sum per minute."""
        return self.function.metric_errors(period=Duration.minutes(1))

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

    def _grant(self, endpoint: MultiModelEndpoint, data: DataBucket, sources: Sequence[ModelSource]) -> None:
        self.records.grant_write(self.function)
        data.grant_read(self.function, *(source.artifacts for source in sources))
        data.grant_read_write(self.function, endpoint.model_prefix)
        for source in sources:
            source.registry.grant_read(self.function)
        endpoint.grant_invoke(
            self.function, target_models=[f"{source.registry.group_name}/*.tar.gz" for source in sources]
        )

    def _listen(self, sources: Sequence[ModelSource], interval: Duration) -> None:
        target = targets.LambdaFunction(
            self.function,
            dead_letter_queue=self.dead_letters,
            retry_attempts=_RETRIES,
            max_event_age=_EVENT_AGE,
        )
        for number, source in enumerate(sources, start=1):
            source.registry.on_approval_change(self, f"Approval{number}", target=target)
        events.Rule(
            self,
            "Periodic",
            description="Reconciles all groups, for events that were lost",
            schedule=events.Schedule.rate(interval),
            targets=[target],
        )
