"""The wire: JSON 1.1 for the API, REST JSON for the runtime, both signed as `sagemaker`."""

from __future__ import annotations

import json
import logging
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from localcloud.aws.service import Request, Response
from localcloud.sagemaker import shapes
from localcloud.sagemaker.errors import ServiceError

if TYPE_CHECKING:
    from localcloud.sagemaker.service import SageMaker

_log = logging.getLogger(__name__)
_TARGET_PREFIX = "SageMaker."
# The runtime has names and statuses of its own for what the API answers with 400.
_RUNTIME_ERRORS = {"ValidationException": ("ValidationError", 400), "AccessDeniedException": (None, 403)}


def handle(sagemaker: SageMaker, request: Request) -> Response:
    """Answer one request, whose signature has been verified."""
    runtime = request.path.startswith("/endpoints/")
    try:
        return _invoke(sagemaker, request) if runtime else _api(sagemaker, request)
    except ServiceError as error:
        return _failure(error, runtime=runtime)
    except Exception:
        # The last line of defence of the wire: AWS answers so too, and the log has what happened.
        _log.exception("%s %s failed", request.method, request.path)
        return _failure(
            ServiceError("InternalFailure", "The local SageMaker failed; its log says why.", status=500),
            runtime=runtime,
        )


def _api(sagemaker: SageMaker, request: Request) -> Response:
    target = request.headers.get("x-amz-target", "")
    if not target.startswith(_TARGET_PREFIX):
        raise ServiceError(
            "UnknownOperationException", f"X-Amz-Target must be SageMaker.<Operation>, not {target!r}."
        )
    name = target.removeprefix(_TARGET_PREFIX)
    answer = sagemaker.call(name, _body(request.body), request.caller)
    output = shapes.output_shape(name)
    body = json.dumps(answer).encode() if output is not None else b""
    return _response(200, body, "application/x-amz-json-1.1")


def _body(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        raise ServiceError("SerializationException", "The request's body is not JSON.") from None
    if not isinstance(value, dict):
        raise ServiceError("SerializationException", "The request's body is not a JSON object.")
    return value


def _invoke(sagemaker: SageMaker, request: Request) -> Response:
    parts = request.path.split("/")
    if request.method != "POST" or len(parts) != 4 or parts[3] != "invocations":
        raise ServiceError(
            "UnknownOperationException",
            f"The local SageMaker does not serve {request.method} {request.path}; it serves "
            "POST /endpoints/{EndpointName}/invocations.",
            status=404,
        )
    shape = shapes.input_shape("InvokeEndpoint", "sagemaker-runtime")
    most = shape.members["Body"].metadata["max"]
    if len(request.body) > most:
        # Its error has no name: SDKs show the status in its place.
        raise ServiceError("413", f"HTTP content length exceeded {most} bytes.", status=413)
    members: dict[str, Any] = {"EndpointName": unquote(parts[2]), "Body": request.body}
    for name, member in shape.members.items():
        header = member.serialization.get("name", "").lower()
        if member.serialization.get("location") == "header" and header in request.headers:
            members[name] = request.headers[header]
    answer = sagemaker.call("InvokeEndpoint", members, request.caller)
    output = shapes.output_shape("InvokeEndpoint", "sagemaker-runtime")
    headers = {
        member.serialization["name"]: str(answer[name])
        for name, member in output.members.items()
        if member.serialization.get("location") == "header" and name in answer
    }
    content_type = headers.pop("Content-Type", "application/octet-stream")
    return _response(200, answer.get("Body", b""), content_type, headers)


def _failure(error: ServiceError, *, runtime: bool) -> Response:
    if runtime:
        code, status = _RUNTIME_ERRORS.get(error.code, (None, error.status))
        body = json.dumps({"Message": error.message, **error.members}).encode()
        return _response(status, body, "application/json", {"x-amzn-ErrorType": code or error.code})
    body = json.dumps({"__type": error.code, "message": error.message, **error.members}).encode()
    return _response(error.status, body, "application/x-amz-json-1.1")


def _response(status: int, body: bytes, content_type: str, extra: dict[str, str] | None = None) -> Response:
    headers = {"x-amzn-RequestId": str(uuid.uuid4()), "Content-Type": content_type, **(extra or {})}
    return Response(status=status, headers=headers, body=body)
