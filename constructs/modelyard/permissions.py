"""Statements on identities: explicit actions, and a reason for every wildcard resource.

All grants of this library go through :func:`allow`. It refuses what a reviewer would: actions with `*`, and
resources with `*` that nobody justified. The reason becomes a cdk-nag acknowledgement of exactly that
finding, on exactly that role, so that a new wildcard elsewhere still fails the synth.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import jsii
from aws_cdk import Acknowledgment, CfnResource, Names, Stack, Validations
from aws_cdk import aws_iam as iam
from constructs import Construct, IConstruct, IValidation

from modelyard.arns import stack_of
from modelyard.policy_statements import Statement, merge

_WILDCARD_RULE = "AwsSolutions-IAM5"
# https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutRolePolicy.html
_LONGEST_POLICY_NAME = 128


@functools.cache
def service_principal(service: str) -> iam.ServicePrincipal:
    """A service that takes roles, for example `sagemaker`; one object, in however many roles it stands."""
    return iam.ServicePrincipal(f"{service}.amazonaws.com")


def allow(
    grantee: iam.IGrantable,
    *,
    actions: Sequence[str],
    resources: Sequence[str],
    conditions: Mapping[str, Any] | None = None,
    reason: str | None = None,
) -> None:
    """Allow `grantee` the `actions` on the `resources`.

    Args:
        grantee: A role, a function, or anything else that can be granted to.
        actions: IAM actions written out, for example `s3:GetObject`.
        resources: ARNs; tokens and references across stacks are fine.
        conditions: Condition operators as in a policy document.
        reason: Why the `*` in a resource is needed. Required when a resource has one, useless otherwise.

    Raises:
        ValueError: An action holds `*`, or a resource does and `reason` is missing, or `grantee` takes no
            statements, as a role imported with `mutable=False` does.

    Example:
        >>> allow(role, actions=["s3:GetObject"], resources=[bucket.arn_for_objects("raw/*")],
        ...       reason="Objects below raw/ are not known at deploy time.")
    """
    if wild := [action for action in actions if "*" in action]:
        raise ValueError(f"actions must be written out, got {', '.join(wild)}")
    wildcards = [resource for resource in resources if "*" in resource]
    if wildcards and not reason:
        raise ValueError(
            f"{', '.join(actions)} on {', '.join(wildcards)}: say why the wildcard is needed (reason=...)"
        )
    statement = Statement(actions=tuple(actions), resources=tuple(resources), conditions=conditions or {})
    if isinstance(grantee, iam.Role) and grantee in _collected:
        draft = _collected[grantee]
        draft.statements.append(statement)
        if reason and wildcards:
            draft.wildcards.append((wildcards, reason))
        return
    holder = _add(grantee, statement)
    if holder is None:
        raise ValueError(
            f"{', '.join(actions)}: {_name(grantee)} takes no statements, so the grant would be lost. "
            "Grant to a role of this app or to one imported as mutable, or write it where the role is defined"
        )
    if reason and wildcards:
        acknowledge_wildcards(holder, wildcards, reason)


@dataclass(slots=True)
class PolicyDraft:
    """What a block collects.

    Attributes:
        policy: What it became, once the block has ended.
    """

    statements: list[Statement] = field(default_factory=list)
    wildcards: list[tuple[Sequence[str], str]] = field(default_factory=list)
    policy: iam.CfnPolicy | None = None


@contextmanager
def in_one_policy(
    role: iam.Role, construct_id: str, *, scope: Construct | None = None
) -> Iterator[PolicyDraft]:
    """Collect what the block allows to `role`, and hand it to CDK as one policy, merged already.

    For roles with many statements: each alone is a round trip to Node, and they add up to a tenth of a synth.
    Not for roles whose statements grow with the app: only CDK's default policy is split where IAM's limit of
    10,240 characters is reached.

    Args:
        role: Whose policy it is.
        construct_id: Of the policy; the first part of its name.
        scope: What the policy comes and goes with, in the stack of the role; the role itself if None.

    Raises:
        ValueError: The role has a policy of that name, and one would overwrite the other.

    Example:
        >>> with in_one_policy(role, "Permissions"):
        ...     data.grant_read(role, "raw/")
        ...     pipeline.grant_start(role)
    """
    policies, name = _policies_of(role), _policy_name(construct_id, scope)
    if name in policies.names:
        raise ValueError(f"policy {construct_id}: the role has one of that name; choose another")
    policies.names.add(name)
    with _collecting(role) as draft:
        yield draft
    if not draft.statements:
        return
    draft.policy = iam.CfnPolicy(
        scope or role,
        construct_id,
        policy_name=name,
        policy_document={
            "Statement": [statement.as_json() for statement in merge(draft.statements)],
            "Version": "2012-10-17",
        },
        roles=[policies.role_name],
    )
    for resources, reason in draft.wildcards:
        _late_of(scope or role).add(draft.policy, resources, reason)


@contextmanager
def merged(role: iam.Role) -> Iterator[None]:
    """Collect what the block allows to `role`, and merge it before CDK does, after a round trip for each.

    For the same grant on each of several things, in any number: they go to CDK's default policy.

    Example:
        >>> with merged(role):
        ...     for pipeline in pipelines:
        ...         pipeline.grant_start(role)
    """
    with _collecting(role) as draft:
        yield
    for resources, reason in draft.wildcards:
        acknowledge_wildcards(role, resources, reason)
    for statement in merge(draft.statements):
        _add(role, statement)


@contextmanager
def _collecting(role: iam.Role) -> Iterator[PolicyDraft]:
    draft = _collected[role] = PolicyDraft()
    try:
        yield draft
    finally:
        del _collected[role]


@dataclass(frozen=True, slots=True)
class _Policies:
    """Of one role."""

    role_name: str
    names: set[str] = field(default_factory=set)


def _policies_of(role: iam.Role) -> _Policies:
    if role not in _policies:
        _policies[role] = _Policies(role.role_name)
    return _policies[role]


def _policy_name(construct_id: str, scope: Construct | None) -> str:
    """Another one wherever the logical id is another.

    CloudFormation makes the new policy before it deletes the old one, by its name: were both names the same,
    that would take away the new one's permissions.
    """
    place = Names.unique_id(scope) if scope else ""
    if not place and len(construct_id) <= _LONGEST_POLICY_NAME:
        return construct_id
    digest = hashlib.sha256(f"{construct_id}/{place}".encode()).hexdigest()[:16]
    return f"{construct_id[: _LONGEST_POLICY_NAME - len(digest) - 1]}-{digest}"


def _add(grantee: iam.IGrantable, statement: Statement) -> Construct | None:
    """Add the statement; returns what holds it, None when nothing does."""
    grant = iam.Grant.add_to_principal(
        grantee=grantee,
        actions=list(statement.actions),
        resource_arns=list(statement.resources),
        conditions={key: dict(value) for key, value in statement.conditions.items()} or None,
    )
    # These take every statement; asking them would be two more round trips to Node.
    if isinstance(grantee, iam.Role | iam.Policy):
        return grantee
    return _holder(grantee) if grant.success else None


def _holder(grantee: iam.IGrantable) -> Construct | None:
    """What holds the statements given to `grantee`: a role or its like, or the policy of an imported one.

    Asked after the grant, since CDK reports success also for a role that it was told to leave alone.
    """
    principal = grantee.grant_principal
    if isinstance(principal, Construct):
        return principal
    # An imported role comes as a mere interface; only one that may be changed gets a policy below it.
    node = getattr(principal, "node", None)
    return next((child for child in node.children if isinstance(child, iam.Policy)), None) if node else None


def _name(grantee: iam.IGrantable) -> str:
    node = getattr(grantee, "node", None)
    return str(node.path) if node else str(grantee.grant_principal)


def acknowledge_wildcards(scope: Construct, resources: Sequence[str], reason: str) -> None:
    """Acknowledge cdk-nag's IAM5 findings for these resources on `scope` and what is below it.

    Args:
        scope: The role (or construct above it) whose policy holds the statement.
        resources: The resources exactly as they stand in the statement.
        reason: One sentence for the reviewer.
    """
    _late_of(scope).add(scope, resources, reason)


def acknowledge(scope: Construct, rule: str, reason: str) -> None:
    """Acknowledge one cdk-nag rule or finding, for example `AwsSolutions-S1`, on `scope`."""
    Validations.of(scope).acknowledge(Acknowledgment(id=rule, reason=reason))


def accept(scope: IConstruct, rule: str, reason: str) -> None:
    """Acknowledge a finding of `modelyard check`, for example `MYT611`, at a resource; one for each."""
    resource = scope if isinstance(scope, CfnResource) else scope.node.default_child
    if not isinstance(resource, CfnResource):
        raise ValueError(f"{scope.node.path} is no resource: findings have a resource's place")
    resource.add_metadata("modelyard::acknowledge", {rule: reason})


@jsii.implements(IValidation)
class _LateAcknowledgements:
    """The wildcards of one stack.

    References across stacks get their final form only when the app is prepared for synthesis, and cdk-nag
    names a finding by that form. Validation callbacks run between that moment and cdk-nag. One per stack and
    not one per statement, since each is a round trip between Python and Node.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._entries: list[tuple[Construct, tuple[str, ...], str]] = []

    def add(self, scope: Construct, resources: Sequence[str], reason: str) -> None:
        self._entries.append((scope, tuple(resources), reason))

    def validate(self) -> list[str]:
        # Each once: the same few stand in most roles.
        texts = list(dict.fromkeys(text for _, several, _ in self._entries for text in several))
        resolved = dict(zip(texts, self._stack.resolve(texts), strict=True))
        reasons: dict[Construct, dict[str, str]] = {}
        for scope, several, reason in self._entries:
            for text in several:
                finding = f"Annotation::{_WILDCARD_RULE}[Resource::{_flatten(resolved[text])}]"
                reasons.setdefault(scope, {}).setdefault(finding, reason)
        for scope, findings in reasons.items():
            # What `Validations.acknowledge` writes, less the stack trace: from a callback it would name
            # jsii's temporary folder, and no two syntheses would be equal.
            scope.node.add_metadata(_metadata_key(), findings, stack_trace=False)
        return []


