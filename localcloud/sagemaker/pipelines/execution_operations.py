"""Operations on executions: start, describe, list, stop, retry."""

import secrets
import string
from collections.abc import Mapping
from typing import Any

from localcloud.sagemaker.errors import conflict, resource_not_found, validation
from localcloud.sagemaker.pagination import arrange, page
from localcloud.sagemaker.pipelines import reuse, versions
from localcloud.sagemaker.pipelines.definition import parse_definition
from localcloud.sagemaker.pipelines.execution import Execution, ExecutionScope, RoleSession
from localcloud.sagemaker.pipelines.expressions import ExpressionError, Scalar, resolve
from localcloud.sagemaker.pipelines.model import Definition
from localcloud.sagemaker.pipelines.parameters import ParameterError, bind
from localcloud.sagemaker.pipelines.pipeline_operations import (
    creation_filters,
    digest,
    find_pipeline,
    user_context,
)
from localcloud.sagemaker.pipelines.records import (
    EXECUTION,
    PIPELINE,
    STEP,
    executions_of,
    load_definition,
    step_records,
)
from localcloud.sagemaker.pipelines.selection import SelectionError, select
from localcloud.sagemaker.pipelines.steps import cannot_run
from localcloud.sagemaker.service import Call, operation
from localcloud.sagemaker.store import Document, NotFound, now

_ID = string.ascii_lowercase + string.digits
_UPDATABLE = ("PipelineExecutionDescription", "PipelineExecutionDisplayName", "ParallelismConfiguration")


@operation("StartPipelineExecution")
def start_pipeline_execution(call: Call) -> dict[str, Any]:
    """Start an execution, pinned to the pipeline's definition and role of this moment.

    See https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StartPipelineExecution.html.
    """
    request, store = call.request, call.store
    if "MlflowExperimentName" in request:
        raise validation("The local cloud has no MLflow; start the execution without MlflowExperimentName.")
    with store.transaction():
        pipeline = find_pipeline(call)
        version = versions.find(store, pipeline, request.get("PipelineVersionId"))
        again = executions_of(store, pipeline["PipelineArn"], where=_token(request["ClientRequestToken"]))
        if again:
            if again[0]["_Request"] != digest(request):
                raise conflict("The ClientRequestToken was used before with another request.")
            return {"PipelineExecutionArn": again[0]["PipelineExecutionArn"]}
        definition = parse_definition(load_definition(store, version["_Definition"]))
        config = request.get("SelectiveExecutionConfig")
        try:
            selection = select(definition, _selected(config))
            values = bind(definition.parameters, request.get("PipelineParameters", []))
        except (SelectionError, ParameterError) as error:
            raise validation(str(error)) from None
        refused = cannot_run(definition, selection.graph.order)
        if refused:
            raise validation("\n".join(refused))
        source = reuse.find_source(store, pipeline["PipelineArn"], config or {})
        results = reuse.find_results(store, source, selection.reused)
        record = _record(call, pipeline, version, definition, values)
        arn = record["PipelineExecutionArn"]
        store.create(EXECUTION, arn, record)
        if source is not None:
            reuse.take_over(store, record, source, results)
        versions.started(store, pipeline, version["PipelineVersionId"], arn)
        store.update(PIPELINE, pipeline["PipelineName"].lower(), lambda p: p.update(LastRunTime=now()))
    call.sagemaker.executor.start(arn)
    return {"PipelineExecutionArn": arn}


@operation("DescribePipelineExecution")
def describe_pipeline_execution(call: Call) -> dict[str, Any]:
    """See https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribePipelineExecution.html."""
    return _find(call)


