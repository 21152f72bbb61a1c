"""Roles: who assumes them, and whether they may do what their bearer has to.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_aws-services-that-work-with-iam.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from modelyard_cli.check.registry import Hits, template_rule
from modelyard_cli.check.templates.model import Resource, Template, known, listed, objects, opaque, part
from modelyard_cli.check.templates.role_needs import needs, role_of
from modelyard_cli.check.templates.statements import ROLE, may, trust_statements, trusted

# type -> path of the role -> the service that assumes it
_BEARERS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("AWS::Lambda::Function", ("Role",), "lambda"),
    ("AWS::SageMaker::Model", ("ExecutionRoleArn",), "sagemaker"),
    ("AWS::SageMaker::Pipeline", ("RoleArn",), "sagemaker"),
    ("AWS::SageMaker::NotebookInstance", ("RoleArn",), "sagemaker"),
    ("AWS::SageMaker::FeatureGroup", ("RoleArn",), "sagemaker"),
    ("AWS::SageMaker::Domain", ("DefaultUserSettings", "ExecutionRole"), "sagemaker"),
    ("Custom::SageMakerPipeline", ("RoleArn",), "sagemaker"),
    ("AWS::StepFunctions::StateMachine", ("RoleArn",), "states"),
    ("AWS::ECS::TaskDefinition", ("TaskRoleArn",), "ecs-tasks"),
    ("AWS::ECS::TaskDefinition", ("ExecutionRoleArn",), "ecs-tasks"),
    ("AWS::CodeDeploy::DeploymentGroup", ("ServiceRoleArn",), "codedeploy"),
    ("AWS::EC2::FlowLog", ("DeliverLogsPermissionArn",), "vpc-flow-logs"),
    ("AWS::Scheduler::Schedule", ("Target", "RoleArn"), "scheduler"),
    ("AWS::Pipes::Pipe", ("RoleArn",), "pipes"),
    ("AWS::KinesisFirehose::DeliveryStream", ("ExtendedS3DestinationConfiguration", "RoleARN"), "firehose"),
)


def bearers(template: Template) -> Iterator[tuple[Resource, str, Any, str]]:
    """(resource, path, role ARN, service) of everything that bears a role."""
    for kind, path, service in _BEARERS:
        for resource in template.of(kind):
            arn = part(resource.properties, *path)
            if arn is not None:
                yield resource, ".".join(path), arn, service
    for profile in template.of("AWS::IAM::InstanceProfile"):
        for name in listed(profile.properties.get("Roles")):
            yield profile, "Roles", name, "ec2"
    for rule in template.of("AWS::Events::Rule"):
        for index, target in enumerate(objects(rule.properties.get("Targets"))):
            if "RoleArn" in target:
                yield rule, f"Targets[{index}].RoleArn", target["RoleArn"], "events"


@template_rule(
    "MYT321", "A role that its bearer cannot assume", "Trust the service that bears it, with sts:AssumeRole."
)
def _trust(template: Template) -> Hits:
    for resource, path, arn, service in bearers(template):
        role = role_of(template, arn)
        if role is None:
            continue
        principals = trusted(role)
        if not any(
            re.match(rf"{service}\.(\S+\.)?amazonaws\.com|\*$", p) or opaque(p) or p.startswith(f"{service}.")
            for p in principals
        ):
            yield (
                resource.at(path),
                f"{role.id} does not trust {service}.amazonaws.com, but: "
                f"{', '.join(sorted(principals)) or 'nobody'}",
            )


@template_rule(
    "MYT322", "A bearer without a role, or with something else in its place", "Give the ARN of a role."
)
def _missing(template: Template) -> Hits:
    for model in template.of("AWS::SageMaker::Model"):
        if "ExecutionRoleArn" not in model.properties:
            yield model.at("ExecutionRoleArn"), "is missing: the endpoint can read neither image nor model"
    for resource, path, arn, _ in bearers(template):
        if (
            isinstance(arn, str)
            and arn
            and path != "Roles"
            and known(arn)
            and not re.fullmatch(r"arn:aws[\w-]*:iam::\d{12}:role/.+", arn)
        ):
            yield resource.at(path), f"{arn!r} is no ARN of a role"
        elif (
            isinstance(arn, str)
            and arn.startswith("arn:")
            and ":role/" not in arn
            and not opaque(arn)
            and ":iam:" in arn
        ):
            yield resource.at(path), f"{arn} is no ARN of a role"
        target = template.assembly.target(arn) if isinstance(arn, str) else None
        if (
            target is not None
            and target.type != ROLE
            and path != "Roles"
            and not target.type.startswith(("AWS::CloudFormation", "Custom"))
        ):
            yield resource.at(path), f"refers to {target.id}, a {target.type}"


@template_rule(
    "MYT323",
    "A role that lacks what its bearer does",
    "Grant the action on the resource that the message names.",
)
def _needs(template: Template) -> Hits:
    for resource, path, role, action, on in needs(template):
        if not may(role, action, on):
            yield resource.at(path), f"{role.id} may not {action} on {on}"


@template_rule(
    "MYT324",
    "A target of events that needs a role and has none",
    "Give the target a RoleArn that events.amazonaws.com may assume.",
)
def _target_roles(template: Template) -> Hits:
    for rule in template.of("AWS::Events::Rule"):
        for index, target in enumerate(objects(rule.properties.get("Targets"))):
            arn = str(target.get("Arn"))
            if (
                re.search(
                    r":states:|:ecs:.*cluster/|:sagemaker:.*pipeline/|:kinesis:|:events:.*event-bus/", arn
                )
                and "RoleArn" not in target
            ):
                yield rule.at(f"Targets[{index}]"), "has no RoleArn"


@template_rule("MYT325", "A role that anybody may assume", "Trust a service, or an account with a condition.")
def _anybody(template: Template) -> Hits:
    for role in template.of(ROLE):
        for statement in trust_statements(role):
            if (
                statement.allows
                and any(p == "*" for p in statement.principals)
                and not statement.body.get("Condition")
            ):
                yield statement.at, "trusts *"
            for principal in statement.principals:
                service = re.fullmatch(r"([\w-]+)\.amazonaws?\.(\w+)", principal)
                if (
                    principal.endswith(".com")
                    and not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.amazonaws\.com(\.cn)?", principal)
                    and "cognito" not in principal
                    and "${" not in principal
                ) or (service and service[2] != "com"):
                    yield statement.at, f"{principal!r} is no service principal"
            bad = [a for a in statement.actions if not a.startswith("sts:")]
            if bad:
                yield statement.at, f"a trust policy with {bad[0]}"