@functools.cache
def _metadata_key() -> str:
    return Validations.ACKNOWLEDGED_RULES_METADATA_KEY


def _late_of(scope: Construct) -> _LateAcknowledgements:
    stack = stack_of(scope)
    if stack not in _late:
        _late[stack] = _LateAcknowledgements(stack)
        stack.node.add_validation(_late[stack])
    return _late[stack]


_collected: dict[iam.Role, PolicyDraft] = {}
_policies: WeakKeyDictionary[iam.Role, _Policies] = WeakKeyDictionary()
_late: WeakKeyDictionary[Stack, _LateAcknowledgements] = WeakKeyDictionary()


def _flatten(value: Any) -> str:
    """A resolved ARN in the notation of cdk-nag's findings: `<LogicalId.Arn>/raw/*`."""
    match value:
        case str():
            flat = value.replace("${", "<").replace("}", ">")
        case {"Fn::Join": [delimiter, items]}:
            flat = str(delimiter).join(_flatten(item) for item in items)
        case {"Fn::GetAtt": [resource, attribute]}:
            flat = f"<{_flatten(resource)}.{_flatten(attribute)}>"
        case {"Ref": name}:
            flat = f"<{_flatten(name)}>"
        case {"Fn::Sub": inner} | {"Fn::ImportValue": inner}:
            flat = _flatten(inner)
        case _:
            flat = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return flat
