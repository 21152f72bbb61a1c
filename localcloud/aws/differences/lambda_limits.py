"""Functions and invocations are held to Lambda's limits.

MiniStack takes any runtime, environment and payload.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html

A function URL invokes synchronously, with the same limits: the event that a request becomes counts, with its
headers and its body as text of JSON or as base64.
https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

_ENVIRONMENT = 4096
# Bytes of a request, by InvocationType, and of an answer.
_PAYLOAD = {"RequestResponse": 6_291_456, "Event": 1_048_576}
_ANSWER = 6_291_556
_INVOCATION = re.compile(r"/2015-03-31/functions/[^/]+/invocations")
# Of which no function can be made or changed any more.
_ENDED = frozenset(
    {
        "dotnetcore1.0", "dotnetcore2.0", "dotnetcore2.1", "dotnetcore3.1", "go1.x", "java8", "nodejs",
        "nodejs10.x", "nodejs12.x", "nodejs14.x", "nodejs4.3", "nodejs4.3-edge", "nodejs6.10", "nodejs8.10",
        "provided", "python2.7", "python3.6", "python3.7", "ruby2.5", "ruby2.7",
    }
)  # fmt: skip
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
_RESERVED = frozenset(
    {
        "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
    }
)  # fmt: skip
Members = Mapping[str, Any]


def apply() -> None:
    """Wrap what makes and changes functions, by the API and by templates, and invocations."""
    from ministack.core.responses import error_response_json
    from ministack.services import lambda_svc
    from ministack.services.cloudformation import provisioners

    create, update, handle = lambda_svc._create_function, lambda_svc._update_config, lambda_svc.handle_request
    resource = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
    create_resource, update_resource = resource["create"], resource["update"]

    def create_function(data: Members) -> Any:
        fault = function_fault(data)
        if fault is not None:
            return error_response_json("InvalidParameterValueException", fault, 400)
        return create(data)

    def update_config(name: str, data: Members) -> Any:
        fault = function_fault(data)
        if fault is not None:
            return error_response_json("InvalidParameterValueException", fault, 400)
        return update(name, data)

    def create_from_template(logical_id: str, properties: Members, stack_name: str) -> Any:
        _refuse(properties)
        return create_resource(logical_id, properties, stack_name)

    def update_from_template(physical_id: str, old: Members, new: Members, *more: Any, **named: Any) -> Any:
        _refuse(new)
        return update_resource(physical_id, old, new, *more, **named)

    async def handle_request(
        method: str, path: str, headers: Mapping[str, str], body: bytes, query_params: Members
    ) -> Any:
        if method != "POST" or not _INVOCATION.fullmatch(path):
            return await handle(method, path, headers, body, query_params)
        kind = headers.get("x-amz-invocation-type", "RequestResponse")
        if len(body) > _PAYLOAD.get(kind, len(body)):
            return error_response_json("RequestTooLargeException", _too_large(kind, len(body)), 413)
        answer = await handle(method, path, headers, body, query_params)
        return answer if len(answer[2] or b"") <= _ANSWER else _answer_too_large(answer[1])

    _hold_urls()
    lambda_svc._create_function, lambda_svc._update_config = create_function, update_config
    lambda_svc.handle_request = handle_request
    resource.update(create=create_from_template, update=update_from_template)


class _TooLargeError(Exception):
    """A request to a function URL makes a larger event than Lambda takes."""


def _hold_urls() -> None:
    from ministack.services import lambda_svc

    build, handle = lambda_svc._build_function_url_event, lambda_svc.handle_function_url_request
    respond = lambda_svc._function_url_proxy_response

    def build_event(*arguments: Any, **named: Any) -> Any:
        event = build(*arguments, **named)
        if _bytes(event) > _PAYLOAD["RequestResponse"]:
            raise _TooLargeError
        return event

    async def handle_request(*arguments: Any, **named: Any) -> Any:
        try:
            return await handle(*arguments, **named)
        except _TooLargeError:
            headers = {"Content-Type": "application/json", "x-amzn-ErrorType": "RequestTooLargeException"}
            return 413, headers, json.dumps({"Message": _too_large("RequestResponse", 0)}).encode()

    def proxy_response(answer: Members | None, cors: Mapping[str, str]) -> Any:
        fits = answer is None or _bytes(answer) <= _ANSWER
        return respond(answer if fits else None, cors)  # without one it is a 502

    lambda_svc._build_function_url_event, lambda_svc.handle_function_url_request = build_event, handle_request
    lambda_svc._function_url_proxy_response = proxy_response


def _bytes(document: Members) -> int:
    """Its length as JSON; 0 where that is certain to fit."""
    body = document.get("body")
    if not isinstance(body, str) or len(body) < 2**19:  # six bytes a character at most, and headers are small
        return 0
    return len(json.dumps(document, ensure_ascii=False, default=str).encode())


def _too_large(kind: str, size: int) -> str:
    if kind == "RequestResponse":
        return f"Request must be smaller than {_PAYLOAD[kind]} bytes for the InvokeFunction operation"
    return f"{size} byte payload is too large for the {kind} invocation type (limit {_PAYLOAD[kind]} bytes)"


def _answer_too_large(headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
    text = f"Response payload size exceeded maximum allowed payload size ({_ANSWER} bytes)."
    error = {"errorMessage": text, "errorType": "Function.ResponseSizeTooLarge"}
    kept = {name: value for name, value in headers.items() if name.lower() != "content-length"}
    return 200, {**kept, "X-Amz-Function-Error": "Unhandled"}, json.dumps(error).encode()


def _refuse(properties: Members) -> None:
    fault = function_fault(properties)
    if fault is not None:
        raise ValueError(f"{fault} (Service: Lambda, Status Code: 400)")


def function_fault(data: Members) -> str | None:
    """What is wrong with a function's runtime or environment, in Lambda's words; None if nothing."""
    return _runtime_fault(data.get("Runtime")) or _environment_fault(
        (data.get("Environment") or {}).get("Variables") or {}
    )


def _runtime_fault(runtime: str | None) -> str | None:
    if not runtime:
        return None
    if runtime in _ENDED:
        return (
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda "
            "functions. We recommend you use a supported runtime while creating or updating functions."
        )
    if runtime not in _runtimes():
        known = ", ".join(sorted(_runtimes() - _ENDED))
        return (
            f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
            f"[{known}] or be a valid ARN"
        )
    return None


@cache
def _runtimes() -> frozenset[str]:
    import botocore.session

    model = botocore.session.get_session().get_service_model("lambda")
    return frozenset(model.shape_for("Runtime").enum)


def _environment_fault(variables: Mapping[str, Any]) -> str | None:
    wrong = next((name for name in variables if not re.fullmatch(r"[a-zA-Z]([a-zA-Z0-9_])+", name)), None)
    reserved = sorted(_RESERVED & set(variables))
    start = "Lambda was unable to configure your environment variables because the environment variables"
    if reserved:
        return (
            f"{start} you have provided contains reserved keys that are currently not supported for "
            f"modification. Reserved keys used in this request: {', '.join(reserved)}"
        )
    if wrong is not None:
        return (
            "1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: "
            "Map keys must satisfy constraint: [Member must satisfy regular expression pattern: "
            f"[a-zA-Z]([a-zA-Z0-9_])+] ({wrong})"
        )
    measured = json.dumps(variables, separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode()) > _ENVIRONMENT:
        return f"{start} you have provided exceeded the 4KB limit. String measured: {measured}"
    return None
