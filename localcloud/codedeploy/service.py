"""The API of CodeDeploy, for functions: JSON 1.1, signed as `codedeploy`.

https://docs.aws.amazon.com/codedeploy/latest/APIReference/Welcome.html

Operations keep applications, groups and deployments; `mover` carries deployments out.
"""

from __future__ import annotations

import json
import logging
import secrets
import string
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localcloud.aws.identity import AccessDenied, Caller, require
from localcloud.aws.service import Request, Response
from localcloud.context import Cloud
from localcloud.sagemaker import shapes
from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.store import Store

if TYPE_CHECKING:
    from localcloud.codedeploy.mover import Mover

SERVICE = "codedeploy"
APPLICATION, GROUP, DEPLOYMENT = "application", "deployment-group", "deployment"
_LETTERS = string.ascii_uppercase + string.digits
_TARGET_PREFIX = "CodeDeploy_20141006."
_log = logging.getLogger(__name__)


def new_deployment_id() -> str:
    """As AWS makes them: `d-` and nine letters or digits."""
    return "d-" + "".join(secrets.choice(_LETTERS) for _ in range(9))


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeDeploy:
    """The service's state, and who carries deployments out."""

    cloud: Cloud
    store: Store
    mover: Mover

    def arn(self, kind: str, name: str) -> str:
        """For example of `application`, or of `deploymentgroup` with the name `APPLICATION/GROUP`."""
        return f"arn:aws:codedeploy:{self.cloud.region}:{self.cloud.account}:{kind}:{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One validated request."""

    service: CodeDeploy
    caller: Caller
    request: dict[str, Any]

    def require(self, action: str, kind: str, name: str) -> None:
        """Ask IAM about a resource of the service."""
        require(self.caller, f"codedeploy:{action}", self.service.arn(kind, name))

    def require_any(self, action: str) -> None:
        """Ask IAM about an action without resource types."""
        require(self.caller, f"codedeploy:{action}")


Operation = Callable[[Call], dict[str, Any]]


def handle(service: CodeDeploy, operations: Mapping[str, Operation], request: Request) -> Response:
    """Answer one request, whose signature has been verified."""
    name = request.headers.get("x-amz-target", "").removeprefix(_TARGET_PREFIX)
    try:
        operation = operations.get(name)
        if operation is None:
            raise ServiceError(
                "UnknownOperationException",
                f"The local CodeDeploy does not serve {name or 'this request'}; it serves "
                f"{', '.join(sorted(operations))}.",
            )
        members = shapes.check(_body(request.body), shapes.input_shape(name, SERVICE))
        answer = operation(Call(service=service, caller=request.caller, request=members))
        return _response(200, shapes.serialise(answer, shapes.output_shape(name, SERVICE)))
    except ServiceError as error:
        return _response(error.status, {"__type": error.code, "message": error.message, **error.members})
    except AccessDenied as error:
        return _response(400, {"__type": "AccessDeniedException", "message": error.message})
    except Exception:
        _log.exception("%s failed", name)
        message = "The local CodeDeploy failed; its log says why."
        return _response(500, {"__type": "InternalFailure", "message": message})


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

    def __init__(self, service: CodeDeploy) -> None:
        self._service = service

    def close(self) -> None:
        """Leave deployments as they are, and close the store."""
        self._service.mover.close()
        self._service.store.close()


def install(cloud: Cloud) -> Installed:
    """Put the service into the cloud: its API, its CloudFormation types, and aliases that are shifted."""
    from localcloud.aws.service import register
    from localcloud.codedeploy import deployments, groups, lambda_alias, resources
    from localcloud.codedeploy.mover import Mover

    store = Store(cloud.folder.codedeploy_db)
    service = CodeDeploy(cloud=cloud, store=store, mover=Mover(cloud, store))
    operations = groups.OPERATIONS | deployments.OPERATIONS
    register(SERVICE, lambda request: handle(service, operations, request))
    deployments.end_interrupted(service)
    resources.install(cloud)
    lambda_alias.install(service)
    return Installed(service)
