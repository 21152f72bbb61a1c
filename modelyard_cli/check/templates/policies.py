"""Policies: actions, resources and conditions that do not belong together, and grants that are too wide.

https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from modelyard_cli.check import iam_reference
from modelyard_cli.check.registry import Advice, Hits, template_rule
from modelyard_cli.check.templates.model import Template, known, listed, literal
from modelyard_cli.check.templates.statements import (
    ROLE,
    Statement,
    identity_statements,
    resource_statements,
    trust_statements,
)

_GLOBAL = ("aws:", "${?")
_ARN = re.compile(
    r"arn:[^:]*:(?P<service>[^:]*):(?P<region>[^:]*):(?P<account>[^:]*):(?P<rest>.+)", re.DOTALL
)
_NO_REGION = {"iam", "s3", "cloudfront", "route53", "organizations", "budgets"}
_NO_ACCOUNT = {"s3"}
_OPERATORS = re.compile(
    r"(ForAllValues:|ForAnyValue:)?(String(Not)?(Equals|Like)(IgnoreCase)?|Numeric(Not)?(Equals|LessThan(Equals)?|GreaterThan(Equals)?)|"
    r"Date(Not)?(Equals|LessThan(Equals)?|GreaterThan(Equals)?)|Bool|BinaryEquals|(Not)?IpAddress|Arn(Not)?(Equals|Like)|Null)(IfExists)?"
)
_GLOBAL_KEYS = {
    "aws:calledvia",
    "aws:calledviafirst",
    "aws:calledvialast",
    "aws:currenttime",
    "aws:ec2instancesourceprivateipv4",
    "aws:ec2instancesourcevpc",
    "aws:epochtime",
    "aws:federatedprovider",
    "aws:multifactorauthage",
    "aws:multifactorauthpresent",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalisawsservice",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalservicename",
    "aws:principalservicenameslist",
    "aws:principaltype",
    "aws:referer",
    "aws:requestedregion",
    "aws:resourceaccount",
    "aws:resourceorgid",
    "aws:resourceorgpaths",
    "aws:securetransport",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceidentity",
    "aws:sourceip",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:tagkeys",
    "aws:tokenissuetime",
    "aws:useragent",
    "aws:userid",
    "aws:username",
    "aws:viaawsservice",
    "aws:vpcsourceip",
    "aws:sourcevpcarn",
    "aws:vpceaccount",
    "aws:vpceorgid",
    "aws:vpceorgpaths",
    "aws:signinsessionarn",
    "aws:chatbotsourcearn",
}


def _all(template: Template) -> Iterator[Statement]:
    yield from identity_statements(template)
    yield from resource_statements(template)


_MEANT = 6


@template_rule(
    "MYT301",
    "An action that does not exist",
    "Mend the spelling, with the prefix of the service; see AWS's service authorization reference.",
)
def _unknown(template: Template) -> Hits:
    for statement in _all(template):
        for action in (*statement.actions, *listed(statement.body.get("NotAction"))):
            if not isinstance(action, str) or action == "*" or not known(action):
                continue
            prefix = action.partition(":")[0].lower()
            if not iam_reference.service_known(prefix):
                yield statement.at, f"{action}: there is no service {prefix!r}"
            elif not iam_reference.actions(action) and prefix != "sagemaker-mlflow":
                message = f"there is no action {action}"
                yield statement.at, Advice(message) if "*" in action else message


@template_rule(
    "MYT302",
    "A resource that does not belong to the action",
    "Name a resource of the kind that the action works on: objects are BUCKET/*, buckets BUCKET "
    "alone; some actions take * only.",
)
def _resources(template: Template) -> Hits:
    for statement in _all(template):
        resources = statement.resources
        if not resources or not statement.identity or any("${?" in r for r in resources) or "*" in resources:
            continue
        for action in statement.actions:
            covered = iam_reference.actions(action)
            if not covered:
                continue
            forms = {form for a in covered for form in iam_reference.resource_forms(a)}
            if not forms:
                message = f"{action} takes no resource but *: the statement never allows it"
            elif not any(_fits(r, form) for r in resources for form in forms):
                message = f"{action} does not work on {resources[0]}"
            else:
                continue
            # Long lists grant what may be needed; in a short one, each action was meant.
            meant = len(statement.actions) <= _MEANT and "*" not in action
            yield statement.at, message if meant else Advice(message)
    yield from _useless(template)


def _useless(template: Template) -> Hits:
    """Resources of a statement that none of its actions works on."""
    for statement in identity_statements(template):
        covered = [a for action in statement.actions for a in iam_reference.actions(action)]
        forms = {form for a in covered for form in iam_reference.resource_forms(a)}
        for resource in statement.resources:
            if resource == "*" or "${?" in resource or not forms or not covered:
                continue
            if any(not iam_reference.resource_forms(a) for a in covered):
                continue
            if not any(_fits(resource, form) for form in forms) and any(
                _fits(r, f) for r in statement.resources for f in forms
            ):
                yield statement.at, Advice(f"none of its actions works on {resource}")


def _fits(resource: str, form: str) -> bool:
    text = literal(resource)
    found, wanted = _ARN.fullmatch(text), _ARN.fullmatch(form)
    if text.startswith("arn:") and text.endswith(":*") and text.count(":") < 5:
        return iam_reference.overlap(text, form)
    if found is None or wanted is None:
        return text == "token" or not text.startswith("arn:")
    if not iam_reference.overlap(found["service"], wanted["service"]):
        return False
    rest, form_rest = found["rest"], wanted["rest"]
    if found["service"] == "s3":
        if bool(found["account"]) != bool(wanted["account"]):
            return False  # access points have an account, buckets and objects have none
        return ("/" in rest or rest.endswith("*")) if "/" in form_rest else "/" not in rest
    return iam_reference.overlap(rest, form_rest)


@template_rule(
    "MYT303",
    "An ARN with a slot missing, filled, or of another partition's form",
    "arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE; S3 has neither region nor account, IAM no region.",
)
def _arns(template: Template) -> Hits:
    for statement in _all(template):
        for resource in (*statement.resources, *listed(statement.body.get("NotResource"))):
            if not isinstance(resource, str) or not resource.startswith("arn:"):
                if isinstance(resource, str) and resource != "*" and known(resource):
                    yield statement.at, f"{resource!r} is no ARN"
                continue
            found = _ARN.fullmatch(re.sub(r"\$\{[^}]*\}", "token", resource))
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
    "MYT304",
    "A condition key that the action does not fill",
    "Take a key that AWS lists for the action: with any other the statement never applies.",
)
def _keys(template: Template) -> Hits:
    for statement in identity_statements(template):
        for operator, key, _ in statement.conditions:
            name = key.lower()
            if name.startswith("aws:"):
                if name not in _GLOBAL_KEYS and not name.startswith(
                    ("aws:principaltag/", "aws:requesttag/", "aws:resourcetag/")
                ):
                    yield statement.at, f"there is no condition key {key}"
                continue
            if not known(name) or operator.endswith("IfExists") or operator == "Null":
                continue
            for action in statement.actions:
                covered = iam_reference.actions(action)
                if covered and not any(_fills(a, name) for a in covered):
                    yield statement.at, f"{action} does not fill {key}: the statement never allows it"


def _fills(action: str, key: str) -> bool:
    return any(
        key == k or (k.endswith(("/", ":")) and key.startswith(k))
        for k in iam_reference.condition_keys(action)
    )


@template_rule(
    "MYT305",
    "A condition whose operator and values do not fit",
    "StringLike for wildcards, Bool for true and false, ArnLike for ARNs, IpAddress for ranges.",
)
def _operators(template: Template) -> Hits:
    statements = list(_all(template))
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
    for statement in _all(template):
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
