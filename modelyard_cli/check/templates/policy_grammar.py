"""ARNs, operators and documents of policies.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from modelyard_cli.check.registry import Advice, Hits, template_rule
from modelyard_cli.check.templates.model import Template, known, listed, literal
from modelyard_cli.check.templates.policies import ARN, all_statements
from modelyard_cli.check.templates.statements import (
    ROLE,
    trust_statements,
)

_NO_REGION = {"iam", "s3", "cloudfront", "route53", "organizations", "budgets"}
_NO_ACCOUNT = {"s3"}
_OPERATORS = re.compile(
    r"(ForAllValues:|ForAnyValue:)?(String(Not)?(Equals|Like)(IgnoreCase)?|Numeric(Not)?(Equals|LessThan(Equals)?|GreaterThan(Equals)?)|"
    r"Date(Not)?(Equals|LessThan(Equals)?|GreaterThan(Equals)?)|Bool|BinaryEquals|(Not)?IpAddress|Arn(Not)?(Equals|Like)|Null)(IfExists)?"
)


@template_rule(
    "MYT303",
    "An ARN with a slot missing, filled, or of another partition's form",
    "arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE; S3 has neither region nor account, IAM no region.",
)
def _arns(template: Template) -> Hits:
    for statement in all_statements(template):
        for resource in (*statement.resources, *listed(statement.body.get("NotResource"))):
            if not isinstance(resource, str) or not resource.startswith("arn:"):
                if isinstance(resource, str) and resource != "*" and known(resource):
                    yield statement.at, f"{resource!r} is no ARN"
                continue
            found = ARN.fullmatch(re.sub(r"\$\{[^}]*\}", "token", resource))
            if found is None and resource.endswith("*"):
                continue
            if found is None:
                yield statement.at, f"{resource} has too few parts"
                continue
            yield from ((statement.at, f"{resource} {problem}") for problem in _slots(found))


def _slots(found: re.Match[str]) -> Iterator[str]:
    service, region, account = found["service"], found["region"], found["account"]
    if (
        service in _NO_REGION
        and region not in ("", "*")
        and not (service == "s3" and found["rest"].startswith("accesspoint"))
    ):
        yield f"has a region, which {service} has not"
    if service in _NO_ACCOUNT and account and not found["rest"].startswith("accesspoint"):
        yield f"has an account, which {service} has not"
    if service == "iam" and not account:
        yield "has no account"
    if service in (
        "lambda",
        "sqs",
        "sns",
        "sagemaker",
        "dynamodb",
        "states",
        "events",
        "ecs",
        "ecr",
        "logs",
        "kms",
    ):
        if not region:
            yield "has no region"
        if not account:
            yield "has no account"
        elif account not in ("*", "token", "aws") and not re.fullmatch(
            r"\d{12}|[\d*?]*token[\d*?]*|[\d?]*\*[\d?]*", account
        ):
            yield f"has {account!r} in place of an account"


@template_rule(
    "MYT305",
    "A condition whose operator and values do not fit",
    "StringLike for wildcards, Bool for true and false, ArnLike for ARNs, IpAddress for ranges.",
)
def _operators(template: Template) -> Hits:
    statements = list(all_statements(template))
    for role in template.of(ROLE):
        statements += list(trust_statements(role))
    for statement in statements:
        for operator, key, values in statement.conditions:
            if not _OPERATORS.fullmatch(operator):
                yield statement.at, f"there is no operator {operator}"
                continue
            plain = re.sub(r"^For\w+:|IfExists$", "", operator)
            for value in values:
                text = literal(str(value))
                if (
                    plain in ("StringEquals", "StringNotEquals", "ArnEquals")
                    and "*" in text
                    and plain[0] == "S"
                ):
                    yield statement.at, f"{operator} of {key} takes * literally: StringLike is meant"
                elif plain == "Bool" and str(value).lower() not in ("true", "false") and known(value):
                    yield statement.at, f"{operator} of {key} with {value!r}"
                elif (
                    plain.startswith("Arn")
                    and known(value)
                    and not str(value).startswith("arn:")
                    and "*" not in str(value)
                ):
                    yield statement.at, f"{operator} of {key} with {value!r}, which is no ARN"
            if not values:
                yield statement.at, f"{operator} of {key} without values"


@template_rule(
    "MYT310",
    "A statement of the wrong kind of policy",
    "Policies of roles name no Principal; policies of resources and trust policies do.",
)
def _kinds(template: Template) -> Hits:
    for statement in all_statements(template):
        has = "Principal" in statement.body or "NotPrincipal" in statement.body
        if statement.identity and has:
            yield statement.at, "names a Principal in a policy of a role"
        elif (
            not statement.identity
            and not has
            and statement.resource.type != "AWS::SageMaker::ModelPackageGroup"
        ):
            yield statement.at, "names no Principal"
        if statement.identity and not statement.resources and "NotResource" not in statement.body:
            yield statement.at, "names no Resource"
        if statement.body.get("Effect") not in ("Allow", "Deny"):
            yield statement.at, f"has the Effect {statement.body.get('Effect')!r}"
        if not statement.actions and "NotAction" not in statement.body:
            yield statement.at, "names no Action"


def _documents(template: Template) -> Iterator[tuple[str, Any]]:
    for resource in template.of(ROLE, "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
        for member in ("PolicyDocument", "AssumeRolePolicyDocument"):
            if isinstance(resource.properties.get(member), dict):
                yield resource.at(member), resource.properties[member]


@template_rule(
    "MYT312",
    "A policy of the old version, or attached to nobody",
    'Write "Version": "2012-10-17": in the older one variables and some keys mean nothing. Attach '
    "it to a role.",
)
def _versions(template: Template) -> Hits:
    for at, document in _documents(template):
        version = document.get("Version")
        if version != "2012-10-17":
            message = f"is {version!r}"
            yield f"{at}.Version", Advice(message) if version in (None, "2008-10-17") else message
    for policy in template.of("AWS::IAM::Policy"):
        if not any(policy.properties.get(m) for m in ("Roles", "Users", "Groups")):
            yield policy.at("Roles"), "the policy is attached to nobody"


_SERVICE = re.compile(r"[a-z0-9-]+\.(token|[a-z]{2}(-[a-z]+)+-\d)\.(amazonaws\.com(\.cn)?|token)")


@template_rule(
    "MYT314",
    "A service in kms:ViaService that KMS never sees",
    "Write it with its region, SERVICE.REGION.amazonaws.com: s3.${AWS::Region}.amazonaws.com.",
)
def _via(template: Template) -> Hits:
    for statement in all_statements(template):
        for _, key, values in statement.conditions:
            for value in values if key.lower() == "kms:viaservice" else ():
                text = literal(str(value))
                if "*" not in text and "?" not in text and text != "token" and not _SERVICE.fullmatch(text):
                    yield statement.at, f"{value!r} is not SERVICE.REGION.amazonaws.com"
