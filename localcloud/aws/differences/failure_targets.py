"""A function names only such targets for failed events as its execution role may send to.

MiniStack takes any.
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.aws.differences import execution_role
from localcloud.aws.differences.execution_role import refused, service_of

# What sends a failed event, by service of its target.
_SENDING = {
    "sqs": "SendMessage", "sns": "Publish", "lambda": "InvokeFunction", "events": "PutEvents",
    "s3": "PutObject",
}  # fmt: skip


def apply() -> None:
    """Wrap what names them; a template's function comes another way (`lambda_function_resource`)."""
    from ministack.services import lambda_svc

    create, update, send = (
        lambda_svc._create_function,
        lambda_svc._update_config,
        lambda_svc._put_event_invoke_config,
    )

    def create_function(data: Mapping[str, Any]) -> Any:
        name = str(data.get("FunctionName", ""))
        config = {"FunctionName": name, "FunctionArn": lambda_svc._func_arn(name), "Role": data.get("Role")}
        fault = _dead_letters_fault(config, data)
        return create(data) if fault is None else refused(fault)

    def update_config(name: str, data: Mapping[str, Any]) -> Any:
        function = lambda_svc._functions.get(name)
        config = {**function["config"], **data} if function else None
        fault = _dead_letters_fault(config, data) if config else None
        return update(name, data) if fault is None else refused(fault)

    def put_event_invoke_config(name: str, qualifier: str | None, data: Mapping[str, Any]) -> Any:
        function = lambda_svc._functions.get(name)
        for destination in (data.get("DestinationConfig") or {}).values():
            target = (destination or {}).get("Destination")
            if function and target and (operation := _missing_right(function["config"], target)):
                return refused(
                    f"The function's execution role does not have permissions to call {operation} on {target}"
                )
        return send(name, qualifier, data)

    lambda_svc._create_function, lambda_svc._update_config = create_function, update_config
    lambda_svc._put_event_invoke_config = put_event_invoke_config


def _dead_letters_fault(config: dict[str, Any], data: Mapping[str, Any]) -> str | None:
    target = (data.get("DeadLetterConfig") or {}).get("TargetArn")
    return dead_letters_fault(config, str(target)) if target else None


def dead_letters_fault(config: dict[str, Any], target: str) -> str | None:
    """Why a function with this configuration cannot have this dead-letter queue or topic; None if it can."""
    service = service_of(target)
    if service not in ("sqs", "sns"):
        return f"{target} is neither a queue nor a topic"
    if operation := _missing_right(config, target):
        return (
            f"The provided execution role does not have permissions to call {operation} on {service.upper()}"
        )
    return None


def _missing_right(config: dict[str, Any], target: str) -> str | None:
    """What the role of a function would have to be allowed to send to `target`, None if it is."""
    service = service_of(target)
    operation = _SENDING.get(service)
    if operation is None:
        return None
    resource = f"{target}/*" if service == "s3" else target
    return None if execution_role.may(config, f"{service}:{operation}", resource) else operation
