"""Steps that create a job and wait for its end."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from localcloud.sagemaker.pipelines.failures import StepFailure, StepStopped, job_failure
from localcloud.sagemaker.pipelines.steps.context import StepContext, StepResult

_ENDED = frozenset({"Completed", "Failed", "Stopped"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobType:
    """How a kind of job is spelled: `ProcessingJob` in the API, `processing-job` in the store.

    Args:
        noun, kind: those.
        label: in the step's metadata, if not the noun.
        new_name: makes a job's name, given the one in the definition.
    """

    noun: str
    kind: str
    label: str = ""
    new_name: Callable[[StepContext, Any], str] = StepContext.new_name

    @property
    def name_member(self) -> str:
        """The member that holds the job's name."""
        return f"{self.noun}Name"

    @property
    def status_member(self) -> str:
        """The member that holds the job's status."""
        return f"{self.noun}Status"


def run_job(job: JobType, context: StepContext) -> StepResult:
    """Create the job as the execution role, wait for its end, describe it."""
    name = job.new_name(context, context.step.arguments.get(job.name_member))
    context = context.named(name)
    arguments = context.arguments()
    request = {**arguments, job.name_member: name, "Tags": context.tags(arguments)}
    if context.stop.given:
        raise StepStopped
    created = context.call(f"Create{job.noun}", request)
    metadata = {job.label or job.noun: {"Arn": created[f"{job.noun}Arn"]}}
    context.record.executing(metadata)
    context.stop.on_stop(context, partial(_stop, job, name, context))
    try:
        context.store.wait(job.kind, name, lambda record: record[job.status_member] in _ENDED)
    finally:
        context.stop.forget(context)
    described = context.call(f"Describe{job.noun}", {job.name_member: name})
    _check(job, described, context)
    return StepResult(properties=described, metadata=metadata)


def _stop(job: JobType, name: str, context: StepContext) -> None:
    context.record.stopping()
    try:
        context.call(f"Stop{job.noun}", {job.name_member: name})
    except StepFailure:
        # It has ended by itself, or the role may not stop jobs: then the execution stops when the job ends.
        return


def _check(job: JobType, described: dict[str, Any], context: StepContext) -> None:
    status = described[job.status_member]
    if status == "Failed":
        raise job_failure(described.get("FailureReason") or f"{job.noun} failed without a reason")
    if status == "Stopped":
        if context.stop.given:
            raise StepStopped
        reason = described.get("FailureReason") or described.get("ExitMessage") or _last_message(described)
        raise job_failure(reason or f"{job.noun} {described[job.name_member]} was stopped")


def _last_message(described: dict[str, Any]) -> str | None:
    changes = described.get("SecondaryStatusTransitions") or [{}]
    message: str | None = changes[-1].get("StatusMessage")
    return message
