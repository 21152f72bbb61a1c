"""Answers about jobs, endpoints, pipelines and executions that really ran have the shapes of the API.

The bodies are taken as they come: boto3 drops what it does not know and misses nothing that is required.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.local.pipeline_support import Bench
from tests.local.support import unique
from tests.local.test_pipeline_execution import LIMIT, complete
from tests.local.test_pipeline_training_faults import training
from tests.local.workloads.conftest import wait
from tests.unit.answer_shapes import faults


class Answers:
    """Notes, for each operation that is called, where its answers differ from their shapes."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.seen: set[str] = set()

    def check(self, http_response: Any, model: Any, **_: Any) -> None:
        assert http_response.status_code == 200, http_response.content
        self.seen.add(model.name)
        body = json.loads(http_response.content or b"{}")
        self.found += faults(body, model.output_shape, model.name)


@pytest.fixture
def answers(bench: Bench) -> Iterator[Answers]:
    made, events = Answers(), bench.client.meta.events
    events.register("after-call.sagemaker", made.check)
    yield made
    events.unregister("after-call.sagemaker", made.check)


def test_a_pipeline_that_succeeds(bench: Bench, answers: Answers) -> None:
    client = bench.client
    bench.s3.put_object(Bucket=bench.bucket, Key="batch/rows.csv", Body=b"1,2\n3,4\n")
    name = bench.create(*complete(bench, unique("answers")), parameters=[LIMIT])
    arn = bench.start(name, values={"Limit": "7.5"})
    assert bench.wait(arn)["PipelineExecutionStatus"] == "Succeeded", bench.steps(arn)

    steps = bench.steps(arn)
    jobs = {name: bench.job(steps[name]) for name in ("Prepare", "Train", "Evaluate", "Transform")}
    assert jobs["Train"]["ModelArtifacts"]["S3ModelArtifacts"].startswith(bench.uri("models"))
    identity = arn.rpartition("/")[2]
    for kind, count in (("Processing", 2), ("Training", 1), ("Transform", 1)):
        found = getattr(client, f"list_{kind.lower()}_jobs")(NameContains=identity)[f"{kind}JobSummaries"]
        assert [job[f"{kind}JobStatus"] for job in found] == ["Completed"] * count
    client.describe_pipeline(PipelineName=name)
    assert client.list_pipelines(PipelineNamePrefix=name)["PipelineSummaries"]
    assert client.list_pipeline_versions(PipelineName=name)["PipelineVersionSummaries"]
    assert client.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]
    given = client.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)["PipelineParameters"]
    assert given == [{"Name": "Limit", "Value": "7.5"}]
    client.describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)
    client.delete_pipeline(PipelineName=name, ClientRequestToken="t" * 32)

    assert answers.found == []
    assert {"DescribePipelineExecution", "ListPipelineExecutionSteps", "ListTransformJobs"} <= answers.seen
    assert len(answers.seen) >= 15


def test_pipelines_that_fail(bench: Bench, answers: Answers) -> None:
    for step, name, said in (
        (training(bench, "crash", "ValueError: no rows"), "Train", "FailureReason"),
        (bench.processing("Prepare", "fail", "no rows"), "Prepare", "ExitMessage"),
    ):
        pipeline = bench.create(step)
        arn = bench.start(pipeline)
        assert bench.wait(arn)["PipelineExecutionStatus"] == "Failed"
        assert "no rows" in bench.job(bench.steps(arn)[name])[said]
        (listed,) = bench.client.list_pipeline_executions(PipelineName=pipeline)["PipelineExecutionSummaries"]
        assert listed["PipelineExecutionFailureReason"]
    assert bench.client.list_processing_jobs(StatusEquals="Failed")["ProcessingJobSummaries"]
    assert bench.client.list_training_jobs(StatusEquals="Failed")["TrainingJobSummaries"]

    assert answers.found == []


def test_an_endpoint_from_its_creation_to_its_end(bench: Bench, answers: Answers, tmp_path: Path) -> None:
    client, name, gate = bench.client, unique("answers"), tmp_path / "gate"
    container = {"Image": bench.image, "Environment": {"GATE": str(gate)}}
    client.create_model(ModelName=name, ExecutionRoleArn=bench.role_arn, PrimaryContainer=container)
    client.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "ModelName": name,
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
            }
        ],
    )
    client.create_endpoint(EndpointName=name, EndpointConfigName=name)

    def describe() -> dict[str, Any]:
        described: dict[str, Any] = client.describe_endpoint(EndpointName=name)
        return described

    assert describe()["EndpointStatus"] == "Creating"
    gate.touch()
    assert wait(describe, "EndpointStatus")["EndpointStatus"] == "InService"
    (listed,) = client.list_endpoints(NameContains=name)["Endpoints"]
    assert listed["EndpointStatus"] == "InService"
    weights = [{"VariantName": "AllTraffic", "DesiredWeight": 2.0}]
    client.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=weights)
    assert wait(describe, "EndpointStatus")["EndpointStatus"] == "InService"
    client.delete_endpoint(EndpointName=name)

    assert answers.found == []
    assert {"DescribeEndpoint", "ListEndpoints", "UpdateEndpointWeightsAndCapacities"} <= answers.seen
