"""What the chapters on enforcement share: a grant taken away for a moment, and functions called by hand.

For every role of the stacks, and for every service that the role uses, one action is taken out of its live
policy, and the smallest operation of the loop that needs it is run. IAM must refuse exactly that action to
exactly that role, and whoever waits for the operation must learn of it.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

from pipeline_defs.catalog import PIPELINES
from tests.local.loop.grants import without
from tests.local.loop.story import MODEL, Story, eventually

DATA_SCIENTIST = "access/DataScientist"
MODEL_APPROVER = "access/ModelApprover"
INFERENCE = "inference/InferenceFunctionRole"
DEPLOYER = "serving/DeployerFunctionRole"
ENDPOINT = "serving/EndpointRole"
PROVIDER = "pipelines/PipelineProviderFunctionRole"
GROUP_EMPTIER = "pipelines/RegistryEmptierFunctionRole"
BUCKET_EMPTIER = "data/BucketEmptierFunctionRole"
_BEGINS_IN_S = 200.0


def pascal_case(pipeline: str) -> str:
    """A pipeline's name as it stands in logical ids."""
    return pipeline.title().replace("-", "")


def execution_role(pipeline: str) -> str:
    """The role that the steps of a pipeline run under."""
    return f"pipelines/{pascal_case(pipeline)}PipelineExecutionRole"


EXECUTION = execution_role(MODEL)
ROLES = {
    DATA_SCIENTIST, MODEL_APPROVER, INFERENCE, DEPLOYER, ENDPOINT, PROVIDER, GROUP_EMPTIER, BUCKET_EMPTIER,
    *(execution_role(spec.name) for spec in PIPELINES),
}  # fmt: skip


@contextlib.contextmanager
def refused(story: Story, role: str, action: str, resource: str = "") -> Iterator[None]:
    """Without the action; at the end IAM must have refused it to the role, and nothing else to anybody."""
    since = time.time() - 0.001
    with without(story.administrator, story.names.role(role), action, resource):
        yield
        was_refused(story, since, role, action, resource)


def was_refused(story: Story, since: float, role: str, action: str, resource: str = "") -> None:
    """IAM has refused the action to the role since then, and nothing else to anybody."""
    denials = [decision for decision in story.decisions(since) if not decision.allowed]
    seen = {(denial.role, denial.action, denial.decision) for denial in denials}
    assert seen == {(story.names.role(role), action, "ImplicitDeny")}, denials
    assert all(resource in denial.resource for denial in denials)


def start_a_run(story: Story) -> str:
    return story.start(MODEL, story.data)


def start_afresh(story: Story, **parameters: str) -> str:
    """Start an execution for which the cache has nothing."""
    bucket, key = story.outputs["DataBucketName"], f"raw/refinance/{uuid.uuid4()}.csv"
    story.scientist.client("s3").upload_file(str(story.data.table), bucket, key)
    return story.start(MODEL, story.data, InputData=f"s3://{bucket}/{key}", **parameters)


def failed_steps(execution: dict[str, Any]) -> dict[str, str]:
    """The steps that failed, and why."""
    return {step["name"]: step["detail"] for step in execution["steps"] if step["status"] == "Failed"}


@contextlib.contextmanager
def waiting(story: Story, pipeline: str, step: str) -> Iterator[None]:
    """Jobs of the step do not get their input until the block ends: they run, however quick they are."""
    held = {"service": "s3", "operation": "GET", "when": "before", "hold_s": _BEGINS_IN_S}
    file = story.folder / "state" / "faults.json"
    file.write_text(json.dumps([{**held, "path": path} for path in _inputs(story, pipeline, step)]))
    try:
        yield
    finally:
        file.unlink()


def _inputs(story: Story, pipeline: str, step: str) -> list[str]:
    """Of objects that jobs of this step alone read, parts of their paths: its code, or the batch."""
    described = story.administrator.client("sagemaker").describe_pipeline(PipelineName=pipeline)
    (found,) = [
        found for found in _steps(json.loads(described["PipelineDefinition"])) if found["Name"] == step
    ]
    return sorted(set(re.findall(r"/code/[0-9a-f]{64}\.zip", json.dumps(found["Arguments"])))) or ["/batch/"]


def _steps(branch: Any) -> Iterator[dict[str, Any]]:
    """The steps below, those of conditions too."""
    if isinstance(branch, dict):
        if {"Name", "Type", "Arguments"} <= branch.keys():
            yield branch
        branch = list(branch.values())
    if isinstance(branch, list):
        for below in branch:
            yield from _steps(below)


def until_runs(story: Story, execution: str, step: str) -> None:
    sagemaker = story.scientist.client("sagemaker")

    def runs() -> bool:
        steps = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=execution)
        seen = [(entry["StepName"], entry["StepStatus"]) for entry in steps["PipelineExecutionSteps"]]
        return (step, "Executing") in seen

    deadline = time.monotonic() + _BEGINS_IN_S
    while not runs():
        assert time.monotonic() < deadline, f"{step} never ran"
        time.sleep(0.1)


def stop(story: Story, execution: str) -> None:
    """As the data scientist."""
    story.scientist.client("sagemaker").stop_pipeline_execution(PipelineExecutionArn=execution)


def stop_allowed(story: Story, execution: str, role: str, action: str) -> None:
    """Stop it as the data scientist: then IAM allows the pipeline's role to stop what runs."""
    since = time.time() - 0.001
    stop(story, execution)

    def was_allowed() -> None:
        assert action in allowed(story, since, role)

    eventually(was_allowed)


def until_stopped(story: Story, execution: str) -> None:
    sagemaker = story.scientist.client("sagemaker")

    def stopped() -> None:
        described = sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution)
        assert described["PipelineExecutionStatus"] == "Stopped"

    eventually(stopped)


def allowed(story: Story, since: float, role: str) -> set[str]:
    """The actions that IAM allowed the role since then."""
    name = story.names.role(role)
    return {
        decision.action for decision in story.decisions(since) if decision.allowed and decision.role == name
    }


def invoke(story: Story, name: str, event: dict[str, Any], *, cold: bool = False) -> dict[str, Any]:
    """Invoke a function; cold in a new environment, which remembers nothing."""
    lambda_, function = story.administrator.client("lambda"), story.names.physical(name)
    variables = lambda_.get_function_configuration(FunctionName=function)["Environment"]["Variables"]

    def set_variables(changed: dict[str, str]) -> None:
        lambda_.update_function_configuration(FunctionName=function, Environment={"Variables": changed})

    if cold:
        # A changed variable gives a function new environments.
        set_variables(variables | {"COLD_START": str(uuid.uuid4())})
    try:
        answer = lambda_.invoke(FunctionName=function, Payload=json.dumps(event))
    finally:
        if cold:
            set_variables(variables)
    return {"error": "FunctionError" in answer, "payload": answer["Payload"].read().decode()}


def reconcile(story: Story) -> dict[str, Any]:
    """One reconcile of the deployer, as its events and its schedule start it."""
    return invoke(story, "serving/DeployerFunction", {"group": MODEL})


def logged(story: Story, name: str, since: float) -> str:
    """What a function has logged since."""
    logs = story.administrator.client("logs")
    group = story.names.physical(name)
    found = logs.filter_log_events(logGroupName=group, startTime=int(since * 1000))["events"]
    return "\n".join(event["message"] for event in found)
