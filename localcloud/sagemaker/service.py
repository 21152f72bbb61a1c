"""The frame of the local SageMaker: the parts it is made of, and the registry of its operations.

An operation is a function that takes a `Call` and returns the answer in the shape of the API, times as epoch
seconds. Before it runs, the request has been checked against botocore's model and IAM has allowed the action
on the resources that `localcloud.sagemaker.authorization` names for it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localcloud.context import Cloud
from localcloud.sagemaker import authorization, shapes
from localcloud.sagemaker.arns import arn
from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.store import Store
from localcloud.sagemaker.tags import add_tags, check_tags, remove_tags

if TYPE_CHECKING:
    from localcloud.aws.identity import Caller
    from localcloud.sagemaker.hosting.endpoints import Hosting
    from localcloud.sagemaker.jobs.runner import JobRunner
    from localcloud.sagemaker.jobs.tuning.runner import TuningRunner
    from localcloud.sagemaker.pipelines.executor import PipelineExecutor

_OPERATION_MODULES = (
    "localcloud.sagemaker.models",
    "localcloud.sagemaker.package_groups",
    "localcloud.sagemaker.registry",
    "localcloud.sagemaker.endpoint_configs",
    "localcloud.sagemaker.tag_operations",
    "localcloud.sagemaker.jobs.operations",
    "localcloud.sagemaker.jobs.tuning.operations",
    "localcloud.sagemaker.hosting.operations",
    "localcloud.sagemaker.pipelines.operations",
)
_RUNTIME = "sagemaker-runtime"
_RUNTIME_OPERATIONS = frozenset({"InvokeEndpoint"})


@dataclass(slots=True, kw_only=True)
class SageMaker:
    """The local SageMaker. `call` is the one way in, for the wire and for CloudFormation alike."""

    cloud: Cloud
    store: Store
    jobs: JobRunner
    tuning: TuningRunner
    hosting: Hosting
    executor: PipelineExecutor

    def call(self, name: str, request: Mapping[str, Any], caller: Caller | None) -> dict[str, Any]:
        """Run one operation and return its answer in the API's shape.

        Args:
            name: the API's name, for example `CreateModel`.
            request: the members as boto3 takes them, times as epoch seconds.
            caller: whose policies decide; None for the cloud itself (CloudFormation), which IAM does not
                evaluate.

        Raises:
            ServiceError: what the caller gets to see.

        Example:
            >>> sagemaker.call("DescribeModel", {"ModelName": "m"}, caller)["ModelArn"]
        """
        service = _RUNTIME if name in _RUNTIME_OPERATIONS else "sagemaker"
        entry = find_operation(name)
        clean = shapes.check(dict(request), shapes.input_shape(name, service))
        call = Call(sagemaker=self, caller=caller, operation=name, request=clean)
        resources = entry.resource(call) if entry.resource else authorization.resources(call)
        conditions = authorization.conditions(call) | dict(entry.conditions(call) if entry.conditions else {})
        for resource in [resources] if isinstance(resources, str) else resources:
            call.require(f"sagemaker:{name}", resource, conditions)
        authorization.require_tagging(call)
        check_tags(clean.get("Tags", []), reserved=caller is None)
        answer: dict[str, Any] = shapes.serialise(entry.run(call) or {}, shapes.output_shape(name, service))
        _keep_tags(call, answer)
        return answer

    def close(self) -> None:
        """Stop executions, jobs and endpoints, deliver outstanding events, and close the state."""
        self.executor.close()
        self.tuning.close()
        self.jobs.close()
        self.hosting.close()
        self.store.close()


@dataclass(slots=True, kw_only=True)
class Call:
    """One request on its way through the service.

    `request` is checked; `caller` is None when the cloud itself calls. Further permissions that an operation
    needs are asked for with `require` and `pass_role`.
    """

    sagemaker: SageMaker
    caller: Caller | None
    operation: str
    request: dict[str, Any]

    @property
    def store(self) -> Store:
        return self.sagemaker.store

    @property
    def cloud(self) -> Cloud:
        return self.sagemaker.cloud

    def arn(self, kind: str, name: str) -> str:
        """The ARN of a resource of this account and region, for example `call.arn("model", "m")`."""
        return arn(self.sagemaker.cloud, kind, name)

    def require(
        self, action: str, resource: str, conditions: Mapping[str, str | list[str]] | None = None
    ) -> None:
        """Raise AccessDeniedException unless the caller's policies allow the action on the resource."""
        if self.caller is not None:
            authorization.require(self, action, resource, conditions or {})

    def pass_role(self, role_arn: str) -> None:
        """Require that the role exists and that the caller may hand it to SageMaker."""
        authorization.pass_role(self, role_arn)