@operation("ListPipelineExecutions")
def list_pipeline_executions(call: Call) -> dict[str, Any]:
    """See https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListPipelineExecutions.html."""
    pipeline = find_pipeline(call)
    found = [
        {
            **record,
            "StartTime": record["CreationTime"],
            "PipelineExecutionFailureReason": record.get("FailureReason"),
        }
        for record in executions_of(call.store, pipeline["PipelineArn"])
    ]
    ordered = arrange(found, creation_filters(call.request), name="PipelineExecutionArn")
    items, token = page(ordered, call.request, key=lambda record: str(record["PipelineExecutionArn"]))
    return {"PipelineExecutionSummaries": items, "NextToken": token}


@operation("ListPipelineExecutionSteps")
def list_pipeline_execution_steps(call: Call) -> dict[str, Any]:
    """The steps that have started, newest first unless asked otherwise.

    See https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListPipelineExecutionSteps.html.
    """
    steps = step_records(call.store, _find(call)["PipelineExecutionArn"])
    if call.request.get("SortOrder", "Descending") == "Descending":
        steps.reverse()
    items, token = page(steps, call.request, key=lambda record: str(record["StepName"]))
    return {"PipelineExecutionSteps": items, "NextToken": token}


@operation("ListPipelineParametersForExecution")
def list_pipeline_parameters_for_execution(call: Call) -> dict[str, Any]:
    """The parameters that the execution was started with; those left at their defaults are not listed.

    See https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListPipelineParametersForExecution.html.
    """
    items, token = page(_find(call)["_Given"], call.request, key=lambda item: str(item["Name"]))
    return {"PipelineParameters": items, "NextToken": token}


@operation("DescribePipelineDefinitionForExecution")
def describe_pipeline_definition_for_execution(call: Call) -> dict[str, Any]:
    """The definition that the execution started with, whatever the pipeline's is today."""
    execution = _find(call)
    text = load_definition(call.store, execution["_Definition"])
    return {"PipelineDefinition": text, "CreationTime": execution["CreationTime"]}


@operation("UpdatePipelineExecution")
def update_pipeline_execution(call: Call) -> dict[str, Any]:
    """Rename or describe an execution; change how many of its steps run at once, also while it runs.

    See https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdatePipelineExecution.html.
    """

    def change(record: Document) -> None:
        record.update({member: call.request[member] for member in _UPDATABLE if member in call.request})
        record.update(LastModifiedTime=now(), LastModifiedBy=user_context(call))

    arn = _change(call, change)
    if "ParallelismConfiguration" in call.request:
        limit = call.request["ParallelismConfiguration"]["MaxParallelExecutionSteps"]
        call.sagemaker.executor.set_limit(arn, limit)
    return {"PipelineExecutionArn": arn}


@operation("StopPipelineExecution")
def stop_pipeline_execution(call: Call) -> dict[str, Any]:
    """Stop an execution and its running jobs; again, or when it has stopped, there is nothing to do.

    See https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StopPipelineExecution.html.
    """

    def change(record: Document) -> None:
        status = record["PipelineExecutionStatus"]
        if status in ("Succeeded", "Failed"):
            raise conflict(
                f"Only pipeline executions in Executing status can be stopped; "
                f"'{record['PipelineExecutionArn']}' is {status}."
            )
        if status == "Executing":
            record.update(PipelineExecutionStatus="Stopping", LastModifiedTime=now())
            record["LastModifiedBy"] = user_context(call)

    arn = _change(call, change)
    call.sagemaker.executor.stop(arn)
    return {"PipelineExecutionArn": arn}


