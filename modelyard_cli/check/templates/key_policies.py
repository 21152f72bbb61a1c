"""Keys of topics, queues and log groups, and the services that have to use them.

https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelyard_cli.check.iam_reference import overlap
from modelyard_cli.check.registry import Hits, template_rule
from modelyard_cli.check.templates.model import Resource, Template, listed, literal, objects
from modelyard_cli.check.templates.statements import resource_statements

_KEYS = {"AWS::SNS::Topic": "KmsMasterKeyId", "AWS::SQS::Queue": "KmsMasterKeyId"}


@template_rule(
    "MYT640",
    "A key that does not admit the service which writes with it",
    "Allow the service kms:GenerateDataKey* and kms:Decrypt in the key's policy.",
)
def _services(template: Template) -> Hits:
    for writer, path, service, target in _writers(template):
        member = _KEYS.get(target.type, "KmsKeyId")
        key = template.assembly.target(target.properties.get(member), "AWS::KMS::Key")
        if key is not None and not _admits(key, service):
            yield writer.at(path), f"{service} may not use {key.id}, the key of {target.id}"


def _writers(template: Template) -> Iterator[tuple[Resource, str, str, Resource]]:
    """(resource, path, service, topic, queue or log group that it writes to)."""

    def to(value: Any) -> Iterator[Resource]:
        found = template.assembly.target(value, *_KEYS)
        if found is not None:
            yield found

    for alarm in template.of("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"):
        for action in listed(alarm.properties.get("AlarmActions")):
            yield from ((alarm, "AlarmActions", "cloudwatch.amazonaws.com", t) for t in to(action))
    for rule in template.of("AWS::Events::Rule"):
        for index, target in enumerate(objects(rule.properties.get("Targets"))):
            yield from ((rule, f"Targets[{index}]", "events.amazonaws.com", t) for t in to(target.get("Arn")))
    for subscription in template.of("AWS::SNS::Subscription"):
        endpoint = subscription.properties.get("Endpoint")
        yield from ((subscription, "Endpoint", "sns.amazonaws.com", t) for t in to(endpoint))
    for group in template.of("AWS::Logs::LogGroup"):
        yield group, "KmsKeyId", "logs.", group


def _admits(key: Resource, service: str) -> bool:
    for statement in resource_statements(key.template):
        if statement.resource is not key or not statement.allows:
            continue
        named = [literal(p) for p in statement.principals]
        if any(p == "*" or p.startswith(service) or p == "token" for p in named) and any(
            overlap(action.lower(), "kms:generatedatakey*") for action in statement.actions
        ):
            return True
    return not isinstance(key.properties.get("KeyPolicy"), dict)
