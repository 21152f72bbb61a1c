"""CreatePipeline, UpdatePipeline, DescribePipeline, ListPipelines, DeletePipeline."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.aws import administrator
from localcloud.aws.callers import Checked
from localcloud.aws.differences import kms_use
from localcloud.sagemaker import arns
from localcloud.sagemaker.errors import ServiceError, access_denied, conflict, resource_not_found, validation
from localcloud.sagemaker.pagination import arrange, page
from localcloud.sagemaker.pipelines import caching, versions
from localcloud.sagemaker.pipelines.definition import MAX_CHARACTERS, parse_definition
from localcloud.sagemaker.pipelines.problems import DefinitionError
from localcloud.sagemaker.pipelines.records import (
    CALLBACK,
    EXECUTION,
    PIPELINE,
    RUNNING_STATUSES,
    STEP,
    drop_definitions,
    executions_of,
    load_definition,
    save_definition,
    step_records,
)
from localcloud.sagemaker.service import Call, operation
from localcloud.sagemaker.store import Document, now

_NAMES = ("PipelineVersionDisplayName", "PipelineVersionDescription")
_OPTIONAL = ("PipelineDisplayName", "PipelineDescription", "RoleArn", "ParallelismConfiguration")


@operation("CreatePipeline")
def create_pipeline(call: Call) -> dict[str, Any]:
    """Create a pipeline; the same request with the same ClientRequestToken again is answered the same.

    See https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreatePipeline.html.
    """
    request = call.request
    name = request["PipelineName"]
    call.pass_role(request["RoleArn"])
    text = _definition_text(call)
    _check(text)
    arn, moment = call.arn("pipeline", name), now()
    with call.store.transaction():
        existing = call.store.find(PIPELINE, name.lower())
        if existing is not None:
            if existing["_Request"] == digest(request):
                return {"PipelineArn": arn}
            raise validation(
                "Pipeline names must be unique within an AWS account and region. "
                f"Pipeline with name ({name}) already exists."
            )
        record = {
            "PipelineArn": arn,
            "PipelineName": name,
            "PipelineDisplayName": name,
            **{member: request[member] for member in _OPTIONAL if member in request},
            "PipelineStatus": "Active",
            "CreationTime": moment,
            "LastModifiedTime": moment,
            "CreatedBy": user_context(call),
            "LastModifiedBy": user_context(call),
            "_Definition": save_definition(call.store, text),
            "_Version": 1,
            "_Request": digest(request),
        }
        call.store.create(PIPELINE, name.lower(), record)
        versions.add(call.store, record)
    return {"PipelineArn": arn}


@operation("UpdatePipeline")
def update_pipeline(call: Call) -> dict[str, Any]:
    """Change a pipeline; executions keep the definition they have started with.

    See https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdatePipeline.html.
    """
    request = call.request
    pipeline = find_pipeline(call)
    if "RoleArn" in request:
        call.pass_role(request["RoleArn"])
    text = _definition_text(call, required=False)
    if text is not None:
        _check(text)

    def change(record: Document) -> None:
        record.update({member: request[member] for member in _OPTIONAL if member in request})
        if text is not None:
            record["_Definition"] = save_definition(call.store, text)
            record["_Version"] += 1
        record["LastModifiedTime"] = now()
        record["LastModifiedBy"] = user_context(call)

    with call.store.transaction():
        updated = call.store.update(PIPELINE, pipeline["PipelineName"].lower(), change)
        if text is not None:
            versions.add(call.store, updated)
    return {"PipelineArn": updated["PipelineArn"], "PipelineVersionId": updated["_Version"]}


@operation("DescribePipeline")
def describe_pipeline(call: Call) -> dict[str, Any]:
    """See https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribePipeline.html."""
    pipeline = find_pipeline(call)
    version = versions.find(call.store, pipeline, call.request.get("PipelineVersionId"))
    text = load_definition(call.store, version["_Definition"])
    return {**pipeline, **{name: version.get(name) for name in _NAMES}, "PipelineDefinition": text}


@operation("ListPipelines")
def list_pipelines(call: Call) -> dict[str, Any]:
    """See https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListPipelines.html."""
    request = call.request
    prefix = request.get("PipelineNamePrefix", "")
    found = [
        {**record, "LastExecutionTime": record.get("LastRunTime")}
        for record in call.store.query(
            PIPELINE, where=lambda record: record["PipelineName"].startswith(prefix)
        )
    ]
    ordered = arrange(found, creation_filters(request), name="PipelineName")
    items, token = page(ordered, request, key=lambda record: str(record["PipelineArn"]))
    return {"PipelineSummaries": items, "NextToken": token}


@operation("DeletePipeline")
def delete_pipeline(call: Call) -> dict[str, Any]:
    """Delete a pipeline with its executions and cached results; refused while an execution runs.

    See https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeletePipeline.html.
    """
    store = call.store
    with store.transaction():
        pipeline = find_pipeline(call)
        arn = pipeline["PipelineArn"]
        executions = executions_of(store, arn)
        running = [e for e in executions if e["PipelineExecutionStatus"] in RUNNING_STATUSES]
        if running:
            raise conflict(
                f"Pipeline '{arn}' cannot be deleted while executions are running: "
                f"{', '.join(e['PipelineExecutionArn'] for e in running)}. Stop them first."
            )
        for execution in executions:
            execution_arn = execution["PipelineExecutionArn"]
            for step in step_records(store, execution_arn):
                store.delete(STEP, f"{execution_arn.rsplit('/', 1)[-1]}/{step['StepName']}")
            for token in store.query(CALLBACK, where=_of_execution(execution_arn)):
                store.delete(CALLBACK, token["Token"])
            store.delete(EXECUTION, execution_arn)
        store.delete(PIPELINE, pipeline["PipelineName"].lower())
        caching.forget_pipeline(store, arn)
        definitions = versions.forget(store, pipeline)
        drop_definitions(store, definitions | {e["_Definition"] for e in executions})
    return {"PipelineArn": arn}


def _of_execution(arn: str) -> Callable[[Document], bool]:
    return lambda record: bool(record["PipelineExecutionArn"] == arn)


def find_pipeline(call: Call, *, member: str = "PipelineName") -> Document:
    """The pipeline that a member of the request, a name or an ARN, means. Raises ResourceNotFound."""
    name = arns.name_of(call.cloud, PIPELINE, call.request[member])
    record = call.store.find(PIPELINE, name.lower())
    if record is None:
        raise resource_not_found(f"Pipeline '{call.arn('pipeline', name)}' does not exist.")
    return record


def digest(request: Mapping[str, Any]) -> str:
    """What an idempotent request is recognised by: its token and all else it says."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def user_context(call: Call) -> dict[str, Any]:
    """Who did it, as Describe operations show it; empty for the cloud itself."""
    return {} if call.caller is None else {"IamIdentity": {"Arn": call.caller.arn}}


