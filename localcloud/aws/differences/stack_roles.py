"""A stack operation with a role needs that role, trusting CloudFormation, and `iam:PassRole` on it.

MiniStack takes any text. A stack keeps the role that it was last given, and its later operations act with
it; without one they act as whoever asked for them. `deployer` says who that is; what the stack's own
resources need is not asked of it, but for the functions of custom resources (`custom_resources`).
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-iam-servicerole.html
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from localcloud.aws import callers, identity

SERVICE = "cloudformation.amazonaws.com"

_OPERATIONS = (
    "CreateStack",
    "UpdateStack",
    "DeleteStack",
    "RollbackStack",
    "ContinueUpdateRollback",
    "CreateChangeSet",
    "ExecuteChangeSet",
)
_ROLE = "_modelyard_role"  # in MiniStack's records of stacks and change sets, which are kept with its state


@dataclass(frozen=True, slots=True)
class Deployer:
    """Who makes a stack's resources: `role`, where the stack has one, else `caller`."""

    caller: identity.Caller
    role: str | None


_deployer: contextvars.ContextVar[Deployer | None] = contextvars.ContextVar(
    "modelyard_deployer", default=None
)


def deployer() -> Deployer | None:
    """Of the stack operation that the current task carries out; None where a service of this cloud asked."""
    return _deployer.get()


def apply() -> None:
    """Wrap the operations that take a role, and the one that carries out a change set."""
    from ministack.services.cloudformation import handlers

    for name in _OPERATIONS:
        handlers._ACTION_HANDLERS[name] = _guarded(name, handlers._ACTION_HANDLERS[name])


def _guarded(name: str, operate: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    def guarded(parameters: dict[str, Any]) -> Any:
        from ministack.services.cloudformation.helpers import _p

        checked = callers.current("cloudformation")
        if checked is None:
            return operate(parameters)
        caller, given = callers.identity_of(checked), _p(parameters, "RoleARN")
        if given and (refusal := _refusal(caller, given)):
            return refusal
        role = given or _kept_role(parameters)
        # The operation goes on in tasks and threads that inherit this context.
        _deployer.set(Deployer(caller, role))
        answer = operate(parameters)
        if role and answer[0] < 300:
            change_set, stack = _records(parameters)
            # A change set brings its role to the stack only once it is carried out.
            record = change_set if name == "CreateChangeSet" else stack
            if record is not None:
                record[_ROLE] = role
        return answer

    return guarded


def _refusal(caller: identity.Caller, role: str) -> Any:
    from ministack.services.cloudformation.helpers import _error

    try:
        identity.require_pass_role(caller, role, SERVICE)
    except identity.AccessDenied as denied:
        return _error("AccessDenied", denied.message, 403)
    except identity.RoleNotFound:
        return _error("ValidationError", f"Role {role} is invalid or cannot be assumed")
    if not identity.role_trusts(role, SERVICE):
        return _error("ValidationError", f"Role {role} is invalid or cannot be assumed")
    return None


def _kept_role(parameters: dict[str, Any]) -> str | None:
    for record in _records(parameters):
        if record is not None and record.get("StackStatus") != "DELETE_COMPLETE" and record.get(_ROLE):
            return str(record[_ROLE])
    return None


def _records(parameters: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The change set and the stack that a request names."""
    from ministack.services.cloudformation import changesets, handlers
    from ministack.services.cloudformation.helpers import _p

    name, stack_name = _p(parameters, "ChangeSetName"), _p(parameters, "StackName")
    change_set = changesets._find_change_set(name, stack_name)[1] if name else None
    stack_name = stack_name or (change_set or {}).get("StackName", "")
    return change_set, handlers._resolve_stack(stack_name)
