"""A pipeline that deploys its model: EndpointConfig and Endpoint steps."""

from __future__ import annotations

import io
import tarfile
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from localcloud.context import Cloud, Credentials
from tests.local.pipeline_support import Bench


@pytest.fixture(scope="module")
def bench(bench: Bench) -> Bench:
    """With an archive of a model, that is empty."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz"):
        pass
    bench.s3.put_object(Bucket=bench.bucket, Key="model.tar.gz", Body=archive.getvalue())
    return bench


@pytest.fixture
def endpoint(bench: Bench) -> Iterator[str]:
    name = f"served-{uuid.uuid4().hex[:8]}"
    yield name
    bench.client.delete_endpoint(EndpointName=name)


def steps(bench: Bench, endpoint: str, image: str) -> list[dict[str, Any]]:
    container = {"Image": image, "ModelDataUrl": bench.uri("model.tar.gz")}
    variant = {
        "VariantName": "all",
        "ModelName": {"Get": "Steps.Create.ModelName"},
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
    }
    served = {"EndpointName": endpoint, "EndpointConfigName": {"Get": "Steps.Configure.EndpointConfigName"}}
    model = {"ExecutionRoleArn": bench.role_arn, "PrimaryContainer": container}
    return [
        {"Name": "Create", "Type": "Model", "Arguments": model},
        {"Name": "Configure", "Type": "EndpointConfig", "Arguments": {"ProductionVariants": [variant]}},
        {"Name": "Serve", "Type": "Endpoint", "Arguments": served},
    ]


def test_an_endpoint_is_created_and_then_updated(
    bench: Bench, endpoint: str, cloud: Cloud, admin: Credentials
) -> None:
    pipeline = bench.create(*steps(bench, endpoint, bench.image))
    configs = []
    for _ in range(2):
        arn = bench.start(pipeline)
        execution = bench.wait(arn)
        assert execution["PipelineExecutionStatus"] == "Succeeded", bench.steps(arn)
        described = bench.client.describe_endpoint(EndpointName=endpoint)
        assert described["EndpointStatus"] == "InService"
        assert bench.steps(arn)["Serve"]["Metadata"] == {"Endpoint": {"Arn": described["EndpointArn"]}}
        configs.append(described["EndpointConfigName"])
    assert configs[0] != configs[1]
    runtime = cloud.client("sagemaker-runtime", admin)
    answer = runtime.invoke_endpoint(EndpointName=endpoint, Body=b"1,2", ContentType="text/csv")
    assert answer["Body"].read() == b"<1,2>\n"


def test_an_endpoint_that_cannot_serve_fails_the_step(bench: Bench, endpoint: str) -> None:
    execution, ran = bench.run(*steps(bench, endpoint, f"{bench.image}-missing"))
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert ran["Serve"]["StepStatus"] == "Failed"
    assert "missing" in ran["Serve"]["FailureReason"]