def creation_filters(request: Mapping[str, Any]) -> dict[str, Any]:
    """The request with CreatedAfter and CreatedBefore called as in most List operations."""
    renamed = {"CreatedAfter": "CreationTimeAfter", "CreatedBefore": "CreationTimeBefore", "SortBy": "SortBy"}
    filters = {renamed.get(member, member): value for member, value in request.items()}
    if filters.get("SortBy") == "Name":
        filters["SortBy"] = "PipelineName"
    return filters


def _definition_text(call: Call, *, required: bool = True) -> Any:
    text, location = (call.request.get(m) for m in ("PipelineDefinition", "PipelineDefinitionS3Location"))
    if text is not None and location is not None:
        raise validation("Both Pipeline Definition and Pipeline Definition S3 Location shouldn't be present")
    if text is None and location is None:
        if required:
            raise validation(
                "Either Pipeline Definition or Pipeline Definition S3 location should be provided"
            )
        return None
    return text if location is None else _read(call, location)


def _read(call: Call, location: Mapping[str, str]) -> str:
    """Read a definition from S3 on the caller's behalf, who therefore needs the permission to do so."""
    bucket, key = location["Bucket"], location["ObjectKey"]
    version = {"VersionId": location["VersionId"]} if "VersionId" in location else {}
    action = "s3:GetObjectVersion" if version else "s3:GetObject"
    call.require(action, f"arn:aws:s3:::{bucket}/{key}")
    where = f"s3://{bucket}/{key}"
    try:
        s3 = call.cloud.client("s3", administrator.credentials(call.cloud.folder))
        answer = s3.get_object(Bucket=bucket, Key=key, **version)
        if encrypted_with := answer.get("SSEKMSKeyId"):
            # What the data key is bound to: the bucket where it has a key of its own.
            bound_to = bucket if answer.get("BucketKeyEnabled") else f"{bucket}/{key}"
            _require_decrypt(call, encrypted_with, f"arn:aws:s3:::{bound_to}")
        if answer["ContentLength"] > 4 * MAX_CHARACTERS:
            raise validation(
                f"The pipeline definition at {where} is larger than {MAX_CHARACTERS} characters."
            )
        return str(answer["Body"].read().decode("utf-8"))
    except UnicodeDecodeError:
        raise validation(f"The pipeline definition at {where} is not UTF-8 text.") from None
    except (ClientError, BotoCoreError) as error:
        raise _unreadable(where, error) from error


def _require_decrypt(call: Call, key: str, resource: str) -> None:
    """As S3 asks of whoever reads an encrypted object."""
    if call.caller is None:
        return
    refused = kms_use.refusal(
        Checked(access_key_id=call.caller.access_key_id, service="s3", region=call.caller.region),
        "kms:Decrypt",
        key,
        "s3",
        {"aws:s3:arn": resource},
    )
    if refused is not None:
        raise access_denied(refused[1])


def _unreadable(where: str, error: Exception) -> ServiceError:
    return validation(f"Unable to read the pipeline definition at {where}: {error}")


def _check(text: str) -> None:
    try:
        parse_definition(text, arguments=True)
    except DefinitionError as error:
        raise validation(str(error)) from None
