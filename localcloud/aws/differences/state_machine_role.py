"""A state machine does its tasks with its role.

MiniStack runs them whatever the role. Asked here for the functions, queues, topics, tables, events and state
machines that a task names itself, and for every call through `aws-sdk`, without that call's condition keys;
`localcloud.ecs.state_machines` asks for those of ECS.
https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html
https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs

from localcloud.aws.differences import service_roles

_SERVICE = "states.amazonaws.com"
# By service: the member of a task's arguments that names what is called, and what its ARN has before it.
_NAMED = {
    "dynamodb": ("TableName", "table/"),
    "events": ("EventBusName", "event-bus/"),
    "lambda": ("FunctionName", "function:"),
    "sns": ("TopicArn", ""),
    "sqs": ("QueueUrl", ""),
    "states": ("StateMachineArn", "stateMachine:"),
}
_role: contextvars.ContextVar[str | None] = contextvars.ContextVar("modelyard_task_role", default=None)
# MiniStack's name of the service that a task calls through `aws-sdk`.
_sdk: contextvars.ContextVar[str | None] = contextvars.ContextVar("modelyard_task_sdk", default=None)


def apply() -> None:
    """Wrap the execution of a task, which knows the state machine, and the calls below it."""
    from ministack import app
    from ministack.services import stepfunctions

    execute, invoke = stepfunctions._execute_task, stepfunctions._invoke_resource
    invoke_sdk, call_handler = stepfunctions._invoke_aws_sdk_integration, app.call_service_handler_sync

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

    def invoke_aws_sdk(resource: str, given: Any) -> Any:
        token = _sdk.set(resource.split(":")[6].lower() if resource.count(":") > 5 else None)
        try:
            return invoke_sdk(resource, given)
        finally:
            _sdk.reset(token)

    def call_service_handler(
        handler: Any, method: str, path: str, headers: Mapping[str, str], body: Any, query: Any, *more: Any
    ) -> Any:
        role, service = _role.get(), _sdk.get()
        if role is not None and service is not None:
            key = stepfunctions._AWS_SDK_SERVICE_MAP[service].get("service_key", service)
            text = body.encode() if isinstance(body, str) else body or b""
            for needed in _needed_of_call(key, method, path, headers, text, query or {}):
                if not service_roles.may(role, _SERVICE, *needed):
                    prefix = stepfunctions._AWS_SDK_ERROR_PREFIX.get(service, service.capitalize())
                    raise stepfunctions._ExecutionError(
                        f"{prefix}.{prefix}Exception", _refusal(role, *needed)[1]
                    )
        return call_handler(handler, method, path, headers, body, query, *more)

    stepfunctions._execute_task, stepfunctions._invoke_resource = execute_task, invoke_resource
    stepfunctions._invoke_aws_sdk_integration = invoke_aws_sdk
    app.call_service_handler_sync = call_service_handler


def role_of_task() -> str | None:
    """The role of the state machine whose task runs in this thread; None outside of a task."""
    return _role.get()


def _needed_of_call(
    service: str, method: str, path: str, headers: Mapping[str, str], body: bytes, query: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Actions and resources that a request to a service takes, as the gate of the cloud finds them."""
    from ministack.core import iam_actions
    from ministack.core.responses import get_account_id, get_region

    account, region = get_account_id(), get_region()
    form = "x-www-form-urlencoded" in headers.get("content-type", "")
    members = {**(parse_qs(body.decode()) if form else {}), **{key: [value] for key, value in query.items()}}
    action = iam_actions.extract_iam_action(service, method, path, headers, body, members)
    if action is None:
        # Nobody can tell what it needs: only a role that may do everything of the service does it.
        yield f"{service}:{headers.get('x-amz-target', '*').rpartition('.')[2]}", "*"
        return
    resource = iam_actions.extract_resource_arn(
        service, method, path, headers, body, members, region, account
    )
    transaction = (
        iam_actions.dynamodb_transaction_checks(action, body, region, account)
        if service == "dynamodb"
        else []
    )
    if transaction:
        yield from transaction
        return
    resources = [resource]
    if service == "dynamodb":
        resources = iam_actions.dynamodb_resource_arns(body, region, account) or resources
    elif service == "events" and action == "events:PutEvents":
        resources = iam_actions.eventbridge_resource_arns(body, region, account) or resources
    for each in resources:
        yield action, each
    if service == "s3":
        yield from iam_actions.s3_additional_checks(method, path, headers, body, members)


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
