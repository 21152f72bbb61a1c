"""S3's events of one folder, in a queue that workers take them from."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from modelyard.arns import account_of, inherit_stack
from modelyard.durations import minutes
from modelyard.keys import only_through
from modelyard.permissions import acknowledge, allow, service_principal
from modelyard.storage import IDataBucket

_KEPT_DAYS = 14  # the most that SQS does


class EventQueue(Construct):
    """What is uploaded to and deleted from a folder, as messages; at least once, in any order.

    EventBridge delivers into the queue, both under a key of the queue's own; a message that nobody could work
    on, or that EventBridge could not deliver, is set aside for a person.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        bucket: Of the folder, with events on EventBridge.
        folder: For example `uploads/dogs/`.
        visibility_seconds: For which a message is hidden once it is received.
        attempts: Deliveries before it is set aside.
        oldest_minutes: Age of a message at which somebody is told.

    Attributes:
        queue: The messages.
        dead_letters: Those set aside.
        key: What encrypts both.
        letters: Alarm on messages set aside; ends when somebody has read and removed them.
        waits: Alarm on a message that nobody works on; ends with it.

    See https://docs.aws.amazon.com/AmazonS3/latest/userguide/EventBridge.html
    """

    queue: sqs.Queue
    dead_letters: sqs.Queue
    key: kms.Key
    letters: cloudwatch.Alarm
    waits: cloudwatch.Alarm

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        bucket: IDataBucket,
        folder: str,
        visibility_seconds: int,
        attempts: int,
        oldest_minutes: int = 60,
    ) -> None:
        super().__init__(scope, construct_id)
        inherit_stack(self, scope)
        kept = Duration.days(_KEPT_DAYS)
        self.key = kms.Key(
            self,
            "Key",
            description=f"Events of images in {self.node.path}",
            enable_key_rotation=True,
            # Events are no data: what they told of is in the bucket.
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.dead_letters = sqs.Queue(
            self,
            "DeadLetters",
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=self.key,
            enforce_ssl=True,
            retention_period=kept,
        )
        acknowledge(self.dead_letters, "AwsSolutions-SQS3", "It is the dead-letter queue.")
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=self.key,
            enforce_ssl=True,
            retention_period=kept,
            visibility_timeout=Duration.seconds(visibility_seconds),
            receive_message_wait_time=Duration.seconds(20),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=attempts),
        )
        rule = events.CfnRule(
            self,
            "Rule",
            description=f"Uploads to {folder} and deletions",
            event_pattern={
                "source": ["aws.s3"],
                "detail-type": ["Object Created", "Object Deleted"],
                "detail": {"bucket": {"name": [bucket.bucket_name]}, "object": {"key": [{"prefix": folder}]}},
            },
            targets=[
                events.CfnRule.TargetProperty(
                    id="Queue",
                    arn=self.queue.queue_arn,
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(
                        arn=self.dead_letters.queue_arn
                    ),
                )
            ],
        )
        sender = service_principal("events")
        from_rule = {"ArnEquals": {"aws:SourceArn": rule.attr_arn}}
        for queue in (self.queue, self.dead_letters):
            queue.add_to_resource_policy(
                iam.PolicyStatement(
                    principals=[sender],
                    actions=["sqs:SendMessage"],
                    resources=[queue.queue_arn],
                    conditions=from_rule,
                )
            )
        # By account and not by rule, whose ARN waits for the queue, which waits for the key.
        # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
        self.key.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[sender],
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=["*"],
                conditions={"StringEquals": {"aws:SourceAccount": account_of(self)}},
            )
        )
        self.letters = self.metric_letters().create_alarm(
            self,
            "Letters",
            alarm_description=f"Events of {folder} that nobody could work on: read them, then remove them",
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            threshold=0,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        self.waits = self.metric_age().create_alarm(
            self,
            "Waits",
            alarm_description=f"Events of {folder} wait: no workers come, all fail, or they are too few",
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            threshold=60 * oldest_minutes,
            evaluation_periods=5,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )

    def let_in(self, *rules: events.CfnRule) -> None:
        """Let further rules set aside what they cannot deliver, or what somebody must hear of."""
        self.dead_letters.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[service_principal("events")],
                actions=["sqs:SendMessage"],
                resources=[self.dead_letters.queue_arn],
                conditions={"ArnEquals": {"aws:SourceArn": [rule.attr_arn for rule in rules]}},
            )
        )

    def grant_consume(self, grantee: iam.IGrantable) -> None:
        """Allow receiving, keeping hidden and deleting messages, and asking how many there are."""
        allow(
            grantee,
            actions=[
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:ReceiveMessage",
            ],
            resources=[self.queue.queue_arn],
        )
        allow(grantee, actions=["kms:Decrypt"], resources=[self.key.key_arn], conditions=only_through("sqs"))

    def metric_waiting(self) -> cloudwatch.Metric:
        """Messages that no worker holds, at most in a minute."""
        return self.queue.metric_approximate_number_of_messages_visible(
            period=minutes(1), statistic="Maximum"
        )

    def metric_held(self) -> cloudwatch.Metric:
        """Messages that workers hold, at most in a minute."""
        return self.queue.metric_approximate_number_of_messages_not_visible(
            period=minutes(1), statistic="Maximum"
        )

    def metric_age(self) -> cloudwatch.Metric:
        """Age of the oldest message, in seconds, at most in a minute."""
        return self.queue.metric_approximate_age_of_oldest_message(period=minutes(1), statistic="Maximum")

    def metric_letters(self) -> cloudwatch.Metric:
        """Messages set aside, at most in five minutes."""
        return self.dead_letters.metric_approximate_number_of_messages_visible(
            period=minutes(5), statistic="Maximum"
        )
