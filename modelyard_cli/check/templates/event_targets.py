"""Targets of EventBridge rules: permissions, input, buses.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-targets.html
"""

from __future__ import annotations

import json
import re

from modelyard_cli.check.registry import Hits, template_rule
from modelyard_cli.check.templates import event_shapes
from modelyard_cli.check.templates.events import RULE, patterns, texts
from modelyard_cli.check.templates.model import (
    Resource,
    Template,
    known,
    listed,
    literal,
    number,
    objects,
    opaque,
    part,
)
from modelyard_cli.check.templates.statements import resource_statements


@template_rule(
    "MYT406",
    "A target that does not let EventBridge in",
    "Allow events.amazonaws.com, with the rule as aws:SourceArn, in the function's permission, or "
    "the queue's or topic's policy.",
)
def _permissions(template: Template) -> Hits:
    for rule in template.of(RULE):
        for index, target in enumerate(objects(rule.properties.get("Targets"))):
            for member, arn in (
                ("Arn", target.get("Arn")),
                ("DeadLetterConfig", part(target, "DeadLetterConfig", "Arn")),
            ):
                if (
                    isinstance(arn, str)
                    and not opaque(arn)
                    and not admitted(template, arn, "events.amazonaws.com", rule)
                ):
                    yield (
                        rule.at(f"Targets[{index}].{member}"),
                        f"{literal(arn)} has no permission for events.amazonaws.com and this rule",
                    )


@template_rule(
    "MYT412",
    "An API that may not invoke its function",
    "Allow apigateway.amazonaws.com to invoke the very function or alias that the integration names.",
)
def _apis(template: Template) -> Hits:
    for integration in template.of("AWS::ApiGatewayV2::Integration"):
        uri = integration.properties.get("IntegrationUri")
        found = re.search(r"arn:[^/]*:lambda:.*?(?=/invocations|$)", uri) if isinstance(uri, str) else None
        arn = found[0] if found else uri
        role = integration.properties.get("CredentialsArn")
        if not isinstance(arn, str) or opaque(arn) or role:
            continue
        if not admitted(template, arn, "apigateway.amazonaws.com", integration, by_source=False):
            yield integration.at("IntegrationUri"), f"{literal(arn)} does not admit apigateway.amazonaws.com"


def admitted(template: Template, arn: str, service: str, source: Resource, *, by_source: bool = True) -> bool:
    """Whether a function, queue or topic of this assembly admits a service on behalf of a resource.

    Args:
        by_source: whether a limit on the source has to name this very resource.
    """
    from modelyard_cli.check.templates import names

    assembly = template.assembly
    kinds = {":lambda:": "AWS::Lambda::Function", ":sqs:": "AWS::SQS::Queue", ":sns:": "AWS::SNS::Topic"}
    kind = next((k for mark, k in kinds.items() if mark in arn), "")
    aliases = ("AWS::Lambda::Alias", "AWS::Lambda::Version")
    target = assembly.target(arn, kind, *aliases) if kind else assembly.target(arn, *aliases)
    if target is None:
        return True
    own, origin = names.arn_of(source), names.ref_of(source)
    if target.type == "AWS::Lambda::Function" or target.type in aliases:
        for permission in assembly.of("AWS::Lambda::Permission"):
            p = permission.properties
            if (
                assembly.target(p.get("FunctionName"), target.type) is target
                and p.get("Principal") == service
            ):
                given = p.get("SourceArn")
                if (
                    given is None
                    or not by_source
                    or opaque(given)
                    or given in (own, origin)
                    or "*" in str(given)
                    or assembly.target(given) is source
                ):
                    return True
        return False
    for other in assembly.templates:
        for statement in resource_statements(other):
            if statement.resource.type not in ("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"):
                continue
            if not statement.allows or service not in statement.principals:
                continue
            about = any(
                r in ("*", arn) or assembly.target(r, target.type) is target for r in statement.resources
            )
            sources = [
                v for _, key, found in statement.conditions if key.lower() == "aws:sourcearn" for v in found
            ]
            if about and (
                not sources or any(s in (own, origin) or "*" in str(s) or opaque(s) for s in sources)
            ):
                return True
    return False


