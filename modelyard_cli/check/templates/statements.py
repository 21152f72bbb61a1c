"""Policies of a template as statements, and what a role may do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from modelyard_cli.check.iam_reference import overlap
from modelyard_cli.check.templates.model import Resource, Template, distinct, listed, objects

ROLE = "AWS::IAM::Role"
# Policies of resources: type -> property with the document.
RESOURCE_POLICIES = {
    "AWS::S3::BucketPolicy": "PolicyDocument",
    "AWS::SQS::QueuePolicy": "PolicyDocument",
    "AWS::SNS::TopicPolicy": "PolicyDocument",
    "AWS::KMS::Key": "KeyPolicy",
    "AWS::ECR::Repository": "RepositoryPolicyText",
    "AWS::SecretsManager::ResourcePolicy": "ResourcePolicy",
    "AWS::SageMaker::ModelPackageGroup": "ModelPackageGroupPolicy",
    "AWS::Events::EventBusPolicy": "Statement",
    "AWS::EC2::VPCEndpoint": "PolicyDocument",
}
# What managed policies of AWS grant, as far as this domain attaches them; others are taken to grant all.
_MANAGED = {
    "AWSLambdaBasicExecutionRole": ("logs:*",),
    "AWSLambdaVPCAccessExecutionRole": ("logs:*", "ec2:*NetworkInterface*"),
    "AWSLambdaSQSQueueExecutionRole": (
        "logs:*",
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
    ),
    "AmazonECSTaskExecutionRolePolicy": ("ecr:*", "logs:CreateLogStream", "logs:PutLogEvents"),
    "AWSXRayDaemonWriteAccess": ("xray:*",),
    "AmazonSSMManagedInstanceCore": ("ssm:*", "ssmmessages:*", "ec2messages:*"),
    "AmazonEC2ContainerServiceforEC2Role": ("ecs:*", "ecr:*", "logs:*"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement and its place; `identity` for policies of roles, not of resources."""

    resource: Resource
    path: str
    body: dict[str, Any]
    identity: bool

    @property
    def at(self) -> str:
        return self.resource.at(self.path)

    @property
    def allows(self) -> bool:
        return self.body.get("Effect") == "Allow"

    @property
    def actions(self) -> list[str]:
        return [item for item in listed(self.body.get("Action")) if isinstance(item, str)]

    @property
    def resources(self) -> list[str]:
        return [item for item in listed(self.body.get("Resource")) if isinstance(item, str)]

    @property
    def conditions(self) -> Iterator[tuple[str, str, list[Any]]]:
        """(operator, key, values)."""
        found = self.body.get("Condition")
        for operator, keys in found.items() if isinstance(found, dict) else ():
            for key, values in keys.items() if isinstance(keys, dict) else ():
                yield operator, key, listed(values)

    @property
    def principals(self) -> list[str]:
        """Services and AWS principals, `*` for anybody."""
        found = self.body.get("Principal")
        if isinstance(found, str):
            return [found]
        return (
            [str(p) for kinds in (found or {}).values() for p in listed(kinds)]
            if isinstance(found, dict)
            else []
        )


def _document(resource: Resource, path: str, document: Any, identity: bool) -> Iterator[Statement]:
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except json.JSONDecodeError:
            return
    if not isinstance(document, dict):
        return
    for index, body in enumerate(
        objects(document.get("Statement", document if "Effect" in document else None))
    ):
        yield Statement(resource=resource, path=f"{path}.Statement[{index}]", body=body, identity=identity)


def identity_statements(template: Template) -> Iterator[Statement]:
    """Statements of policies of roles, users and groups."""
    for resource in template.of(ROLE, "AWS::IAM::User", "AWS::IAM::Group"):
        for index, policy in enumerate(objects(resource.properties.get("Policies"))):
            yield from _document(
                resource, f"Policies[{index}].PolicyDocument", policy.get("PolicyDocument"), True
            )
    for resource in template.of("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy"):
        yield from _document(resource, "PolicyDocument", resource.properties.get("PolicyDocument"), True)


def resource_statements(template: Template) -> Iterator[Statement]:
    """Statements of policies of buckets, queues, topics, keys and the like."""
    for resource in template.of(*RESOURCE_POLICIES):
        path = RESOURCE_POLICIES[resource.type]
        yield from _document(resource, path, resource.properties.get(path), False)


def trust_statements(role: Resource) -> Iterator[Statement]:
    """Statements of a role's trust policy."""
    yield from _document(
        role, "AssumeRolePolicyDocument", role.properties.get("AssumeRolePolicyDocument"), False
    )


def trusted(role: Resource) -> set[str]:
    """Principals that may assume a role."""
    return {
        principal
        for statement in trust_statements(role)
        if statement.allows and any(a in ("sts:AssumeRole", "sts:*", "*") for a in statement.actions)
        for principal in statement.principals
    }


def of_role(role: Resource) -> list[Statement] | None:
    """Every statement that a role has; None where a managed policy may grant anything."""
    assembly, found = role.template.assembly, []
    for arn in listed(role.properties.get("ManagedPolicyArns")):
        name = str(arn).rsplit("/", 1)[-1]
        if name in _MANAGED:
            body = {"Effect": "Allow", "Action": list(_MANAGED[name]), "Resource": "*"}
            found.append(Statement(resource=role, path="ManagedPolicyArns", body=body, identity=True))
        elif assembly.target(arn, "AWS::IAM::ManagedPolicy") is None:
            return None
    for template in assembly.templates:
        for statement in identity_statements(template):
            holder = statement.resource
            attached = [*listed(holder.properties.get("Roles")), holder.properties.get("RoleName")]
            by_arn = [assembly.target(a) for a in listed(role.properties.get("ManagedPolicyArns"))]
            if holder is role or holder in by_arn or (holder.type != ROLE and role.name in attached):
                found.append(statement)
    return found


def _comparable(arn: str) -> str:
    """An ARN without partition, region and account: one template spells them out, another does not."""
    parts = distinct(arn).split(":", 5)
    return f"{parts[2]}:{parts[5]}" if len(parts) == 6 else "*" if "*" in arn else parts[-1]


def may(role: Resource, action: str, resource: str = "*") -> bool:
    """Whether a role is granted an action on a resource, or on any when that is not known."""
    statements = of_role(role)
    if statements is None:
        return True
    wanted = _comparable(resource)
    for statement in statements:
        if not statement.allows or "NotAction" in statement.body:
            if statement.allows:
                return True
            continue
        if not any(fnmatchcase(action.lower(), a.lower()) for a in statement.actions):
            continue
        given = [_comparable(r) for r in statement.resources]
        if resource == "*" or "NotResource" in statement.body or any(overlap(g, wanted) for g in given):
            return True
        if any("${?" in r for r in statement.resources):
            return True
    return False
