"""ListPipelineVersions and UpdatePipelineVersion."""

from typing import Any

from localcloud.sagemaker.pagination import arrange, page
from localcloud.sagemaker.pipelines import versions
from localcloud.sagemaker.pipelines.pipeline_operations import creation_filters, find_pipeline
from localcloud.sagemaker.pipelines.records import VERSION
from localcloud.sagemaker.service import Call, operation

_NAMES = ("PipelineVersionDisplayName", "PipelineVersionDescription")


@operation("ListPipelineVersions")
def list_pipeline_versions(call: Call) -> dict[str, Any]:
    """See https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListPipelineVersions.html."""
    found = versions.versions_of(call.store, find_pipeline(call))
    ordered = arrange(found, creation_filters(call.request), name="PipelineVersionId")
    items, token = page(ordered, call.request, key=lambda record: str(record["PipelineVersionId"]))
    return {"PipelineVersionSummaries": items, "NextToken": token}


@operation("UpdatePipelineVersion")
def update_pipeline_version(call: Call) -> dict[str, Any]:
    """Name or describe a version.

    See https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdatePipelineVersion.html.
    """
    request = call.request
    pipeline = find_pipeline(call, member="PipelineArn")
    version = versions.find(call.store, pipeline, request["PipelineVersionId"])
    number = version["PipelineVersionId"]
    given = {member: request[member] for member in _NAMES if member in request}
    call.store.update(VERSION, versions.name_of(pipeline, number), lambda record: record.update(given))
    return {"PipelineArn": pipeline["PipelineArn"], "PipelineVersionId": number}
