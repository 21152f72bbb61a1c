"""What invokes Lambda functions, and what becomes of their failures.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
"""

from __future__ import annotations

import re

from modelyard_cli.check.registry import Advice, Hits, template_rule
from modelyard_cli.check.templates import names
from modelyard_cli.check.templates.functions import ALIAS, function_of
from modelyard_cli.check.templates.model import (
    Template,
    known,
    listed,
    number,
    objects,
    opaque,
    part,
)


@template_rule(
    "MYT605",
    "A queue whose messages come back while the function still works",
    "Visibility timeout of the queue: six times the function's timeout, at least as long.",
)
def _visibility(template: Template) -> Hits:
    for mapping in template.of("AWS::Lambda::EventSourceMapping"):
        queue = template.assembly.target(mapping.properties.get("EventSourceArn"), "AWS::SQS::Queue")
        function = function_of(template, mapping.properties.get("FunctionName"))
        if queue is None or function is None:
            continue
        visible, timeout = (
            number(queue.properties.get("VisibilityTimeout", 30)),
            number(function.properties.get("Timeout", 3)),
        )
        if visible is not None and timeout is not None and visible < timeout:
            yield (
                f"{queue.id}/Properties.VisibilityTimeout"
                if queue.template is template
                else mapping.at("EventSourceArn"),
                f"is {visible:g} s, {function.id} may take {timeout:g} s",
            )


@template_rule(
    "MYT606",
    "An event source that loses or repeats messages",
    "Give the queue a RedrivePolicy; report failures by item; stay within the function's reserved "
    "concurrency.",
)
def _sources(template: Template) -> Hits:
    for mapping in template.of("AWS::Lambda::EventSourceMapping"):
        p = mapping.properties
        queue = template.assembly.target(p.get("EventSourceArn"), "AWS::SQS::Queue")
        function = function_of(template, p.get("FunctionName"))
        if queue is not None and not queue.properties.get("RedrivePolicy"):
            yield (
                mapping.at("EventSourceArn"),
                Advice(f"{queue.id} has no RedrivePolicy: a message that fails comes back until it expires"),
            )
        size, window = number(p.get("BatchSize")), number(p.get("MaximumBatchingWindowInSeconds"))
        if queue is not None and size is not None and size > 10 and not window:
            yield mapping.at("BatchSize"), f"{size:g} needs a MaximumBatchingWindowInSeconds"
        if (
            queue is not None
            and size is not None
            and size > (10 if queue.properties.get("FifoQueue") else 10_000)
        ):
            yield mapping.at("BatchSize"), f"{size:g} is too many"
        most = number(part(p, "ScalingConfig", "MaximumConcurrency"))
        reserved = number(function.properties.get("ReservedConcurrentExecutions")) if function else None
        if most is not None and reserved is not None and most > reserved:
            yield (
                mapping.at("ScalingConfig"),
                f"{most:g} at a time, but {reserved:g} reserved: messages are throttled into the "
                "dead-letter queue",
            )
        if most is not None and not 2 <= most <= 1000:
            yield mapping.at("ScalingConfig"), f"{most:g} is not within 2 to 1000"
        if queue is not None and p.get("DestinationConfig"):
            yield mapping.at("DestinationConfig"), "is for streams: a queue has a RedrivePolicy"
        if (
            queue is not None
            and size is not None
            and size > 1
            and "ReportBatchItemFailures" not in listed(p.get("FunctionResponseTypes"))
        ):
            yield (
                mapping.at("FunctionResponseTypes"),
                Advice("lacks ReportBatchItemFailures: one bad message repeats its whole batch"),
            )
        if p.get("Enabled") in (False, "false"):
            yield mapping.at("Enabled"), "is false: nothing is read"


@template_rule(
    "MYT618",
    "A stream of a table that cannot be read",
    "Give the table a StreamSpecification, and the mapping its StreamArn with a StartingPosition.",
)
def _streams(template: Template) -> Hits:
    for mapping in template.of("AWS::Lambda::EventSourceMapping"):
        source = mapping.properties.get("EventSourceArn")
        table = template.assembly.target(source, "AWS::DynamoDB::Table")
        if table is None or not isinstance(source, str):
            continue
        if source == names.arn_of(table):
            yield mapping.at("EventSourceArn"), f"is the table {table.id}, not its stream"
        elif "StreamSpecification" not in table.properties:
            yield mapping.at("EventSourceArn"), f"{table.id} has no stream: give it a StreamSpecification"
        if "StartingPosition" not in mapping.properties:
            yield mapping.at("StartingPosition"), "is missing, which streams require"