@template_rule(
    "MYT407",
    "Input that a target cannot take",
    "Input is JSON; each placeholder of an InputTemplate is in InputPathsMap; one of Input, "
    "InputPath, InputTransformer.",
)
def _inputs(template: Template) -> Hits:
    for rule in template.of(RULE):
        for index, target in enumerate(objects(rule.properties.get("Targets"))):
            at = rule.at(f"Targets[{index}]")
            text = target.get("Input")
            if isinstance(text, str):
                try:
                    json.loads(literal(text))
                except json.JSONDecodeError:
                    yield f"{at}.Input", "is no JSON"
            if sum(m in target for m in ("Input", "InputPath", "InputTransformer")) > 1:
                yield at, "has more than one of Input, InputPath and InputTransformer"
            transformer = target.get("InputTransformer") or {}
            paths = transformer.get("InputPathsMap") or {}
            used = set(re.findall(r"<([A-Za-z0-9_-]+)>", str(transformer.get("InputTemplate", ""))))
            for name in sorted(used - set(paths)):
                yield f"{at}.InputTransformer", f"<{name}> is not in InputPathsMap"
            for name, path in paths.items():
                if not str(path).startswith("$"):
                    yield f"{at}.InputTransformer", f"{path!r} is no path: it starts with $"
                if name not in used:
                    yield (
                        f"{at}.InputTransformer",
                        f"InputPathsMap has {name}, which the template does not use",
                    )
        ids = [t.get("Id") for t in objects(rule.properties.get("Targets"))]
        if len(set(ids)) < len(ids):
            yield rule.at("Targets"), "two targets have one Id"
        if len(ids) > 5:
            yield rule.at("Targets"), f"has {len(ids)} targets, the limit is 5"


@template_rule(
    "MYT408",
    "A rule on a bus where its events never arrive",
    "Events of AWS services come to the default bus only; schedules run on it only.",
)
def _buses(template: Template) -> Hits:
    for rule, pattern in patterns(template):
        bus = rule.properties.get("EventBusName")
        sources = texts(pattern.get("source"))
        if (
            bus not in (None, "default")
            and sources
            and all(s.startswith("aws.") for s in sources)
            and not opaque(bus)
            and ":event-bus/default" not in str(bus)
        ):
            yield rule.at("EventBusName"), f"{sources[0]} sends to the default bus, not to {bus}"
    for rule in template.of(RULE):
        if rule.properties.get("ScheduleExpression") and rule.properties.get("EventBusName") not in (
            None,
            "default",
        ):
            yield rule.at("EventBusName"), "schedules run on the default bus only"


@template_rule(
    "MYT409",
    "A pattern for objects of a bucket that sends no events",
    "Set EventBridgeConfiguration in the bucket's NotificationConfiguration.",
)
def _buckets(template: Template) -> Hits:
    for rule, pattern in patterns(template):
        if "aws.s3" not in texts(pattern.get("source")) or event_shapes.CLOUDTRAIL in texts(
            pattern.get("detail-type")
        ):
            continue
        for name in [v for v in listed(part(pattern, "detail", "bucket", "name")) if isinstance(v, str)]:
            bucket = template.assembly.target(name, "AWS::S3::Bucket")
            if bucket is None:
                if known(name) and any(True for _ in template.assembly.of("AWS::S3::Bucket")):
                    yield rule.at("EventPattern.detail.bucket"), f"there is no bucket {name}"
                continue
            on = part(bucket.properties, "NotificationConfiguration", "EventBridgeConfiguration")
            custom = [
                r
                for r in template.assembly.of("Custom::S3BucketNotifications")
                if template.assembly.target(r.properties.get("BucketName")) is bucket
            ]
            through = any(
                "EventBridgeConfiguration" in (r.properties.get("NotificationConfiguration") or {})
                for r in custom
            )
            if (on is None and not through) or part(on, "EventBridgeEnabled") in (False, "false"):
                yield rule.at("EventPattern"), f"{bucket.id} sends nothing to EventBridge"


@template_rule(
    "MYT411",
    "Retries of a target out of bounds, or lost events",
    "MaximumRetryAttempts 0 to 185, MaximumEventAgeInSeconds 60 to 86400.",
)
def _retries(template: Template) -> Hits:
    for rule in template.of(RULE):
        for index, target in enumerate(objects(rule.properties.get("Targets"))):
            policy = target.get("RetryPolicy") or {}
            for member, low, high in (
                ("MaximumRetryAttempts", 0, 185),
                ("MaximumEventAgeInSeconds", 60, 86_400),
            ):
                value = number(policy.get(member))
                if value is not None and not low <= value <= high:
                    yield (
                        rule.at(f"Targets[{index}].RetryPolicy.{member}"),
                        f"{value:g} is not within {low} to {high}",
                    )
