"""What the roles of the stacks may do, what IAM decided, and how to take a grant away for a moment.

    names = Names(session)
    grants = live_grants(session, names)                # every action x resource of every statement
    with without(session, names.role("serving/DeployerFunctionRole"), "dynamodb:PutItem"):
        ...                                             # IAM now refuses it

Roles are called by stack and construct path, for example `serving/DeployerFunctionRole`: their names end in
digits that differ from deployment to deployment. So do resources: `<DataBucket>/raw/*`.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3

from tests.local.support import audited

_PREFIX = "modelyard-local-"


@dataclass(frozen=True)
class Decision:
    """One line of the local cloud's audit."""

    time: float
    principal: str
    action: str
    resource: str
    decision: str
    conditions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def allowed(self) -> bool:
        return self.decision == "Allow"

    @property
    def role(self) -> str:
        """Name of the role behind an assumed session, else nothing."""
        return self.principal.split("/")[1] if ":assumed-role/" in self.principal else ""


@dataclass(frozen=True)
class Grant:
    """One action on one resource pattern that a statement allows a role.

    `role` and `resource` are as IAM has them, `name` and `place` the same without what differs between
    deployments.
    """

    role: str
    name: str
    action: str
    resource: str
    place: str
    conditions: Mapping[str, Mapping[str, Any]]

    def covers(self, decision: Decision) -> bool:
        """Whether this grant allows what was asked."""
        return (
            decision.role == self.role
            and decision.action.lower() == self.action.lower()
            and fnmatchcase(decision.resource, self.resource)
            and all(_met(*condition, decision.conditions) for condition in self.conditions.items())
        )

    def __str__(self) -> str:
        prefixes = _list(self.conditions.get("StringLike", {}).get("s3:prefix", []))
        return " ".join([self.name, self.action, self.place, *prefixes[-1:]])


class Names:
    """Stable names for what CloudFormation named: `<stack>/<logical id without its digits>`."""

    def __init__(self, session: boto3.Session) -> None:
        cloudformation = session.client("cloudformation")
        self.roles: dict[str, str] = {}
        self._physical: dict[str, str] = {}
        self._logical: list[tuple[str, str]] = []
        for stack in cloudformation.describe_stacks()["Stacks"]:
            short = stack["StackName"].removeprefix(_PREFIX)
            if short == stack["StackName"]:
                continue
            for resource in cloudformation.describe_stack_resources(StackName=stack["StackName"])[
                "StackResources"
            ]:
                logical = re.sub(r"[0-9A-F]{8}$", "", resource["LogicalResourceId"])
                physical = resource["PhysicalResourceId"]
                self._physical[f"{short}/{logical}"] = physical
                if resource["ResourceType"] == "AWS::IAM::Role":
                    self.roles[physical] = f"{short}/{logical}"
                # SageMaker's resources carry names of our own, which say more than a logical id; so does the
                # endpoint's log group.
                named = (
                    re.search("SageMaker|^Custom::", resource["ResourceType"]) or "/sagemaker/" in physical
                )
                if not named:
                    self._logical.append((physical.rsplit("/", 1)[-1], f"<{logical}>"))
        # The longest first: one name may begin another.
        self._logical.sort(key=lambda entry: -len(entry[0]))

    def physical(self, name: str) -> str:
        """What CloudFormation called it, for example `physical("serving/DeployerFunction")`."""
        return self._physical[name]

    def role(self, name: str) -> str:
        """Name of a role in IAM."""
        return next(physical for physical, known in self.roles.items() if known == name)

    def written(self, place: str) -> str:
        """The reverse of `place` for one stable name, `<DataKey>`; other text stays as it is."""
        return next((physical for physical, logical in self._logical if logical == place), place)

    def place(self, resource: str) -> str:
        for physical, logical in self._logical:
            resource = resource.replace(physical, logical)
        return re.sub(r"[0-9a-f]{64}", "<asset>", resource).split(":", 5)[-1]


def live_grants(session: boto3.Session, names: Names) -> list[Grant]:
    """Every grant of every role of the stacks, as IAM holds it now."""
    iam = session.client("iam")
    grants = []
    for role, name in sorted(names.roles.items(), key=lambda entry: entry[1]):
        attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        assert attached == [], f"{name} has managed policies, which these tests do not read"
        for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            for statement in _document(iam, role, policy)["Statement"]:
                assert statement["Effect"] == "Allow"
                grants += [
                    Grant(role, name, action, resource, names.place(resource), statement.get("Condition", {}))
                    for action in _list(statement["Action"])
                    for resource in _list(statement["Resource"])
                ]
    return grants


@contextmanager
def without(session: boto3.Session, role: str, action: str, resource: str = "") -> Iterator[None]:
    """Take an action away from a role until the block ends; with `resource` only where its ARN has that part.

    Asserts that the role had it.
    """
    iam = session.client("iam")
    changed = {}
    for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document = _document(iam, role, policy)
        if (less := _less(document, action, resource)) != document:
            changed[policy] = (document, less)
    assert changed, f"{role} was never allowed {action} on {resource or 'anything'}"
    try:
        for policy, (_, less) in changed.items():
            if less["Statement"]:
                iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(less))
            else:
                iam.delete_role_policy(RoleName=role, PolicyName=policy)
        yield
    finally:
        for policy, (document, _) in changed.items():
            iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))


def read_audit(path: Path, iam: Any, since: float = 0.0) -> list[Decision]:
    """Decisions since a moment, oldest first; waits for what is being written. `iam`: see `audited`."""
    # The audit's times are in whole milliseconds.
    return [Decision(**line) for line in audited(path, iam) if line["time"] >= since - 0.001]


def _less(document: dict[str, Any], action: str, resource: str) -> dict[str, Any]:
    less = copy.deepcopy(document)
    kept = []
    for statement in less["Statement"]:
        actions, resources = _list(statement["Action"]), _list(statement["Resource"])
        if action in actions and any(resource in arn for arn in resources):
            rest = [other for other in resources if resource not in other]
            if rest:
                kept.append({**statement, "Action": [action], "Resource": rest})
            actions = [other for other in actions if other != action]
        if actions:
            kept.append({**statement, "Action": actions})
    less["Statement"] = kept
    return document if kept == document["Statement"] else less


def _document(iam: Any, role: str, policy: str) -> dict[str, Any]:
    document: dict[str, Any] = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    document["Statement"] = _list(document["Statement"])
    return document


def _met(operator: str, keys: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """A condition block of the kinds that this library writes, on the request's keys."""
    known = {key.lower(): value for key, value in asked.items()}
    for key, wanted in keys.items():
        actual = [str(value) for value in _list(known.get(key.lower(), []))]
        patterns = [str(value) for value in _list(wanted)]
        if operator == "StringLike":
            met = any(fnmatchcase(value, pattern) for value in actual for pattern in patterns)
        elif operator in ("StringEquals", "Bool"):
            met = any(value.lower() == text.lower() for value in actual for text in patterns)
        elif operator == "StringNotEquals":
            met = not any(value == text for value in actual for text in patterns)
        else:
            raise AssertionError(f"condition operator {operator} is new here; teach this test about it")
        if not met:
            return False
    return True


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