@operation("RetryPipelineExecution")
def retry_pipeline_execution(call: Call) -> dict[str, Any]:
    """Run what has not succeeded of a failed or stopped execution; its ARN stays.

    See https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_RetryPipelineExecution.html.
    """

    def change(record: Document) -> None:
        status = record["PipelineExecutionStatus"]
        if status not in ("Failed", "Stopped"):
            raise conflict(
                f"Only pipeline executions in Failed or Stopped status can be retried; "
                f"'{record['PipelineExecutionArn']}' is {status}."
            )
        record.update(PipelineExecutionStatus="Executing", LastModifiedTime=now())
        record["LastModifiedBy"] = user_context(call)
        record.pop("FailureReason", None)
        if "ParallelismConfiguration" in call.request:
            record["ParallelismConfiguration"] = call.request["ParallelismConfiguration"]

    with call.store.transaction():
        arn = _change(call, change)
        for step in step_records(call.store, arn):
            if step["StepStatus"] != "Succeeded":
                call.store.delete(STEP, f"{arn.rsplit('/', 1)[-1]}/{step['StepName']}")
    call.sagemaker.executor.start(arn)
    return {"PipelineExecutionArn": arn}


def _record(
    call: Call, pipeline: Document, version: Document, definition: Definition, values: dict[str, Scalar]
) -> dict[str, Any]:
    request, moment = call.request, now()
    execution = Execution(
        arn=f"{pipeline['PipelineArn']}/execution/{''.join(secrets.choice(_ID) for _ in range(12))}",
        pipeline_name=pipeline["PipelineName"],
        pipeline_arn=pipeline["PipelineArn"],
        started=moment,
    )
    record = {
        "PipelineArn": pipeline["PipelineArn"],
        "PipelineExecutionArn": execution.arn,
        "PipelineExecutionDisplayName": request.get(
            "PipelineExecutionDisplayName", f"execution-{int(moment * 1000)}"
        ),
        "PipelineExecutionStatus": "Executing",
        "PipelineExecutionDescription": request.get("PipelineExecutionDescription"),
        "PipelineExperimentConfig": _experiment(call, execution, definition, values, pipeline["RoleArn"]),
        "ParallelismConfiguration": request.get(
            "ParallelismConfiguration", pipeline.get("ParallelismConfiguration")
        ),
        "SelectiveExecutionConfig": request.get("SelectiveExecutionConfig"),
        "CreationTime": moment,
        "LastModifiedTime": moment,
        "CreatedBy": user_context(call),
        "LastModifiedBy": user_context(call),
        "PipelineVersionId": version["PipelineVersionId"],
        "_PipelineName": pipeline["PipelineName"],
        "_RoleArn": pipeline["RoleArn"],
        "_Definition": version["_Definition"],
        "_Parameters": values,
        "_Selected": _selected(request.get("SelectiveExecutionConfig")),
        "_Given": request.get("PipelineParameters", []),
        "_ClientRequestToken": request["ClientRequestToken"],
        "_Request": digest(request),
    }
    return {member: value for member, value in record.items() if value is not None}


def _experiment(
    call: Call, execution: Execution, definition: Definition, values: dict[str, Scalar], role_arn: str
) -> dict[str, Any] | None:
    scope = ExecutionScope(
        execution=execution,
        definition=definition,
        parameters=values,
        properties_of=lambda _: None,
        session=RoleSession(call.cloud, role_arn, execution.id, execution.pipeline_arn),
    )
    try:
        config: dict[str, Any] = resolve(dict(definition.experiment), scope)
    except ExpressionError as error:
        raise validation(f"PipelineExperimentConfig: {error}") from None
    return config or None


def _selected(config: Mapping[str, Any] | None) -> list[str] | None:
    return None if config is None else [step["StepName"] for step in config["SelectedSteps"]]


def _token(token: str) -> Any:
    return lambda record: record["_ClientRequestToken"] == token


def _find(call: Call) -> Document:
    arn = call.request["PipelineExecutionArn"]
    record = call.store.find(EXECUTION, arn)
    if record is None:
        raise resource_not_found(f"Pipeline execution '{arn}' does not exist.")
    return record


def _change(call: Call, change: Any) -> str:
    arn: str = call.request["PipelineExecutionArn"]
    try:
        call.store.update(EXECUTION, arn, change)
    except NotFound:
        raise resource_not_found(f"Pipeline execution '{arn}' does not exist.") from None
    return arn
