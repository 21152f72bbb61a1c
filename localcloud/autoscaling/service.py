"""The API of Application Auto Scaling: JSON 1.1, signed as `application-autoscaling`.

https://docs.aws.amazon.com/autoscaling/application/APIReference/Welcome.html

Policies are kept, described, and get their CloudWatch alarms; nothing acts on the alarms yet.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.aws.identity import AccessDenied, Caller, require
from localcloud.aws.service import Request, Response
from localcloud.context import Cloud
from localcloud.sagemaker import shapes
from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.store import Store

SERVICE = "application-autoscaling"
_TARGET_PREFIX = "AnyScaleFrontendService."
_log = logging.getLogger(__name__)

# Whether a resource exists, by service namespace; others are taken at their word.
Exists = Callable[[str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoScaling:
    """The service's state: `exists` by namespace says whether a resource id stands for something."""

    cloud: Cloud
    store: Store
    exists: Mapping[str, Exists]

    def close(self) -> None:
        """Close the store."""
        self.store.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One validated request."""

    service: AutoScaling
    caller: Caller
    request: dict[str, Any]

    def require(self, action: str, resource: str = "*", *, service: str = SERVICE) -> None:
        """Ask IAM, with the condition keys that the service documents."""
        keys = {
            "application-autoscaling:service-namespace": "ServiceNamespace",
            "application-autoscaling:scalable-dimension": "ScalableDimension",
        }
        conditions = {key: self.request[name] for key, name in keys.items() if name in self.request}
        require(self.caller, f"{service}:{action}", resource, conditions if service == SERVICE else None)


Operation = Callable[[Call], dict[str, Any]]


def handle(service: AutoScaling, operations: Mapping[str, Operation], request: Request) -> Response:
    """Answer one request, whose signature has been verified."""
    name = request.headers.get("x-amz-target", "").removeprefix(_TARGET_PREFIX)
    try:
        operation = operations.get(name)
        if operation is None:
            raise ServiceError(
                "UnknownOperationException",
                f"The local Application Auto Scaling does not serve {name or 'this request'}; it serves "
                f"{', '.join(sorted(operations))}.",
            )
        members = shapes.check(_body(request.body), shapes.input_shape(name, SERVICE))
        answer = operation(Call(service=service, caller=request.caller, request=members))
        body = shapes.serialise(answer, shapes.output_shape(name, SERVICE))
        return _response(200, body)
    except ServiceError as error:
        return _response(error.status, {"__type": error.code, "Message": error.message, **error.members})
    except AccessDenied as error:
        return _response(400, {"__type": "AccessDeniedException", "Message": error.message})
    except Exception:
        _log.exception("%s failed", name)
        message = "The local Application Auto Scaling failed; its log says why."
        return _response(500, {"__type": "InternalServiceException", "Message": message})


def _body(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        raise ServiceError("SerializationException", "The request's body is not JSON.") from None
    if not isinstance(value, dict):
        raise ServiceError("SerializationException", "The request's body is not a JSON object.")
    return value


def _response(status: int, body: dict[str, Any]) -> Response:
    headers = {"x-amzn-RequestId": str(uuid.uuid4()), "Content-Type": "application/x-amz-json-1.1"}
    return Response(status=status, headers=headers, body=json.dumps(body).encode())


def install(cloud: Cloud, exists: Mapping[str, Exists]) -> AutoScaling:
    """Put the service into the cloud: its API and its CloudFormation types.

    Args:
        exists: by service namespace, for example `sagemaker`, whether a resource id stands for something.
    """
    from localcloud.autoscaling import policies, resources, tags, targets
    from localcloud.aws.service import register

    service = AutoScaling(cloud=cloud, store=Store(cloud.folder.autoscaling_db), exists=exists)
    operations = targets.OPERATIONS | policies.OPERATIONS | tags.OPERATIONS
    register(SERVICE, lambda request: handle(service, operations, request))
    resources.install(cloud)
    return service
