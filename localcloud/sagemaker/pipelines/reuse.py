"""The steps that a selective execution takes over from its source execution."""

from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.sagemaker.errors import resource_not_found, validation
from localcloud.sagemaker.pipelines.records import EXECUTION, RUNNING_STATUSES, STEP, step_records
from localcloud.sagemaker.store import Document, Store, now

_KEPT = ("StepName", "StepDisplayName", "StepDescription", "Metadata", "_StepType", "_Properties", "_Outcome")


def find_source(store: Store, pipeline_arn: str, config: Mapping[str, Any]) -> str | None:
    """The source execution's ARN, None without one.

    Raises:
        ServiceError: there is no such execution, it is another pipeline's, or it still runs.
    """
    arn: str | None = config.get("SourcePipelineExecutionArn")
    if arn is None:
        return None
    source = store.find(EXECUTION, arn)
    if source is None:
        raise resource_not_found(f"Pipeline execution '{arn}' does not exist.")
    if source["PipelineArn"] != pipeline_arn:
        raise validation(f"SourcePipelineExecutionArn '{arn}' is no execution of pipeline '{pipeline_arn}'.")
    if source["PipelineExecutionStatus"] in RUNNING_STATUSES:
        raise validation(
            f"SourcePipelineExecutionArn '{arn}' is {source['PipelineExecutionStatus']}; wait for its end."
        )
    return arn


def find_results(store: Store, source: str | None, steps: Sequence[str]) -> list[Document]:
    """The records of the steps in the source execution.

    Raises:
        ServiceError: there is no source execution, or a step did not succeed in it.
    """
    if not steps:
        return []
    if source is None:
        raise validation(
            "SourcePipelineExecutionArn is required: the selected steps refer to outputs of "
            f"{', '.join(steps)}, which are not selected."
        )
    found = {record["StepName"]: record for record in step_records(store, source)}
    missing = [name for name in steps if found.get(name, {}).get("StepStatus") != "Succeeded"]
    if missing:
        raise validation(
            f"The selected steps refer to outputs of {', '.join(missing)}, which did not succeed in "
            f"the source execution '{source}'; select these too, or name another execution."
        )
    return [found[name] for name in steps]


def take_over(store: Store, execution: Mapping[str, Any], source: str, results: Sequence[Document]) -> None:
    """Write the results into the execution's step list, as succeeded."""
    arn, moment = execution["PipelineExecutionArn"], now()
    for result in results:
        record = {
            **{member: result[member] for member in _KEPT if member in result},
            "StartTime": moment,
            "EndTime": moment,
            "StepStatus": "Succeeded",
            "AttemptCount": 0,
            "SelectiveExecutionResult": {"SourcePipelineExecutionArn": source},
            "_PipelineArn": execution["PipelineArn"],
            "_PipelineExecutionArn": arn,
        }
        store.create(STEP, f"{arn.rsplit('/', 1)[-1]}/{result['StepName']}", record)