@template_rule(
    "MYT607", "A service may invoke a function on behalf of any account", "Give SourceArn or SourceAccount."
)
def _permissions(template: Template) -> Hits:
    for permission in template.of("AWS::Lambda::Permission"):
        p = permission.properties
        principal = str(p.get("Principal"))
        limited = p.get("SourceArn") or p.get("SourceAccount") or p.get("PrincipalOrgID")
        if re.search(r"\.amazonaws\.com", principal) and not limited:
            yield permission.at("SourceArn"), f"{principal} may invoke it for anybody"
        if (
            principal == "*"
            and not limited
            # The URL's own rule speaks of these.
            and "FunctionUrlAuthType" not in p
            and "InvokedViaFunctionUrl" not in p
            and p.get("Action") in ("lambda:InvokeFunction", "lambda:InvokeFunctionUrl")
        ):
            yield permission.at("Principal"), "is *: anybody may invoke it"
        if (
            principal.startswith("s3.")
            and p.get("SourceArn")
            and not p.get("SourceAccount")
            and known(str(p["SourceArn"]))
        ):
            yield (
                permission.at("SourceAccount"),
                "is missing: a bucket of that name may come to belong to somebody else",
            )


@template_rule(
    "MYT608",
    "A function URL that anybody may call",
    "AuthType AWS_IAM, and permissions for the callers; name the origins.",
)
def _urls(template: Template) -> Hits:
    for url in template.of("AWS::Lambda::Url"):
        if url.properties.get("AuthType") == "NONE":
            yield url.at("AuthType"), "is NONE"
        cors = url.properties.get("Cors") or {}
        if "*" in listed(cors.get("AllowOrigins")) and (
            cors.get("AllowCredentials") in (True, "true") or "*" in listed(cors.get("AllowMethods"))
        ):
            yield url.at("Cors"), "lets pages of every origin call it"
    for permission in template.of("AWS::Lambda::Permission"):
        if permission.properties.get("FunctionUrlAuthType") == "NONE":
            yield permission.at("FunctionUrlAuthType"), "is NONE"


@template_rule(
    "MYT610",
    "An alias or a dead-letter queue that leads nowhere",
    "Weights below 1 on another version; a dead-letter queue that is not the function's own source.",
)
def _aliases(template: Template) -> Hits:
    for alias in template.of(ALIAS):
        weights = objects(part(alias.properties, "RoutingConfig", "AdditionalVersionWeights"))
        for weight in weights:
            share = number(weight.get("FunctionWeight"))
            if share is not None and not 0 <= share <= 1:
                yield alias.at("RoutingConfig"), f"the weight {share:g} is not within 0 to 1"
            if weight.get("FunctionVersion") == alias.properties.get("FunctionVersion"):
                yield alias.at("RoutingConfig"), "routes to the version that it already points at"
        if alias.properties.get("FunctionVersion") == "$LATEST" and weights:
            yield alias.at("RoutingConfig"), "$LATEST takes no weights"
    for mapping in template.of("AWS::Lambda::EventSourceMapping"):
        function = function_of(template, mapping.properties.get("FunctionName"))
        source = mapping.properties.get("EventSourceArn")
        if (
            function is not None
            and source
            and part(function.properties, "DeadLetterConfig", "TargetArn") == source
        ):
            yield (
                mapping.at("EventSourceArn"),
                "is the function's own dead-letter queue: failures go round in circles",
            )


@template_rule(
    "MYT611",
    "A function that is called without waiting and has nowhere to put what fails",
    "Give a DeadLetterConfig, or an OnFailure destination: events that fail all retries are lost otherwise.",
)
def _letters(template: Template) -> Hits:
    for rule in template.of("AWS::Events::Rule"):
        for index, target in enumerate(objects(rule.properties.get("Targets"))):
            function = function_of(template, target.get("Arn"))
            if function is None or function.properties.get("DeadLetterConfig"):
                continue
            destinations = [
                c
                for c in template.assembly.of("AWS::Lambda::EventInvokeConfig")
                if function_of(template, c.properties.get("FunctionName")) is function
                and part(c.properties, "DestinationConfig", "OnFailure")
            ]
            if not destinations:
                yield (
                    rule.at(f"Targets[{index}]"),
                    Advice(f"{function.id} has neither dead-letter queue nor failure destination"),
                )


@template_rule(
    "MYT612",
    "A code deployment that cannot notice a bad version",
    "Give the deployment group alarms, and roll back when they go off.",
)
def _deployments(template: Template) -> Hits:
    for group in template.of("AWS::CodeDeploy::DeploymentGroup"):
        p = group.properties
        alarms = objects(part(p, "AlarmConfiguration", "Alarms"))
        for entry in alarms:
            name = entry.get("Name")
            if (
                isinstance(name, str)
                and not opaque(name)
                and template.assembly.target(
                    name, "AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"
                )
                is None
            ):
                yield group.at("AlarmConfiguration"), f"there is no alarm {name}"
        events = listed(part(p, "AutoRollbackConfiguration", "Events"))
        if (
            alarms
            and part(p, "AutoRollbackConfiguration", "Enabled") in (True, "true")
            and "DEPLOYMENT_STOP_ON_ALARM" not in events
        ):
            yield group.at("AutoRollbackConfiguration"), "does not roll back on alarms"
        if not alarms and "AllAtOnce" not in str(p.get("DeploymentConfigName")):
            yield group.at("AlarmConfiguration"), "has no alarms: the gradual shift watches nothing"
        if part(p, "AlarmConfiguration", "Enabled") in (False, "false"):
            yield group.at("AlarmConfiguration"), "is off"
