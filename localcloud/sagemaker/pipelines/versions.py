"""A pipeline's versions: each definition that it has had, numbered from 1.

A version's record is named `<pipeline name>/<number>`; see
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_PipelineVersionSummary.html.
"""

from collections.abc import Mapping
from typing import Any

from localcloud.sagemaker.errors import resource_not_found
from localcloud.sagemaker.pipelines.records import VERSION
from localcloud.sagemaker.store import Document, Store, now


def name_of(pipeline: Mapping[str, Any], number: int) -> str:
    """A version's name in the store."""
    return f"{pipeline['PipelineName'].lower()}/{number}"


def add(store: Store, pipeline: Mapping[str, Any]) -> None:
    """Keep a pipeline's definition of now as the version that its record says."""
    number = pipeline["_Version"]
    record = {
        "PipelineArn": pipeline["PipelineArn"],
        "PipelineVersionId": number,
        "CreationTime": now(),
        "_Definition": pipeline["_Definition"],
    }
    store.create(VERSION, name_of(pipeline, number), record)


def find(store: Store, pipeline: Mapping[str, Any], number: int | None) -> Document:
    """One version, the newest without a number. Raises ResourceNotFound when there never was such a one."""
    wanted = pipeline["_Version"] if number is None else number
    record = store.find(VERSION, name_of(pipeline, wanted))
    if record is None and wanted == pipeline["_Version"]:
        # A state folder from before versions were kept.
        add(store, pipeline)
        record = store.get(VERSION, name_of(pipeline, wanted))
    if record is None:
        raise resource_not_found(
            f"Pipeline '{pipeline['PipelineArn']}' has no version {wanted}; its newest is "
            f"{pipeline['_Version']}."
        )
    return record


def started(store: Store, pipeline: Mapping[str, Any], number: int, execution_arn: str) -> None:
    """Note a version's newest execution."""
    store.update(
        VERSION,
        name_of(pipeline, number),
        lambda record: record.update(LastExecutionPipelineExecutionArn=execution_arn),
    )


def versions_of(store: Store, pipeline: Mapping[str, Any]) -> list[Document]:
    """All versions, oldest first."""
    return store.query(VERSION, prefix=f"{pipeline['PipelineName'].lower()}/")


def forget(store: Store, pipeline: Mapping[str, Any]) -> set[str]:
    """Remove all versions of a pipeline that is deleted; returns the names of their definitions."""
    found = versions_of(store, pipeline)
    for record in found:
        store.delete(VERSION, name_of(pipeline, record["PipelineVersionId"]))
    return {record["_Definition"] for record in found}
