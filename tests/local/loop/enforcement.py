"""What the chapters on enforcement share: a grant taken away for a moment, and functions called by hand.

For every role of the stacks, and for every service that the role uses, one action is taken out of its live
policy, and the smallest operation of the loop that needs it is run. IAM must refuse exactly that action to
exactly that role, and whoever waits for the operation must learn of it.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

from modelyard_cli.demo import phases
from modelyard_cli.executions import start
from tests.local.loop.grants import without
from tests.local.loop.story import MODEL, Story

DATA_SCIENTIST = "access/DataScientist"
MODEL_APPROVER = "access/ModelApprover"
INFERENCE = "inference/InferenceFunctionRole"
DEPLOYER = "serving/DeployerFunctionRole"
ENDPOINT = "serving/EndpointRole"
EXECUTION = "pipelines/RefinanceInterestRatePipelineExecutionRole"
PROVIDER = "pipelines/PipelineProviderFunctionRole"
GROUP_EMPTIER = "pipelines/RegistryEmptierFunctionRole"
BUCKET_EMPTIER = "data/BucketEmptierFunctionRole"
ROLES = {
    DATA_SCIENTIST, MODEL_APPROVER, INFERENCE, DEPLOYER, ENDPOINT, EXECUTION, PROVIDER, GROUP_EMPTIER,
    BUCKET_EMPTIER,
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
    values = phases.upload(story.scientist, story.outputs, story.data)
    parameters = [{"Name": name, "Value": value} for name, value in values.items()]
    return start(story.scientist.client("sagemaker"), MODEL, parameters)


def start_afresh(story: Story) -> str:
    """Start an execution for which the cache has nothing."""
    bucket, key = story.outputs["DataBucketName"], f"raw/refinance/{uuid.uuid4()}.csv"
    values = phases.upload(story.scientist, story.outputs, story.data) | {"InputData": f"s3://{bucket}/{key}"}
    story.scientist.client("s3").upload_file(str(story.data.table), bucket, key)
    parameters = [{"Name": name, "Value": value} for name, value in values.items()]
    return start(story.scientist.client("sagemaker"), MODEL, parameters)


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
