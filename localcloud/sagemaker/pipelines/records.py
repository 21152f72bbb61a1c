"""What the store holds of pipelines: the documents that the List and Describe operations show.

An execution's record is named by its ARN, a step's `<execution id>/<step name>`, a definition's body by
its SHA-256, so that executions are pinned to the definition they started with without carrying it around.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from localcloud.sagemaker.pipelines.execution import Execution
from localcloud.sagemaker.pipelines.model import Step
from localcloud.sagemaker.store import Document, Store, now

PIPELINE = "pipeline"
EXECUTION = "pipeline-execution"
STEP = "pipeline-step"
DEFINITION = "pipeline-definition"
VERSION = "pipeline-version"
CALLBACK = "callback-token"

RUNNING_STATUSES = frozenset({"Executing", "Stopping"})
_INTERRUPTED = (
    "The local cloud was stopped while this was running. Start the pipeline again or retry the execution."
)


def save_definition(store: Store, text: str) -> str:
    """Keep a definition's text; returns the name to find it by."""
    name = hashlib.sha256(text.encode()).hexdigest()
    with store.transaction():
        if store.find(DEFINITION, name) is None:
            store.create(DEFINITION, name, {"Body": text})
    return name


def load_definition(store: Store, name: str) -> str:
    """The text of a definition that `save_definition` has kept."""
    return str(store.get(DEFINITION, name)["Body"])


def drop_definitions(store: Store, names: Iterable[str]) -> None:
    """Remove those of the named definitions that no version and no execution has any more."""
    used = {record["_Definition"] for kind in (VERSION, EXECUTION) for record in store.query(kind)}
    for name in set(names) - used:
        store.delete(DEFINITION, name)


def executions_of(
    store: Store, pipeline_arn: str, where: Callable[[Document], bool] | None = None
) -> list[Document]:
    """The executions of a pipeline, oldest first."""
    return store.query(EXECUTION, prefix=f"{pipeline_arn}/execution/", where=where)


def step_records(store: Store, execution_arn: str) -> list[Document]:
    """The steps of an execution that have started, oldest first."""
    return store.query(STEP, prefix=execution_arn.rsplit("/", 1)[-1] + "/")


def end_execution(store: Store, execution_arn: str, status: str, reason: str | None = None) -> None:
    """Write an execution's final status."""

    def change(record: Document) -> None:
        record["PipelineExecutionStatus"] = status
        record["LastModifiedTime"] = now()
        if reason is not None:
            record["FailureReason"] = reason

    store.update(EXECUTION, execution_arn, change)


def fail_interrupted(store: Store) -> None:
    """End what a cloud that is gone left running: nothing may look alive that nobody runs."""
    alive = store.query(EXECUTION, where=lambda record: record["PipelineExecutionStatus"] in RUNNING_STATUSES)
    for execution in alive:
        arn = execution["PipelineExecutionArn"]
        with store.transaction():
            for step in step_records(store, arn):
                if "EndTime" not in step:
                    store.update(STEP, f"{arn.rsplit('/', 1)[-1]}/{step['StepName']}", _interrupt)
            stopping = execution["PipelineExecutionStatus"] == "Stopping"
            end_execution(store, arn, *(("Stopped", None) if stopping else ("Failed", _INTERRUPTED)))


def _interrupt(record: Document) -> None:
    stopping = record["StepStatus"] == "Stopping"
    record.update(StepStatus="Stopped" if stopping else "Failed", EndTime=now())
    if not stopping:
        record["FailureReason"] = _INTERRUPTED


class StepRecord:
    """The record of one step in one execution, from its start to its end."""

    def __init__(self, store: Store, execution: Execution, step: Step) -> None:
        self._store = store
        self._name = f"{execution.id}/{step.name}"
        record: dict[str, Any] = {
            "StepName": step.name,
            "StepDisplayName": step.display_name,
            "StepDescription": step.description,
            "StartTime": now(),
            "StepStatus": "Starting",
            "Metadata": {},
            "AttemptCount": 1,
            "_StepType": step.type,
            "_PipelineArn": execution.pipeline_arn,
            "_PipelineExecutionArn": execution.arn,
        }
        store.create(STEP, self._name, {key: value for key, value in record.items() if value is not None})

    def executing(self, metadata: Mapping[str, Any]) -> None:
        """The step's job exists."""

        def change(record: Document) -> None:
            record["Metadata"] = dict(metadata)
            if record["StepStatus"] == "Starting":
                record["StepStatus"] = "Executing"

        self._store.update(STEP, self._name, change)

    def attempt(self, number: int) -> None:
        """A further attempt begins."""
        self._store.update(STEP, self._name, lambda record: record.update(AttemptCount=number))

    def stopping(self) -> None:
        """The step is asked to stop."""

        def change(record: Document) -> None:
            if "EndTime" not in record:
                record["StepStatus"] = "Stopping"

        self._store.update(STEP, self._name, change)

    def end(self, status: str, **members: Any) -> None:
        """The step is over; members that are None are left out."""
        given = {key: value for key, value in members.items() if value is not None}
        self._store.update(
            STEP, self._name, lambda record: record.update(StepStatus=status, EndTime=now(), **given)
        )
