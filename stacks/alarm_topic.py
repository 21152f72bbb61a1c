"""Where the alarms of a stage are told."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from aws_cdk import CfnOutput, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from modelyard.arns import account_of, arn_in_stack, stack_of
from modelyard.permissions import service_principal
from stacks.environments import Environment

if TYPE_CHECKING:
    from aws_cdk import aws_cloudwatch as cloudwatch
    from aws_cdk import aws_sns as sns
    from aws_cdk.aws_cloudwatch_actions import SnsAction


class AlarmTopic(Construct):
    """A topic under a key of its own, over TLS only, to which the alarms of one stage may publish.

    AWS's own key for topics does not let CloudWatch in, and a topic with a policy has no default one that
    would. https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        environment: The stage, whose stacks' names begin the names of its alarms.
        emails: Who is asked, by mail, to subscribe.

    Attributes:
        topic: The topic.
        key: What encrypts its messages.
    """

    topic: sns.Topic
    key: kms.Key

    def __init__(
        self, scope: Construct, construct_id: str, *, environment: Environment, emails: Sequence[str] = ()
    ) -> None:
        super().__init__(scope, construct_id)
        # Here, since loading it costs every synth, and most stages have no topic.
        from aws_cdk import aws_sns as sns

        alarms = arn_in_stack(scope, "cloudwatch", f"alarm:modelyard-{environment.name}-*")
        conditions = {
            "StringEquals": {"aws:SourceAccount": account_of(scope)},
            "ArnLike": {"aws:SourceArn": alarms},
        }
        self.key = kms.Key(
            self,
            "Key",
            description=f"Messages about alarms of {environment.name}",
            enable_key_rotation=True,
            # Nothing is kept under it: messages are gone once they are delivered.
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.topic = sns.Topic(self, "Topic", master_key=self.key, enforce_ssl=True)
        self.key.add_to_resource_policy(
            _for_cloudwatch(["kms:Decrypt", "kms:GenerateDataKey"], "*", conditions)
        )
        arn = self.topic.topic_arn
        self.topic.add_to_resource_policy(_for_cloudwatch(["sns:Publish"], arn, conditions))
        for number, address in enumerate(emails, start=1):
            sns.Subscription(
                self,
                f"Mail{number}",
                topic=self.topic,
                protocol=sns.SubscriptionProtocol.EMAIL,
                endpoint=address,
            )
        CfnOutput(stack_of(scope), "AlarmTopicArn", value=arn, description="Hears of every alarm")

    @functools.cached_property
    def _action(self) -> SnsAction:
        from aws_cdk.aws_cloudwatch_actions import SnsAction

        return SnsAction(self.topic)

    def hear(self, alarms: Iterable[cloudwatch.Alarm]) -> None:
        """Be told when an alarm begins and when it ends."""
        for alarm in alarms:
            alarm.add_alarm_action(self._action)
            alarm.add_ok_action(self._action)


def _for_cloudwatch(
    actions: Sequence[str], resource: str, conditions: dict[str, dict[str, str]]
) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        actions=list(actions),
        resources=[resource],
        principals=[service_principal("cloudwatch")],
        conditions=conditions,
    )
