"""A state machine does its tasks with its role.

MiniStack runs them whatever the role. Asked here for the functions, queues, topics, tables, events and state
machines that a task names itself; not for what tasks call through `aws-sdk`.
https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html
"""

from __future__ import annotations

import contextvars
from typing import Any

from localcloud.aws.differences import service_roles

_SERVICE = "states.amazonaws.com"
# By service: the member of a task's arguments that names what is called, and what its ARN has before it.
_NAMED = {
    "dynamodb": ("TableName", "table/"),
    "ecs": ("TaskDefinition", "task-definition/"),
    "events": ("EventBusName", "event-bus/"),
    "lambda": ("FunctionName", "function:"),
    "sns": ("TopicArn", ""),
    "sqs": ("QueueUrl", ""),
    "states": ("StateMachineArn", "stateMachine:"),
}
_role: contextvars.ContextVar[str | None] = contextvars.ContextVar("modelyard_task_role", default=None)


def apply() -> None:
    """Wrap the execution of a task, which knows the state machine, and the call below it."""
    from ministack.services import stepfunctions

    execute, invoke = stepfunctions._execute_task, stepfunctions._invoke_resource

    def execute_task(state: Any, given: Any, execution: Any, context: Any) -> Any:
        token = _role.set(_role_of(execution))
        try:
            return execute(state, given, execution, context)
        finally:
            _role.reset(token)

    def invoke_resource(resource: str, given: Any) -> Any:
        role, needed = _role.get(), _needed(resource, given)
        if role is not None and needed is not None and not service_roles.may(role, _SERVICE, *needed):
            raise stepfunctions._ExecutionError(*_refusal(role, *needed))
        return invoke(resource, given)

    stepfunctions._execute_task, stepfunctions._invoke_resource = execute_task, invoke_resource


def _role_of(execution: Any) -> str | None:
    from ministack.services import stepfunctions

    arn = str((execution or {}).get("stateMachineArn", ""))
    # Of a version or an alias the first seven parts are the state machine's.
    machine = stepfunctions._state_machines.get(":".join(arn.split(":")[:7])) or {}
    role = machine.get("roleArn")
    return str(role) if role else None


def _refusal(role: str, action: str, resource: str) -> tuple[str, str]:
    code = "Lambda.AWSLambdaException" if action.startswith("lambda:") else "States.TaskFailed"
    name = role.rpartition("/")[2]
    return code, f"The role {name} is not authorized to perform: {action} on resource: {resource}"


def _needed(resource: str, given: Any) -> tuple[str, str] | None:
    """The action and its resource that a task takes; None where nothing is asked."""
    from ministack.core.responses import get_account_id, get_region

    if resource.startswith("arn:aws:lambda:"):
        return "lambda:InvokeFunction", resource
    service, _, operation = resource.partition(":::")[2].partition(":")
    operation = operation.partition(".")[0]
    named = _NAMED.get(service)
    if named is None:
        return None
    member, prefix = named
    members = given if isinstance(given, dict) else {}
    if service == "events":
        entries = members.get("Entries")
        entry = entries[0] if isinstance(entries, list) and entries else {}
        members = {"EventBusName": "default", **entry} if isinstance(entry, dict) else {}
    name = str(members.get(member, "*"))
    # A queue is named by its URL.
    name = name.rpartition("/")[2] if service == "sqs" else name
    where = f"arn:aws:{service}:{get_region()}:{get_account_id()}:{prefix}"
    action = "InvokeFunction" if service == "lambda" else operation[:1].upper() + operation[1:]
    return f"{service}:{action}", name if name.startswith("arn:") else where + name