def _keep_tags(call: Call, answer: Mapping[str, Any]) -> None:
    """What every creation and deletion does with tags, so that no operation has to."""
    if call.operation.startswith("Create") and call.request.get("Tags"):
        created = next(value for name, value in answer.items() if name.endswith("Arn"))
        add_tags(call.store, created, call.request["Tags"])
    elif call.operation.startswith("Delete") and call.operation != "DeleteTags":
        for resource in authorization.resources(call):
            remove_tags(call.store, resource)


Run = Callable[[Call], "dict[str, Any] | None"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An entry of the registry."""

    name: str
    run: Run
    resource: Callable[[Call], str | Sequence[str]] | None
    conditions: Callable[[Call], Mapping[str, str | list[str]]] | None


_operations: dict[str, Operation] = {}


def operation(
    name: str,
    *,
    resource: Callable[[Call], str | Sequence[str]] | None = None,
    conditions: Callable[[Call], Mapping[str, str | list[str]]] | None = None,
) -> Callable[[Run], Run]:
    """Register a function as an operation of the API.

    Resources and condition keys come from `authorization`, which knows them for every operation served; the
    arguments are for what only the operation itself can know.

    Args:
        name: the API's name.
        resource: ARN or ARNs to check instead.
        conditions: further condition keys.

    Example:
        >>> @operation("DescribeModel")
        ... def describe_model(call: Call) -> dict[str, Any]: ...
    """

    def register(run: Run) -> Run:
        if name in _operations:
            raise ValueError(f"operation {name} is registered twice")
        _operations[name] = Operation(name=name, run=run, resource=resource, conditions=conditions)
        return run

    return register


def find_operation(name: str) -> Operation:
    """Return a registered operation; the error tells an operation AWS lacks from one that only we lack."""
    if name in _operations:
        return _operations[name]
    if name in shapes.service_model().operation_names:
        raise ServiceError(
            "NotImplementedException",
            f"The local SageMaker does not implement {name}; docs/local-cloud.md lists what it does.",
            status=501,
        )
    raise ServiceError("UnknownOperationException", f"SageMaker has no operation {name!r}.")


def operation_names() -> list[str]:
    """Every operation served, sorted."""
    return sorted(_operations)


def load_operations() -> None:
    """Import every module that registers operations."""
    for module in _OPERATION_MODULES:
        importlib.import_module(module)


def install(cloud: Cloud) -> SageMaker:
    """Put the local SageMaker into the cloud: API, runtime, events and CloudFormation types."""
    from localcloud.aws import service
    from localcloud.cloudformation import sagemaker as types
    from localcloud.containers.public_images import provider as public_images
    from localcloud.sagemaker import events, protocol
    from localcloud.sagemaker.hosting.endpoints import Hosting
    from localcloud.sagemaker.jobs.runner import JobRunner
    from localcloud.sagemaker.jobs.tuning.runner import TuningRunner
    from localcloud.sagemaker.pipelines.executor import PipelineExecutor

    load_operations()
    public_images.install()
    store = Store(cloud.folder.sagemaker_db)
    events.install(cloud, store)
    sagemaker = SageMaker(
        cloud=cloud,
        store=store,
        jobs=JobRunner(cloud, store),
        tuning=TuningRunner(store),  # after the jobs, which are ended first
        hosting=Hosting(cloud, store),
        executor=PipelineExecutor(cloud, store),
    )
    service.register("sagemaker", lambda request: protocol.handle(sagemaker, request))
    types.install(sagemaker)
    return sagemaker
