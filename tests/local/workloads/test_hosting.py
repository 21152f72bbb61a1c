"""Endpoints on the local cloud, with real servers: what they answer."""

from __future__ import annotations

import io
import tarfile
import threading
import time
import uuid
from typing import Any

import pytest

from tests.local.workloads.conftest import until


@pytest.fixture(scope="module")
def endpoint(deployer: Any) -> str:
    return deployer.up(deployer.single("iris"))


@pytest.fixture(scope="module")
def many(deployer: Any) -> str:
    for name in ("a", "b", "c"):
        deployer.workplace.put(f"many/{name}.tar.gz", deployer.archive(name))
    model = deployer.model(
        f"many-{uuid.uuid4().hex[:8]}", Mode="MultiModel", ModelDataUrl=deployer.workplace.uri("many/")
    )
    return deployer.up(model)


def test_a_model_answers(deployer: Any, endpoint: str) -> None:
    answer = deployer.invoke(
        endpoint, b"1\n2", ContentType="text/csv", Accept="application/x-answer", CustomAttributes="trace=7"
    )
    assert answer["Body"].read() == b"iris:1\niris:2"
    assert answer["ContentType"] == "application/x-answer"
    assert answer["CustomAttributes"] == "trace=7"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    described = deployer.describe(endpoint)
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 1
    listed = deployer.workplace.sagemaker.list_endpoints(NameContains=endpoint)["Endpoints"]
    assert [item["EndpointStatus"] for item in listed] == ["InService"]


def test_failures_of_the_model_are_model_errors(deployer: Any, endpoint: str) -> None:
    answer = deployer.failure(lambda: deployer.invoke(endpoint, b"refuse"))
    assert answer["Error"]["Code"] == "ModelError"
    assert 'Received client error (400) from primary with message "bad row"' in answer["Error"]["Message"]
    assert answer["OriginalStatusCode"] == 400
    assert answer["OriginalMessage"] == "bad row"
    assert f"log-group:/aws/sagemaker/Endpoints/{endpoint}" in answer["LogStreamArn"]
    once = deployer.without_retries()
    answer = deployer.failure(lambda: once.invoke_endpoint(EndpointName=endpoint, Body=b"fail"))
    assert (
        'Received server error (500) from primary with message "model is broken"'
        in (answer["Error"]["Message"])
    )


def test_bad_requests_are_refused(deployer: Any, endpoint: str) -> None:
    unknown = deployer.failure(lambda: deployer.invoke("no-such-endpoint", b"1"))
    assert unknown["Error"]["Code"] == "ValidationError"
    assert "Endpoint no-such-endpoint of account 000000000000 not found." in unknown["Error"]["Message"]
    large = deployer.failure(lambda: deployer.invoke(endpoint, b"x" * 6_291_457))
    assert large["ResponseMetadata"]["HTTPStatusCode"] in (400, 413)
    targeted = deployer.failure(lambda: deployer.invoke(endpoint, b"1", TargetModel="a.tar.gz"))
    assert (
        "is not a multi-model endpoint and does not support target model header"
        in (targeted["Error"]["Message"])
    )
    wrong = deployer.failure(lambda: deployer.invoke(endpoint, b"1", TargetVariant="none"))
    assert "Variant none not found for Request" in wrong["Error"]["Message"]


def test_metrics_and_logs(deployer: Any, endpoint: str) -> None:
    for _ in range(5):
        deployer.ask(endpoint, b"1")
    place = deployer.workplace
    cloudwatch = place.cloud.client("cloudwatch", place.admin)

    def total(name: str, statistic: str) -> float:
        now = time.time()
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=name,
            Dimensions=[
                {"Name": "EndpointName", "Value": endpoint},
                {"Name": "VariantName", "Value": "AllTraffic"},
            ],
            StartTime=now - 600,
            EndTime=now + 60,
            Period=3600,
            Statistics=[statistic],
        )["Datapoints"]
        return sum(point[statistic] for point in points)

    until(lambda: total("Invocations", "Sum") >= 5)
    # Metrics are published one after the other.
    until(lambda: total("ModelLatency", "Average"))
    assert 0 < total("ModelLatency", "Average") < 5_000_000
    until(lambda: "listening" in place.log(f"/aws/sagemaker/Endpoints/{endpoint}", "AllTraffic/i-"))


