"""Handing a role to a service needs `iam:PassRole`, and the service must be trusted by the role.

MiniStack asks for neither. Checked here where callers hand roles over themselves: Lambda functions,
EventBridge targets, Step Functions state machines, EventBridge schedules and pipes; a stack's resources
are made with CloudFormation's permissions.
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from localcloud.aws import callers, identity

Roles = Callable[[dict[str, Any]], Iterable[str]]


def apply() -> None:
    """Wrap the operations."""
    from ministack.services import eventbridge, lambda_svc, pipes, scheduler, stepfunctions

    _guard(lambda_svc, "_create_function", "lambda", _member("Role"), trusted=True)
    _guard(lambda_svc, "_update_config", "lambda", _member("Role"), trusted=True)
    _guard(stepfunctions, "_create_state_machine", "states", _member("roleArn"))
    _guard(stepfunctions, "_update_state_machine", "states", _member("roleArn"))
    _guard(eventbridge, "_put_targets", "events", _targets)
    _require_roles(eventbridge)
    _guard(scheduler, "_create_schedule", "scheduler", _schedule)
    _guard(pipes, "_create_pipe", "pipes", _member("RoleArn"))


# What EventBridge calls with a role; functions, queues and topics let it in by their own policies.
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-identity-based.html
_WITH_ROLE = {"batch", "codebuild", "codepipeline", "ecs", "firehose", "kinesis", "sagemaker", "states"}


def _require_roles(eventbridge: Any) -> None:
    validate = eventbridge._validate_target_arn

    def validate_target_arn(target: dict[str, Any]) -> Any:
        from ministack.core.responses import error_response_json

        error = validate(target)
        arn = str(target.get("Arn", ""))
        if error is None and not target.get("RoleArn") and arn.split(":")[2] in _WITH_ROLE:
            message = f"RoleArn is required for target {arn}."
            return error_response_json("ValidationException", message, 400)
        return error

    eventbridge._validate_target_arn = validate_target_arn


def _guard(module: Any, name: str, service: str, roles: Roles, *, trusted: bool = False) -> None:
    operate = getattr(module, name)
    principal = f"{service}.amazonaws.com"

    def guarded(*arguments: Any) -> Any:
        caller = callers.current(service)
        # The request's members are the last argument of each of these operations.
        asked = list(roles(arguments[-1])) if isinstance(arguments[-1], dict) else []
        if caller is None:
            return operate(*arguments)
        return _refusal(caller, asked, principal, trusted) or operate(*arguments)

    setattr(module, name, guarded)


def _refusal(caller: callers.Checked, roles: list[str], principal: str, trusted: bool) -> Any:
    from ministack.core.responses import error_response_json

    for role in roles:
        try:
            identity.require_pass_role(callers.identity_of(caller), role, principal)
        except identity.AccessDenied as denied:
            return error_response_json("AccessDeniedException", denied.message, 403 if trusted else 400)
        except identity.RoleNotFound:
            # MiniStack says so in each service's words.
            continue
        if trusted and not identity.role_trusts(role, principal):
            return error_response_json(
                "InvalidParameterValueException",
                "The role defined for the function cannot be assumed by Lambda.",
                400,
            )
    return None


def _member(name: str) -> Roles:
    def roles(request: dict[str, Any]) -> Iterable[str]:
        return [request[name]] if request.get(name) else []

    return roles


def _targets(request: dict[str, Any]) -> Iterable[str]:
    return [target["RoleArn"] for target in request.get("Targets", []) if target.get("RoleArn")]


def _schedule(request: dict[str, Any]) -> Iterable[str]:
    role = (request.get("Target") or {}).get("RoleArn")
    return [role] if role else []
