"""A stack operation with a role needs that role, trusting CloudFormation, and `iam:PassRole` on it.

MiniStack takes any text. What the stack's resources need is not asked of the role here either.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-iam-servicerole.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from localcloud.aws import callers, identity

_OPERATIONS = (
    "CreateStack",
    "UpdateStack",
    "DeleteStack",
    "RollbackStack",
    "ContinueUpdateRollback",
    "CreateChangeSet",
)
_SERVICE = "cloudformation.amazonaws.com"


def apply() -> None:
    """Wrap the operations that take a role."""
    from ministack.services.cloudformation import handlers

    for name in _OPERATIONS:
        handlers._ACTION_HANDLERS[name] = _guarded(handlers._ACTION_HANDLERS[name])


def _guarded(operate: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    def guarded(parameters: dict[str, Any]) -> Any:
        from ministack.services.cloudformation.helpers import _p

        return _refusal(_p(parameters, "RoleARN")) or operate(parameters)

    return guarded


def _refusal(role: str) -> Any:
    from ministack.services.cloudformation.helpers import _error

    caller = callers.current("cloudformation")
    if caller is None or not role:
        return None
    try:
        identity.require_pass_role(callers.identity_of(caller), role, _SERVICE)
    except identity.AccessDenied as denied:
        return _error("AccessDenied", denied.message, 403)
    except identity.RoleNotFound:
        return _error("ValidationError", f"Role {role} is invalid or cannot be assumed")
    if not identity.role_trusts(role, _SERVICE):
        return _error("ValidationError", f"Role {role} is invalid or cannot be assumed")
    return None
