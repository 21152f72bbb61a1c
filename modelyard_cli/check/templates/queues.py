"""Queues and topics.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
"""

from __future__ import annotations

import json
from typing import Any

from modelyard_cli.check.registry import Advice, Hits, template_rule
from modelyard_cli.check.templates.model import Resource, Template, known, listed, number, objects, opaque

QUEUE, TOPIC = "AWS::SQS::Queue", "AWS::SNS::Topic"


def _redrive(queue: Resource) -> dict[str, Any]:
    policy = queue.properties.get("RedrivePolicy")
    if isinstance(policy, str):
        try:
            policy = json.loads(policy)
        except json.JSONDecodeError:
            return {}
    return policy if isinstance(policy, dict) else {}


@template_rule(
    "MYT621",
    "A dead-letter queue that is the queue itself, or does not exist",
    "Give a queue of its own, of the same kind.",
)
def _letters(template: Template) -> Hits:
    for queue in template.of(QUEUE):
        policy = _redrive(queue)
        arn = policy.get("deadLetterTargetArn")
        if not policy:
            continue
        target = template.assembly.target(arn, QUEUE)
        at = queue.at("RedrivePolicy")
        if target is queue:
            yield at, "redrives to itself"
        elif target is None and isinstance(arn, str) and not opaque(arn):
            yield at, f"there is no queue {arn}"
        elif target is not None and bool(target.properties.get("FifoQueue")) != bool(
            queue.properties.get("FifoQueue")
        ):
            yield at, "only one of the two is a FIFO queue"
        elif (
            target is not None
            and template.assembly.target(_redrive(target).get("deadLetterTargetArn"), QUEUE) is queue
        ):
            yield at, f"{target.id} redrives back to it"


@template_rule(
    "MYT622",
    "A redrive policy that gives up at once, or never",
    "maxReceiveCount of 3 to 10 for work that may fail for a while; at most 1000.",
)
def _counts(template: Template) -> Hits:
    for queue in template.of(QUEUE):
        policy = _redrive(queue)
        count = number(policy.get("maxReceiveCount"))
        if policy and (count is None or not 1 <= count <= 1000):
            yield queue.at("RedrivePolicy"), f"maxReceiveCount is {policy.get('maxReceiveCount')!r}"
        elif (
            policy
            and count == 1
            and any(
                template.assembly.target(m.properties.get("EventSourceArn"), QUEUE) is queue
                for m in template.assembly.of("AWS::Lambda::EventSourceMapping")
            )
        ):
            yield (
                queue.at("RedrivePolicy"),
                "maxReceiveCount 1: a single throttled invocation makes a dead letter",
            )


@template_rule(
    "MYT623",
    "Messages that expire before anybody looks",
    "A dead-letter queue keeps messages longer than its source: their age counts from the first queue.",
)
def _retention(template: Template) -> Hits:
    for queue in template.of(QUEUE):
        target = template.assembly.target(_redrive(queue).get("deadLetterTargetArn"), QUEUE)
        own = number(queue.properties.get("MessageRetentionPeriod", 345_600))
        if target is not None and target is not queue:
            kept = number(target.properties.get("MessageRetentionPeriod", 345_600))
            if own is not None and kept is not None and kept < own:
                yield (
                    queue.at("RedrivePolicy"),
                    f"{target.id} keeps messages {kept:g} s, this queue {own:g} s",
                )
        visible = number(queue.properties.get("VisibilityTimeout"))
        if visible is not None and own is not None and visible >= own:
            yield queue.at("VisibilityTimeout"), f"{visible:g} s is not below the retention of {own:g} s"


@template_rule(
    "MYT624",
    "A number that SQS refuses",
    "VisibilityTimeout 0 to 43200, retention 60 to 1209600, delay 0 to 900, wait 0 to 20 s.",
)
def _bounds(template: Template) -> Hits:
    for queue in template.of(QUEUE):
        for member, low, high in (
            ("VisibilityTimeout", 0, 43_200),
            ("MessageRetentionPeriod", 60, 1_209_600),
            ("DelaySeconds", 0, 900),
            ("ReceiveMessageWaitTimeSeconds", 0, 20),
        ):
            value = number(queue.properties.get(member))
            if value is not None and not low <= value <= high:
                yield queue.at(member), f"{value:g} is not within {low} to {high}"
        fifo, name = queue.properties.get("FifoQueue") in (True, "true"), queue.name
        if known(name) and name.endswith(".fifo") != fifo:
            yield queue.at("QueueName"), "the names of FIFO queues end in .fifo, and only theirs"


