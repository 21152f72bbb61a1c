"""What becomes of an event that a function failed to handle.

MiniStack puts the same envelope into dead-letter queues and failure destinations, whatever the
function's role. On AWS a dead-letter queue gets the event itself with the error as attributes, a
destination gets the envelope, and both are sent with the execution role.
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
"""

from __future__ import annotations

import json
import logging
import uuid
from datetime import UTC, datetime
from typing import Any

from localcloud.context import Cloud, Credentials

_log = logging.getLogger(__name__)


def apply(cloud: Cloud) -> None:
    """Replace the last step of an asynchronous invocation."""
    from ministack.core import lambda_runtime
    from ministack.services import lambda_svc

    def route_async_failure(
        target_arn: str, func_name: str, event: dict[str, Any], result: dict[str, Any]
    ) -> None:
        function = lambda_svc._functions.get(func_name)
        if function is None:
            return
        config = function["config"]
        keys = lambda_runtime.execution_credentials(config)
        role = Credentials(
            access_key_id=keys["AWS_ACCESS_KEY_ID"],
            secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
            session_token=keys["AWS_SESSION_TOKEN"],
        )
        try:
            if target_arn == (config.get("DeadLetterConfig") or {}).get("TargetArn"):
                _send(cloud, role, target_arn, json.dumps(event), _attributes(result))
            else:
                _send(cloud, role, target_arn, json.dumps(_envelope(config, event, result)), {})
        except Exception:
            # Nobody waits for this; AWS counts it in the metric DeadLetterErrors.
            _log.exception("the failed event of %s did not reach %s", func_name, target_arn)

    lambda_svc._route_async_failure = route_async_failure


def _attributes(result: dict[str, Any]) -> dict[str, dict[str, str]]:
    body = result.get("body")
    message = body.get("errorMessage", "") if isinstance(body, dict) else ""
    return {
        "RequestID": {"DataType": "String", "StringValue": str(uuid.uuid4())},
        "ErrorCode": {"DataType": "Number", "StringValue": "200"},
        "ErrorMessage": {"DataType": "String", "StringValue": str(message)[:1024] or "Unhandled"},
    }


def _envelope(config: dict[str, Any], event: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": "1.0",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "functionArn": f"{config['FunctionArn']}:{config.get('Version', '$LATEST')}",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": event,
        "responseContext": {
            "statusCode": 200,
            "executedVersion": config.get("Version", "$LATEST"),
            "functionError": result.get("function_error") or "Unhandled",
        },
        "responsePayload": result.get("body"),
    }


def _send(
    cloud: Cloud, role: Credentials, target: str, message: str, attributes: dict[str, dict[str, str]]
) -> None:
    service = target.split(":")[2]
    if service == "sqs":
        client = cloud.client("sqs", role)
        _arn, _aws, _sqs, _region, account, name = target.split(":")
        url = f"{cloud.endpoint_url}/{account}/{name}"
        client.send_message(QueueUrl=url, MessageBody=message, MessageAttributes=attributes)
    elif service == "sns":
        client = cloud.client("sns", role)
        client.publish(TopicArn=target, Message=message, MessageAttributes=attributes)
    elif service == "lambda":
        client = cloud.client("lambda", role)
        client.invoke(FunctionName=target, InvocationType="Event", Payload=message.encode())
    elif service == "events":
        entry = {
            "Source": "lambda",
            "DetailType": "Lambda Function Invocation Result - Failure",
            "Detail": message,
            "EventBusName": target,
        }
        cloud.client("events", role).put_events(Entries=[entry])
    else:
        raise ValueError(f"{target} is no target for failed events")
