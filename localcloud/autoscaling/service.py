"""The API of Application Auto Scaling: JSON 1.1, signed as `application-autoscaling`.

https://docs.aws.amazon.com/autoscaling/application/APIReference/Welcome.html

Operations keep targets, policies and scheduled actions; `scaler` acts on them.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from localcloud.autoscaling.scalable import Scalable
from localcloud.aws.identity import AccessDenied, Caller, require
from localcloud.aws.service import Request, Response
from localcloud.context import Cloud
from localcloud.sagemaker import shapes
from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.store import Store

if TYPE_CHECKING:
    from localcloud.autoscaling.scaler import Scaler

SERVICE = "application-autoscaling"
_TARGET_PREFIX = "AnyScaleFrontendService."
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoScaling:
    """The service's state.

    Args:
        scalables: by service namespace; targets of others are kept, and taken at their word.
    """

    cloud: Cloud
    store: Store
    scalables: Mapping[str, Scalable]


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


class Installed:
    """The running service."""

    def __init__(self, service: AutoScaling, scaler: Scaler) -> None:
        self._service, self._scaler = service, scaler

    def close(self) -> None:
        """Scale nothing any more, and close the store."""
        self._scaler.close()
        self._service.store.close()


def install(cloud: Cloud, scalables: Mapping[str, Scalable]) -> Installed:
    """Put the service into the cloud: its API, its CloudFormation types, and what scales.

    Args:
        scalables: by service namespace, for example `sagemaker`.
    """
    from localcloud.autoscaling import activities, policies, resources, scheduled, tags, targets
    from localcloud.autoscaling.scaler import Scaler
    from localcloud.aws.service import register
    from localcloud.cloudwatch import datapoints, transitions

    service = AutoScaling(cloud=cloud, store=Store(cloud.folder.autoscaling_db), scalables=scalables)
    operations = (
        targets.OPERATIONS
        | policies.OPERATIONS
        | scheduled.OPERATIONS
        | activities.OPERATIONS
        | tags.OPERATIONS
    )
    register(SERVICE, lambda request: handle(service, operations, request))
    resources.install(cloud)
    scaler = Scaler(service, partial(datapoints.read, cloud))
    transitions.scale_with(scaler.ask)
    scaler.start()
    return Installed(service, scaler)
