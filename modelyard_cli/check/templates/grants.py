"""Grants that are too wide, and policies of resources that let anybody in.

https://docs.aws.amazon.com/IAM/latest/UserGuide/best-practices.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from modelyard_cli.check import iam_reference
from modelyard_cli.check.registry import Advice, Hits, template_rule
from modelyard_cli.check.templates.model import Template, known, listed, literal, objects
from modelyard_cli.check.templates.statements import (
    ROLE,
    identity_statements,
    resource_statements,
)

_FULL = re.compile(r"(AdministratorAccess|PowerUserAccess|FullAccess)$")


@template_rule(
    "MYT306", "iam:PassRole without a limit", "Name the role, and the service in iam:PassedToService."
)
def _pass_role(template: Template) -> Hits:
    for statement in identity_statements(template):
        if not statement.allows or "iam:passrole" not in [a.lower() for a in statement.actions]:
            continue
        passed = [
            v
            for _, key, values in statement.conditions
            if key.lower() == "iam:passedtoservice"
            for v in values
        ]
        if not passed:
            yield statement.at, Advice("has no condition iam:PassedToService")
        for service in passed:
            if known(service) and not re.fullmatch(
                r"[a-z0-9-]+(\.[a-z0-9-]+)*\.(amazonaws\.com(\.cn)?|\*)|\*\.amazonaws\.com", str(service)
            ):
                yield statement.at, f"{service!r} is no service principal"
        if any(r == "*" or literal(r).endswith(":role/*") for r in statement.resources):
            message = "passes every role of the account"
            yield statement.at, Advice(message) if passed else message


@template_rule(
    "MYT307", "A grant of everything", "Name the actions, and the resources that they are needed on."
)
def _everything(template: Template) -> Hits:
    for statement in identity_statements(template):
        if not statement.allows:
            continue
        if "NotAction" in statement.body or "NotResource" in statement.body:
            yield statement.at, Advice("allows all but what it names")
        for action in statement.actions:
            wide = action == "*" or re.fullmatch(r"[\w-]+:\*", action)
            if wide and (
                "*" in statement.resources
                or action == "*"
                or action.lower() in ("iam:*", "sagemaker:*", "s3:*", "kms:*", "sts:*")
            ):
                message = f"allows {action} on {', '.join(statement.resources[:2])}"
                powerful = action.lower() in ("*", "iam:*", "sts:*", "kms:*", "s3:*", "sagemaker:*")
                everywhere = "*" in statement.resources
                yield statement.at, message if powerful and everywhere else Advice(message)
    for role in template.of(ROLE):
        for arn in listed(role.properties.get("ManagedPolicyArns")):
            if _FULL.search(str(arn)):
                name = str(arn).rsplit("/", 1)[-1]
                message = f"{name} allows far more than one job needs"
                # The policies of one service are what its guides attach; those of everything are a fault.
                everything = name in ("AdministratorAccess", "PowerUserAccess")
                yield role.at("ManagedPolicyArns"), message if everything else Advice(message)


@template_rule(
    "MYT308",
    "A write to every resource of the account",
    "Name the resources; * is for actions that take nothing else.",
)
def _every_resource(template: Template) -> Hits:
    for statement in identity_statements(template):
        if not statement.allows or "*" not in statement.resources:
            continue
        scoped = {k.lower() for _, k, _ in statement.conditions}
        for action in statement.actions:
            narrow = [
                a
                for a in iam_reference.actions(action)
                if iam_reference.resource_forms(a)
                and iam_reference.access_level(a) in ("Write", "Permissions management")
            ]
            if (
                narrow
                and not scoped
                and not action.lower().startswith(
                    ("ec2:", "logs:", "xray:", "events:", "iam:passrole", "*", "ecs:")
                )
                and ":*" not in action
            ):
                yield statement.at, Advice(f"allows {action} on *")
            elif not scoped and action.lower() in (
                "s3:getobject",
                "secretsmanager:getsecretvalue",
                "kms:decrypt",
                "dynamodb:getitem",
                "dynamodb:scan",
                "ssm:getparameter",
                "ssm:getparameters",
            ):
                yield statement.at, Advice(f"allows {action} on *: it reads everybody's data")


@template_rule(
    "MYT309",
    "A policy of a resource that lets anybody in",
    "Name the principal, or a condition on its account, organisation or source ARN.",
)
def _public(template: Template) -> Hits:
    for statement in resource_statements(template):
        if statement.resource.type == "AWS::EC2::VPCEndpoint":
            continue
        if (
            statement.allows
            and any(literal(p) == "*" or literal(p).endswith(":aws:*") for p in statement.principals)
            and not any(
                re.match(r"(?i)aws:(source|principal|calledvia)|kms:(calleraccount|viaservice)", key)
                for _, key, _ in statement.conditions
            )
        ):
            yield statement.at, "allows every principal"
        if statement.body.get("Effect") == "Allow" and "NotPrincipal" in statement.body:
            yield statement.at, "allows all but the principals that it names"


@template_rule(
    "MYT311",
    "A statement on a name that this assembly does not have",
    "Refer to the resource, or mend the name: the statement allows nothing.",
)
def _names(template: Template) -> Hits:
    kinds = {
        "endpoint": "AWS::SageMaker::Endpoint",
        "model-package-group": "AWS::SageMaker::ModelPackageGroup",
        "model-package": "AWS::SageMaker::ModelPackageGroup",
        "pipeline": "Custom::SageMakerPipeline",
    }
    for statement in identity_statements(template):
        for resource in statement.resources:
            yield from ((statement.at, message) for message in _index(template, resource))
            found = re.fullmatch(
                r"arn:.*:sagemaker:.*:(endpoint|model-package-group|model-package|pipeline)/([^/*]+)(/.*)?",
                resource,
            )
            if found is None or not known(found[2]):
                continue
            names = {
                r.name
                for r in template.assembly.of(
                    kinds[found[1]], *(["AWS::SageMaker::Pipeline"] if found[1] == "pipeline" else [])
                )
            }
            if (
                names
                and all(known(n) for n in names)
                and not any(n.lower() == found[2].lower() for n in names)
            ):
                yield statement.at, f"there is no {found[1]} {found[2]}"


def _index(template: Template, resource: str) -> Iterator[str]:
    """What is wrong with the name of an index of a table."""
    found = re.fullmatch(r"(.+:table/.+)/index/([\w.-]+)", resource)
    table = template.assembly.target(found[1], "AWS::DynamoDB::Table") if found else None
    if found is None or table is None:
        return
    kinds = ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
    names = [str(i.get("IndexName")) for kind in kinds for i in objects(table.properties.get(kind))]
    if found[2] not in names and all(map(known, names)):
        yield f"{table.id} has no index {found[2]}, but: {', '.join(names) or 'none'}"
