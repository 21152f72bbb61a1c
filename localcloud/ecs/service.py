"""The API of ECS: JSON 1.1, signed as `ecs`.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/Welcome.html

MiniStack has an ECS too. It drives a Docker daemon, has no instances to place tasks on, and takes nearly any
request; behind an engine of ours only the keeping of records would be left of it, so all of it is ours.
"""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localcloud.aws.identity import AccessDenied, Caller, RoleNotFound, require, require_pass_role
from localcloud.aws.service import Request, Response
from localcloud.context import Cloud
from localcloud.ecs.errors import client_error, cluster_not_found, invalid
from localcloud.ecs.names import Names
from localcloud.sagemaker import shapes
from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.pagination import page
from localcloud.sagemaker.store import Store

if TYPE_CHECKING:
    from localcloud.ecs.interruption import Interruptions
    from localcloud.ecs.runner import Runner
    from localcloud.ecs.scheduler import Scheduler
    from localcloud.ecs.utilization import Utilization

SERVICE = "ecs"
TASKS_PRINCIPAL = "ecs-tasks.amazonaws.com"
CLUSTER, PROVIDER, DEFINITION, FAMILY = "cluster", "capacity-provider", "task-definition", "family"
TASK, SERVICES, HOST, TAGS, TOKEN = "task", "service", "host", "tags", "token"
HOSTS_VARIABLE = "MODELYARD_ECS_HOSTS"
_DEFAULT_HOSTS = 4
_PAGE = 100
_TARGET_PREFIX = "AmazonEC2ContainerServiceV20141113."
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ecs:
    """The service's state, who runs tasks, and who keeps services at their count.

    Args:
        most_hosts: of one Auto Scaling group, whatever its MaxSize.
    """

    cloud: Cloud
    store: Store
    names: Names
    runner: Runner
    scheduler: Scheduler
    most_hosts: int

    def cluster(self, reference: str | None) -> dict[str, Any]:
        """An active cluster; ClusterNotFoundException without one."""
        found = self.store.find(CLUSTER, self.names.last(reference or "default", "cluster"))
        if found is None or found["status"] != "ACTIVE":
            raise cluster_not_found()
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One validated request."""

    service: Ecs
    caller: Caller
    operation: str
    request: dict[str, Any]

    @property
    def store(self) -> Store:
        return self.service.store

    @property
    def names(self) -> Names:
        return self.service.names

    @property
    def cluster_name(self) -> str:
        """The cluster that the request names, whether it exists or not."""
        return self.names.last(self.request.get("cluster") or "default", "cluster")

    def require(
        self,
        resource: str,
        conditions: Mapping[str, str | list[str]] | None = None,
        action: str | None = None,
    ) -> None:
        """Ask IAM about this operation, or another action, with the tags that the request would set."""
        tags = {f"aws:RequestTag/{tag['key']}": tag.get("value", "") for tag in self.request.get("tags", [])}
        require(self.caller, f"ecs:{action or self.operation}", resource, {**tags, **(conditions or {})})
        if tags and action is None and self.operation != "TagResource":
            # What RunTask makes are tasks, while what it asks for is a definition.
            tasks = self.names.arn("task", f"{self.cluster_name}/*")
            made = tasks if self.operation == "RunTask" else resource
            require(self.caller, "ecs:TagResource", made, {**tags, "ecs:CreateAction": self.operation})

    def in_cluster(self) -> dict[str, str]:
        """The condition key that most actions have."""
        return {"ecs:cluster": self.names.arn("cluster", self.cluster_name)}

    def pass_roles(self, *roles: str | None) -> None:
        """Ask for `iam:PassRole`; ClientException for a role that does not exist."""
        for role in dict.fromkeys(role for role in roles if role):
            try:
                require_pass_role(self.caller, self.names.role(role), TASKS_PRINCIPAL)
            except RoleNotFound:
                raise client_error("Role is not valid") from None

    def page(self, arns: list[str]) -> tuple[list[str], str | None]:
        """One page of ARNs, and the token of the next."""
        paging = {"nextToken": "NextToken", "maxResults": "MaxResults"}
        request = {paging.get(name, name): value for name, value in self.request.items()}
        if not 1 <= request.get("MaxResults", 1) <= _PAGE:
            raise invalid(f"maxResults must be from 1 to {_PAGE}.")
        return page(arns, request, key=lambda arn: arn, default=_PAGE)


Operation = Callable[[Call], dict[str, Any]]


def handle(service: Ecs, operations: Mapping[str, Operation], request: Request) -> Response:
    """Answer one request, whose signature has been verified."""
    name = request.headers.get("x-amz-target", "").removeprefix(_TARGET_PREFIX)
    try:
        operation = operations.get(name)
        if operation is None:
            raise ServiceError(
                "UnknownOperationException",
                f"The local ECS does not serve {name or 'this request'}; it serves "
                f"{', '.join(sorted(operations))}.",
            )
        members = shapes.check(_body(request.body), shapes.input_shape(name, SERVICE))
        if not all(tag.get("key") for tag in members.get("tags", ())):
            raise invalid("A tag's key must not be null or empty.")
        call = Call(service=service, caller=request.caller, operation=name, request=members)
        answer = operation(call)
        return _response(200, shapes.serialise(answer, shapes.output_shape(name, SERVICE)))
    except ServiceError as error:
        # ECS has no error of that name: wrong values are wrong parameters.
        code = "InvalidParameterException" if error.code == "ValidationException" else error.code
        return _response(error.status, {"__type": code, "message": error.message, **error.members})
    except AccessDenied as error:
        return _response(400, {"__type": "AccessDeniedException", "message": error.message})
    except Exception:
        _log.exception("%s failed", name)
        return _response(
            500, {"__type": "ServerException", "message": "The local ECS failed; its log says why."}
        )


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

    def __init__(self, service: Ecs, utilization: Utilization, interruptions: Interruptions) -> None:
        self.service, self._ticking = service, (utilization, interruptions)

    def close(self) -> None:
        """Keep and measure services no more, stop every task, and close the store."""
        for each in self._ticking:
            each.close()
        self.service.scheduler.close()
        self.service.runner.close()
        self.service.store.close()


def install(cloud: Cloud) -> Installed:
    """Put the service into the cloud: its API, its CloudFormation types, its events."""
    from ministack.core import iam_actions

    from localcloud.aws.service import register
    from localcloud.ecs import (
        cluster_operations,
        definition_operations,
        event_rules,
        events,
        host_operations,
        hosts,
        provider_operations,
        resources,
        service_operations,
        state_machines,
        tag_operations,
        task_operations,
        termination,
    )
    from localcloud.ecs.interruption import Interruptions
    from localcloud.ecs.runner import Runner
    from localcloud.ecs.scheduler import Scheduler
    from localcloud.ecs.utilization import Utilization

    store, names = Store(cloud.folder.ecs_db), Names(cloud.region, cloud.account)
    most_hosts = _most_hosts(os.environ.get(HOSTS_VARIABLE))
    runner = Runner(cloud, store, names, most_hosts)
    service = Ecs(
        cloud=cloud,
        store=store,
        names=names,
        runner=runner,
        scheduler=Scheduler(store, names, runner, cloud.clock),
        most_hosts=most_hosts,
    )
    operations = (
        cluster_operations.OPERATIONS
        | provider_operations.OPERATIONS
        | definition_operations.OPERATIONS
        | host_operations.OPERATIONS
        | task_operations.OPERATIONS
        | service_operations.OPERATIONS
        | tag_operations.OPERATIONS
    )
    store.subscribe(events.Publisher(cloud, names))
    runner.end_interrupted()
    hosts.keep_instance_types()
    hosts.know_images()
    termination.install()
    # MiniStack's gate would ask first, about a cluster where AWS asks about a task, and without conditions.
    iam_actions.SERVICE_TO_IAM_NAMESPACE.pop(SERVICE, None)
    register(SERVICE, lambda request: handle(service, operations, request))
    state_machines.install(cloud)
    event_rules.install(cloud)
    resources.install(cloud)
    service.scheduler.start()
    utilization = Utilization(cloud, runner)
    utilization.start()
    interruptions = Interruptions(cloud, store, runner)
    interruptions.start()
    return Installed(service, utilization, interruptions)


def _most_hosts(text: str | None) -> int:
    if text is None:
        return _DEFAULT_HOSTS
    if not text.isdecimal() or not 0 < int(text) <= _PAGE:
        _log.warning("%s is %r and no number from 1 to %d: %d", HOSTS_VARIABLE, text, _PAGE, _DEFAULT_HOSTS)
        return _DEFAULT_HOSTS
    return int(text)
