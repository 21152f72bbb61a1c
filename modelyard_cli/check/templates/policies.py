"""Policies: actions, resources and conditions that do not belong together, and grants that are too wide.

https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from modelyard_cli.check import iam_reference
from modelyard_cli.check.registry import Advice, Hits, template_rule
from modelyard_cli.check.templates.model import Template, known, listed, literal
from modelyard_cli.check.templates.statements import (
    Statement,
    identity_statements,
    resource_statements,
)

_GLOBAL = ("aws:", "${?")
ARN = re.compile(r"arn:[^:]*:(?P<service>[^:]*):(?P<region>[^:]*):(?P<account>[^:]*):(?P<rest>.+)", re.DOTALL)
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


def all_statements(template: Template) -> Iterator[Statement]:
    yield from identity_statements(template)
    yield from resource_statements(template)


_MEANT = 6


@template_rule(
    "MYT301",
    "An action that does not exist",
    "Mend the spelling, with the prefix of the service; see AWS's service authorization reference.",
)
def _unknown(template: Template) -> Hits:
    for statement in all_statements(template):
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
    for statement in all_statements(template):
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
    found, wanted = ARN.fullmatch(text), ARN.fullmatch(form)
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
