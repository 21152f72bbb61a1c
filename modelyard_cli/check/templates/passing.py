"""Roles that are passed on, and policies of AWS that are attached.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from modelyard_cli.check.registry import Hits, template_rule
from modelyard_cli.check.templates.model import Template, known, listed, literal
from modelyard_cli.check.templates.role_needs import role_of
from modelyard_cli.check.templates.statements import ROLE, identity_statements, may, of_role, trusted

# Requests with a role that the service then assumes.
_PASSING = (
    "sagemaker:createautomljob",
    "sagemaker:createautomljobv2",
    "sagemaker:createhyperparametertuningjob",
    "sagemaker:createmodel",
    "sagemaker:createmonitoringschedule",
    "sagemaker:createnotebookinstance",
    "sagemaker:createpipeline",
    "sagemaker:createprocessingjob",
    "sagemaker:createtrainingjob",
    "states:createstatemachine",
    "lambda:createfunction",
)
# Policies of AWS that this domain attaches -> the path below arn:aws:iam::aws:policy/
_PATHS = {
    **dict.fromkeys(
        (
            "AWSLambdaBasicExecutionRole",
            "AWSLambdaDynamoDBExecutionRole",
            "AWSLambdaKinesisExecutionRole",
            "AWSLambdaSQSQueueExecutionRole",
            "AWSLambdaVPCAccessExecutionRole",
            "AmazonEC2ContainerServiceforEC2Role",
            "AmazonEC2ContainerServiceEventsRole",
            "AmazonECSTaskExecutionRolePolicy",
            "AmazonECSInfrastructureRolePolicyForVolumes",
        ),
        "service-role/",
    ),
    **dict.fromkeys(
        (
            "AdministratorAccess",
            "AmazonDynamoDBFullAccess",
            "AmazonDynamoDBReadOnlyAccess",
            "AmazonEC2ContainerRegistryReadOnly",
            "AmazonS3FullAccess",
            "AmazonS3ReadOnlyAccess",
            "AmazonSQSFullAccess",
            "AmazonSSMManagedInstanceCore",
            "AmazonSageMakerFullAccess",
            "AmazonSageMakerReadOnly",
            "AWSXRayDaemonWriteAccess",
            "CloudWatchAgentServerPolicy",
        ),
        "",
    ),
}


@template_rule(
    "MYT313",
    "A role passed to a service that the role does not trust",
    "Name in iam:PassedToService the service that the role's trust policy names.",
)
def _passed(template: Template) -> Hits:
    for statement in identity_statements(template):
        if not statement.allows or "iam:passrole" not in [a.lower() for a in statement.actions]:
            continue
        services = [
            str(v)
            for _, k, values in statement.conditions
            if k.lower() == "iam:passedtoservice"
            for v in values
        ]
        for arn in statement.resources:
            role = role_of(template, arn)
            principals = trusted(role) if role else set()
            if not services or role is None or not all(map(known, (*services, *principals))):
                continue
            if not any(fnmatchcase(p, s) for p in principals for s in services):
                owners = ", ".join(sorted(principals))
                yield statement.at, f"passes {role.id} to {', '.join(services)}, but it trusts {owners}"


@template_rule(
    "MYT326",
    "A role that makes what bears a role, and may pass none",
    "Grant iam:PassRole on the role that the job, model or pipeline shall have.",
)
def _unpassed(template: Template) -> Hits:
    for role in template.of(ROLE):
        for statement in of_role(role) or ():
            made = [a for a in statement.actions if a.lower() in _PASSING]
            if statement.allows and made and not may(role, "iam:PassRole"):
                place = statement.at if statement.resource.template is template else role.at()
                yield place, f"{made[0]} hands over a role, but {role.id} has no iam:PassRole"


@template_rule(
    "MYT327",
    "A managed policy that AWS does not have under this name",
    "Policies for roles of services have the path service-role/, most others none.",
)
def _managed(template: Template) -> Hits:
    for role in template.of(ROLE):
        for arn in listed(role.properties.get("ManagedPolicyArns")):
            found = re.fullmatch(r"arn:[^:]+:iam::aws:policy/((?:[\w-]+/)*)([\w-]+)", literal(str(arn)))
            if found is None or found[1] == _PATHS.get(found[2], found[1]):
                continue
            path = f"policy/{_PATHS[found[2]]}{found[2]}"
            yield role.at("ManagedPolicyArns"), f"there is no policy/{found[1]}{found[2]}, but {path}"
