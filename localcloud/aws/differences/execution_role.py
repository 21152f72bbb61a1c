"""What Lambda does for a function, it does with the function's execution role.

MiniStack writes a function's logs, and reads queues and streams for it, without asking. On AWS a
function whose role may not write logs has none, and a mapping of a source that the role may not read
is refused, as is a queue whose messages come back while the function may still work on them.
https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping
from typing import Any

# What a poller calls, by service of the event source.
# https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html#events-sqs-permissions
_POLLER = {
    "sqs": ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"),
    "dynamodb": ("DescribeStream", "GetRecords", "GetShardIterator"),
    "kinesis": ("DescribeStream", "GetRecords", "GetShardIterator"),
}


def apply() -> None:
    """Wrap the writing of logs, and both ways to an event source mapping."""
    from ministack.services import lambda_svc
    from ministack.services.cloudformation import provisioners

    emit, create = lambda_svc._emit_lambda_logs, lambda_svc._create_esm
    handlers = provisioners._RESOURCE_HANDLERS["AWS::Lambda::EventSourceMapping"]
    create_resource: Callable[..., Any] = handlers["create"]

    def emit_lambda_logs(func: dict[str, Any], *arguments: Any, **named: Any) -> None:
        config = func.get("config") or func
        if _may_log(config):
            emit(func, *arguments, **named)

    def create_esm(data: dict[str, Any]) -> Any:
        refusal = _source_refusal(data)
        return create(data) if refusal is None else refused(refusal)

    def create_mapping(logical_id: str, properties: Mapping[str, Any], stack_name: str) -> Any:
        refusal = _source_refusal(properties)
        if refusal is not None:
            raise ValueError(refusal)
        return create_resource(logical_id, properties, stack_name)

    lambda_svc._emit_lambda_logs, lambda_svc._create_esm = emit_lambda_logs, create_esm
    handlers["create"] = create_mapping


def refused(fault: str) -> Any:
    """Lambda's answer to a configuration that it does not take."""
    from ministack.core.responses import error_response_json

    return error_response_json("InvalidParameterValueException", fault, 400)


def service_of(arn: str) -> str:
    """Of an ARN, for example `sqs`; empty for what is none."""
    return arn.split(":")[2] if arn.count(":") >= 5 else ""


def _may_log(config: dict[str, Any]) -> bool:
    from ministack.services import cloudwatch_logs

    group = (config.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{config['FunctionName']}"
    _arn, _aws, _lambda, region, account, *_rest = config["FunctionArn"].split(":")
    group_arn = f"arn:aws:logs:{region}:{account}:log-group:{group}"
    stream = f"{group_arn}:log-stream:*"
    if group not in cloudwatch_logs._log_groups and not may(config, "logs:CreateLogGroup", group_arn):
        return False
    return all(may(config, f"logs:{name}", stream) for name in ("CreateLogStream", "PutLogEvents"))


def _source_refusal(data: Mapping[str, Any]) -> str | None:
    from ministack.services import lambda_svc

    source = str(data.get("EventSourceArn", ""))
    service = service_of(source)
    _function, config, _name = lambda_svc._get_func_record_for_ref(data.get("FunctionName", ""))
    if config is None:
        return None
    for name in _POLLER.get(service, ()):
        if not may(config, f"{service}:{name}", source):
            return (
                f"The provided execution role does not have permissions to call {name} on {service.upper()}"
            )
    return _visibility_fault(source, config) if service == "sqs" else None


def _visibility_fault(queue_arn: str, config: Mapping[str, Any]) -> str | None:
    """https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html"""
    from ministack.services import sqs

    queue, timeout = sqs._queue_by_arn(queue_arn), int(config.get("Timeout", 3))
    hidden = int(queue["attributes"].get("VisibilityTimeout", 30)) if queue else timeout
    if hidden >= timeout:
        return None
    return f"Queue visibility timeout: {hidden} seconds is less than Function timeout: {timeout} seconds"


def may(config: dict[str, Any], action: str, resource: str) -> bool:
    """Whether the execution role of a function allows an action; the decision goes to the audit."""
    from ministack.core import iam_evaluator, lambda_runtime
    from ministack.core.responses import request_scope

    key = lambda_runtime.execution_credentials(config)["AWS_ACCESS_KEY_ID"]
    account, region = lambda_runtime._account_region_from_function_config(config)

    def ask() -> bool:
        # The evaluator would take an unsigned request, such as a function URL's, for the role's own.
        iam_evaluator._anonymous.set(False)
        with request_scope(account, region):
            denied = iam_evaluator.enforce(key, action, action.partition(":")[0], region, resource)
        return denied is None

    # In a context of its own: who called stays who it was.
    return contextvars.copy_context().run(ask)