@template_rule(
    "MYT625",
    "A queue or topic that services cannot write to, or that is not encrypted",
    "Use SqsManagedSseEnabled, or a key whose policy lets the service in: the AWS-managed key does not.",
)
def _encryption(template: Template) -> Hits:
    for queue in template.of(QUEUE):
        key, managed = queue.properties.get("KmsMasterKeyId"), queue.properties.get("SqsManagedSseEnabled")
        if not key and managed in (False, "false"):
            yield queue.at("SqsManagedSseEnabled"), "is false, and there is no KmsMasterKeyId"
        if isinstance(key, str) and key.endswith("alias/aws/sqs") and (senders := _senders(template, queue)):
            yield queue.at("KmsMasterKeyId"), f"{senders} cannot use the key alias/aws/sqs"
    for topic in template.of(TOPIC):
        if not topic.properties.get("KmsMasterKeyId"):
            yield topic.at("KmsMasterKeyId"), Advice("is missing")
        elif str(topic.properties["KmsMasterKeyId"]).endswith("alias/aws/sns") and any(
            topic is template.assembly.target(a, TOPIC)
            for r in template.assembly.of("AWS::CloudWatch::Alarm")
            for a in listed(r.properties.get("AlarmActions"))
        ):
            yield topic.at("KmsMasterKeyId"), "alarms cannot use the key alias/aws/sns"


def _senders(template: Template, queue: Resource) -> str:
    from modelyard_cli.check.templates.statements import resource_statements

    for other in template.assembly.templates:
        for statement in resource_statements(other):
            services = [p for p in statement.principals if p.endswith(".amazonaws.com")]
            if (
                statement.allows
                and services
                and any(template.assembly.target(r, QUEUE) is queue for r in statement.resources)
            ):
                return services[0]
    return ""


_S3_EVENTS = {
    f"s3:{group}:{name}"
    for group, names in {
        "ObjectCreated": ("*", "Put", "Post", "Copy", "CompleteMultipartUpload"),
        "ObjectRemoved": ("*", "Delete", "DeleteMarkerCreated"),
        "ObjectRestore": ("*", "Post", "Completed", "Delete"),
        "Replication": (
            "*",
            "OperationFailedReplication",
            "OperationMissedThreshold",
            "OperationReplicatedAfterThreshold",
            "OperationNotTracked",
        ),
        "LifecycleExpiration": ("*", "Delete", "DeleteMarkerCreated"),
        "ObjectTagging": ("*", "Put", "Delete"),
    }.items()
    for name in names
} | {"s3:ReducedRedundancyLostObject", "s3:LifecycleTransition", "s3:IntelligentTiering", "s3:ObjectAcl:Put"}


@template_rule(
    "MYT626",
    "A subscription that cannot deliver",
    "Allow sns.amazonaws.com in the queue's policy or the function's permission; give an endpoint "
    "of the protocol's form.",
)
def _subscriptions(template: Template) -> Hits:
    from modelyard_cli.check.templates.event_targets import admitted

    for subscription in template.of("AWS::SNS::Subscription"):
        p = subscription.properties
        endpoint, protocol = p.get("Endpoint"), p.get("Protocol")
        topic = template.assembly.target(p.get("TopicArn"), TOPIC)
        if protocol in ("sqs", "lambda") and isinstance(endpoint, str) and not opaque(endpoint):
            if f":{protocol}:" not in endpoint:
                yield subscription.at("Endpoint"), f"{endpoint} is no ARN of {protocol}"
            elif topic is not None and not admitted(template, endpoint, "sns.amazonaws.com", topic):
                yield (
                    subscription.at("Endpoint"),
                    f"{endpoint} does not admit sns.amazonaws.com and {topic.id}",
                )
    for bucket in template.of("AWS::S3::Bucket"):
        notification = bucket.properties.get("NotificationConfiguration") or {}
        for member, key in (
            ("LambdaConfigurations", "Function"),
            ("QueueConfigurations", "Queue"),
            ("TopicConfigurations", "Topic"),
        ):
            for index, item in enumerate(objects(notification.get(member))):
                arn = item.get(key)
                if (
                    isinstance(arn, str)
                    and not opaque(arn)
                    and not admitted(template, arn, "s3.amazonaws.com", bucket)
                ):
                    yield (
                        bucket.at(f"NotificationConfiguration.{member}[{index}]"),
                        f"{arn} does not admit s3.amazonaws.com and this bucket",
                    )
                if item.get("Event") not in _S3_EVENTS and not opaque(item.get("Event")):
                    yield (
                        bucket.at(f"NotificationConfiguration.{member}[{index}]"),
                        f"{item.get('Event')!r} is no event of S3",
                    )
    yield from _actions(template)


def _actions(template: Template) -> Hits:
    for alarm in template.of("AWS::CloudWatch::Alarm"):
        for action in listed(alarm.properties.get("AlarmActions")):
            if isinstance(action, str) and action and known(action) and not action.startswith("arn:"):
                yield alarm.at("AlarmActions"), f"{action!r} is no ARN"
            target = template.assembly.target(action, QUEUE)
            if target is not None:
                yield alarm.at("AlarmActions"), "an alarm cannot write to a queue"