def loads(deployer: Any, endpoint: str, last: str) -> list[str]:
    """What an endpoint says of its loads up to one that it made; its log comes later than its answers."""

    def found() -> list[str]:
        lines = deployer.workplace.log(f"/aws/sagemaker/Endpoints/{endpoint}", "AllTraffic/")
        return [line for line in lines if line.startswith("loaded")]

    until(lambda: f"loaded {last}" in found())
    return found()


def test_models_load_on_demand_and_make_room(deployer: Any, many: str) -> None:
    assert [deployer.ask(many, "1", TargetModel=f"{m}.tar.gz") for m in "aabcab"] == [
        f"{m}:1" for m in "aabcab"
    ]
    deployer.workplace.put("many/end.tar.gz", deployer.archive("end"))
    deployer.ask(many, "1", TargetModel="end.tar.gz")
    # Room for two: c takes the place of a, a that of b, b that of c.
    assert loads(deployer, many, "end") == [
        "loaded a",
        "loaded b",
        "loaded c",
        "loaded a",
        "loaded b",
        "loaded end",
    ]


def test_concurrent_first_calls_load_once(deployer: Any, many: str) -> None:
    deployer.workplace.put("many/d.tar.gz", deployer.archive("d"))
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(deployer.ask(many, "1", TargetModel="d.tar.gz")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["d:1"] * 8
    deployer.workplace.put("many/after-d.tar.gz", deployer.archive("after d"))
    deployer.ask(many, "1", TargetModel="after-d.tar.gz")
    assert loads(deployer, many, "after d").count("loaded d") == 1


def test_missing_and_hostile_artifacts(deployer: Any, many: str) -> None:
    place = deployer.workplace
    missing = deployer.failure(lambda: deployer.invoke(many, b"1", TargetModel="none.tar.gz"))
    assert missing["Error"]["Code"] == "ValidationError"
    assert (
        f"Failed to download model data(bucket: {place.bucket}, key: many/none.tar.gz)"
        in (missing["Error"]["Message"])
    )
    escaping = deployer.failure(lambda: deployer.invoke(many, b"1", TargetModel="../models/x.tar.gz"))
    assert "it must lie below the prefix" in escaping["Error"]["Message"]
    nothing = deployer.failure(lambda: deployer.invoke(many, b"1"))
    assert "name a TargetModel" in nothing["Error"]["Message"]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        member = tarfile.TarInfo("../../evil")
        file.addfile(member, io.BytesIO())
    place.put("many/evil.tar.gz", buffer.getvalue())
    hostile = deployer.failure(lambda: deployer.invoke(many, b"1", TargetModel="evil.tar.gz"))
    assert "leaves its folder" in hostile["Error"]["Message"]


def test_iam_decides_by_target_model(deployer: Any, many: str, actor: Any) -> None:
    place = deployer.workplace
    statement = {
        "Effect": "Allow",
        "Action": "sagemaker:InvokeEndpoint",
        "Resource": deployer.describe(many)["EndpointArn"],
        "Condition": {"StringLike": {"sagemaker:TargetModel": "a*"}},
    }
    runtime = place.cloud.client("sagemaker-runtime", actor([statement]))
    answer = runtime.invoke_endpoint(EndpointName=many, Body=b"1", TargetModel="a.tar.gz")
    assert answer["Body"].read() == b"a:1"
    denied = deployer.failure(
        lambda: runtime.invoke_endpoint(EndpointName=many, Body=b"1", TargetModel="b.tar.gz")
    )
    assert "is not authorized to perform: sagemaker:InvokeEndpoint" in denied["Error"]["Message"]


def test_names_are_taken_once(deployer: Any, endpoint: str) -> None:
    config = deployer.describe(endpoint)["EndpointConfigName"]
    taken = deployer.failure(
        lambda: deployer.workplace.sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=config)
    )
    assert "Cannot create already existing endpoint" in taken["Error"]["Message"]
    missing = deployer.failure(lambda: deployer.workplace.sagemaker.delete_endpoint(EndpointName="no-such"))
    assert "Could not find endpoint" in missing["Error"]["Message"]
    assert missing["Error"]["Code"] == "ValidationException"
