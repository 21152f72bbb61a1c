"""Lambda functions: concurrency, limits, permissions, event sources.

https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from modelyard_cli.check.registry import Advice, Hits, template_rule
from modelyard_cli.check.templates.model import (
    Resource,
    Template,
    known,
    listed,
    number,
    part,
)
from modelyard_cli.check.templates.scaling import TARGET, segments

FUNCTION, ALIAS, VERSION = "AWS::Lambda::Function", "AWS::Lambda::Alias", "AWS::Lambda::Version"
RESERVED_VARIABLES = re.compile(
    r"AWS_(REGION|DEFAULT_REGION|ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|EXECUTION_ENV|LAMBDA_FUNCTION_\w+|LAMBDA_RUNTIME_API|LAMBDA_LOG_\w+)|_HANDLER|_X_AMZN_TRACE_ID|LAMBDA_TASK_ROOT|LAMBDA_RUNTIME_DIR"
)


def function_of(template: Template, name: Any) -> Resource | None:
    """The function that a name, an ARN, an alias or a version means."""
    found = template.assembly.target(name, FUNCTION, ALIAS, VERSION)
    return (
        function_of(template, found.properties.get("FunctionName"))
        if found is not None and found.type != FUNCTION
        else found
    )


def _provisioned(template: Template) -> Iterator[tuple[Resource, str, Resource | None, float]]:
    """(resource, path, function, provisioned concurrency)."""
    for resource in template.of(ALIAS, VERSION):
        value = number(
            part(resource.properties, "ProvisionedConcurrencyConfig", "ProvisionedConcurrentExecutions")
        )
        if value is not None:
            yield (
                resource,
                "ProvisionedConcurrencyConfig",
                function_of(template, resource.properties.get("FunctionName")),
                value,
            )
    for target in template.of(TARGET):
        pieces, value = (
            segments(target.properties.get("ResourceId")),
            number(target.properties.get("MaxCapacity")),
        )
        if (
            target.properties.get("ScalableDimension") == "lambda:function:ProvisionedConcurrency"
            and len(pieces) > 1
            and value is not None
        ):
            yield target, "MaxCapacity", function_of(template, pieces[1]), value


@template_rule(
    "MYT601",
    "More provisioned than reserved concurrency",
    "Reserve at least what all aliases provision together: the rest can never start.",
)
def _concurrency(template: Template) -> Hits:
    totals: dict[Resource, float] = {}
    for resource, path, function, value in _provisioned(template):
        if function is None:
            continue
        if resource.type != TARGET:
            totals[function] = totals.get(function, 0) + value
        reserved = number(function.properties.get("ReservedConcurrentExecutions"))
        if reserved is not None and max(value, totals.get(function, 0)) > reserved:
            yield (
                resource.at(path),
                f"{max(value, totals.get(function, 0)):g} are provisioned, {reserved:g} reserved "
                f"for {function.id}",
            )
    for function in template.of(FUNCTION):
        if number(function.properties.get("ReservedConcurrentExecutions")) == 0:
            yield function.at("ReservedConcurrentExecutions"), "is 0: every invocation is throttled"


@template_rule(
    "MYT620",
    "A provisioned concurrency of none",
    "Provision at least 1, or leave the configuration out.",
)
def _none(template: Template) -> Hits:
    for resource, path, _, value in _provisioned(template):
        if resource.type != TARGET and value < 1:
            yield resource.at(path), f"is {value:g}, which Lambda refuses"


@template_rule(
    "MYT602",
    "Provisioned concurrency that no invocation uses",
    "Provision an alias of a published version: $LATEST takes none, and SnapStart excludes it.",
)
def _latest(template: Template) -> Hits:
    for alias in template.of(ALIAS):
        if (
            alias.properties.get("ProvisionedConcurrencyConfig")
            and alias.properties.get("FunctionVersion") == "$LATEST"
        ):
            yield alias.at("ProvisionedConcurrencyConfig"), "the alias points at $LATEST"
    for target in template.of(TARGET):
        pieces = segments(target.properties.get("ResourceId"))
        for alias in template.assembly.of(ALIAS) if pieces[0] == "function" else ():
            if (
                alias.properties.get("Name") == pieces[-1]
                and alias.properties.get("FunctionVersion") == "$LATEST"
            ):
                yield target.at("ResourceId"), f"the alias {alias.id} points at $LATEST"
    for resource, path, function, _ in _provisioned(template):
        if function is not None and part(function.properties, "SnapStart", "ApplyOn") == "PublishedVersions":
            yield resource.at(path), f"{function.id} has SnapStart, which excludes it"
    for target in template.of(TARGET):
        pieces = segments(target.properties.get("ResourceId"))
        if pieces[0] == "function" and pieces[-1] == "$LATEST":
            yield target.at("ResourceId"), "$LATEST takes no provisioned concurrency"
    for url in template.of("AWS::Lambda::Url"):
        function = function_of(template, url.properties.get("TargetFunctionArn"))
        provisioned = [
            r for r, _, f, _ in _provisioned(template) if f is function and f is not None and r.type == ALIAS
        ]
        if (
            provisioned
            and "Qualifier" not in url.properties
            and template.assembly.target(url.properties.get("TargetFunctionArn"), ALIAS) is None
        ):
            yield url.at("Qualifier"), f"is missing: requests go to $LATEST, not to {provisioned[0].id}"


@template_rule(
    "MYT603",
    "A limit of Lambda",
    "Timeout 1 to 900 s, memory 128 to 10240 MB, storage 512 to 10240 MB, environment 4 KB without "
    "reserved names.",
)
def _limits(template: Template) -> Hits:
    for function in template.of(FUNCTION):
        p = function.properties
        for path, value, low, high in (
            ("Timeout", p.get("Timeout"), 1, 900),
            ("MemorySize", p.get("MemorySize"), 128, 10_240),
            ("EphemeralStorage.Size", part(p, "EphemeralStorage", "Size"), 512, 10_240),
        ):
            found = number(value)
            if found is not None and not low <= found <= high:
                yield function.at(path), f"{found:g} is not within {low} to {high}"
        variables = part(p, "Environment", "Variables")
        variables = variables if isinstance(variables, dict) else {}
        if sum(len(str(k)) + len(str(v)) for k, v in variables.items()) > 4096:
            yield function.at("Environment"), "is larger than 4 KB"
        for name in variables:
            if RESERVED_VARIABLES.fullmatch(name):
                yield (
                    function.at(f"Environment.Variables.{name}"),
                    "is reserved by Lambda: the function is refused",
                )
        handler, runtime = p.get("Handler"), str(p.get("Runtime"))
        if (
            isinstance(handler, str)
            and known(handler)
            and runtime.startswith(("python", "nodejs", "ruby"))
            and "." not in handler
        ):
            yield function.at("Handler"), f"is {handler!r}, not MODULE.FUNCTION"
        if len(listed(p.get("Layers"))) > 5:
            yield function.at("Layers"), "has more than 5"


@template_rule(
    "MYT613",
    "A log group that keeps its entries for ever, or under another name",
    "Give RetentionInDays of the allowed values, and the function's name where the function has one.",
)
def _logs(template: Template) -> Hits:
    for group in template.of("AWS::Logs::LogGroup"):
        days = group.properties.get("RetentionInDays")
        if days is None:
            yield group.at("RetentionInDays"), Advice("is missing")
    named = [
        f
        for f in template.of(FUNCTION)
        if known(f.name) and not part(f.properties, "LoggingConfig", "LogGroup")
    ]
    for group in template.of("AWS::Logs::LogGroup"):
        found = re.fullmatch(r"/aws/lambda/(.+)", group.name)
        if found and known(group.name) and named and found[1] not in {f.name for f in named}:
            yield group.at("LogGroupName"), f"there is no function {found[1]}"


@template_rule(
    "MYT614",
    "A custom resource that waits an hour for an answer that never comes",
    "Give ServiceTimeout, a little above what the handler may take.",
)
def _custom(template: Template) -> Hits:
    for resource in template.resources.values():
        if resource.type.startswith("Custom::") or resource.type == "AWS::CloudFormation::CustomResource":
            timeout = number(resource.properties.get("ServiceTimeout"))
            if timeout is not None and not 1 <= timeout <= 3600:
                yield resource.at("ServiceTimeout"), f"{timeout:g} is not within 1 to 3600"
            token = resource.properties.get("ServiceToken")
            if token is None:
                yield resource.at("ServiceToken"), "is missing"
            function = function_of(template, token)
            if (
                function is not None
                and timeout is not None
                and timeout < (number(function.properties.get("Timeout", 3)) or 0)
                and "framework" not in function.id.lower()
            ):
                yield resource.at("ServiceTimeout"), f"is {timeout:g} s, but {function.id} may take longer"
