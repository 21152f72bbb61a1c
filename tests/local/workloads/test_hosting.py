"""Endpoints on the local cloud, with real servers."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError


def archive(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        member = tarfile.TarInfo("name.txt")
        member.size = len(name)
        file.addfile(member, io.BytesIO(name.encode()))
    return buffer.getvalue()


class Deployer:
    """Makes models, configurations and endpoints, and takes them away at the end of the module."""

    def __init__(self, workplace: Any, settle: Any) -> None:
        self.workplace, self.settle = workplace, settle
        self.endpoints: list[str] = []

    def model(self, name: str, *, role: str | None = None, **container: Any) -> str:
        self.workplace.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=role or self.workplace.role,
            PrimaryContainer={"Image": self.workplace.image, **container},
        )
        return name

    def single(self, label: str, **environment: str) -> str:
        name = f"{label}-{uuid.uuid4().hex[:8]}"
        url = self.workplace.put(f"models/{name}.tar.gz", archive(label))
        return self.model(name, ModelDataUrl=url, Environment=environment)

    def config(self, *variants: dict[str, Any]) -> str:
        name = f"config-{uuid.uuid4().hex[:8]}"
        self.workplace.sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=list(variants)
        )
        return name

    def endpoint(self, config: str) -> str:
        name = f"endpoint-{uuid.uuid4().hex[:8]}"
        self.workplace.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        self.endpoints.append(name)
        return name

    def up(self, model: str, count: int = 1) -> str:
        name = self.endpoint(self.config(variant("AllTraffic", model, count)))
        assert self.ready(name)["EndpointStatus"] == "InService"
        return name

    def describe(self, name: str) -> dict[str, Any]:
        return dict(self.workplace.sagemaker.describe_endpoint(EndpointName=name))

    def ready(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.settle(lambda: self.describe(name), "EndpointStatus")
        return answer

    def invoke(self, name: str, body: bytes | str, **members: Any) -> dict[str, Any]:
        return dict(self.workplace.runtime.invoke_endpoint(EndpointName=name, Body=body, **members))

    def ask(self, name: str, body: bytes | str, **members: Any) -> str:
        return str(self.invoke(name, body, **members)["Body"].read().decode())

    def close(self) -> None:
        for name in self.endpoints:
            if self.exists(name) and self.ready(name):
                self.workplace.sagemaker.delete_endpoint(EndpointName=name)
        deadline = time.monotonic() + 60
        while any(self.exists(name) for name in self.endpoints):
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def exists(self, name: str) -> bool:
        try:
            self.describe(name)
        except ClientError:
            return False
        return True


def variant(name: str, model: str, count: int = 1, weight: float = 1.0) -> dict[str, Any]:
    return {
        "VariantName": name,
        "ModelName": model,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": count,
        "InitialVariantWeight": weight,
    }


@pytest.fixture(scope="module")
def deployer(workplace: Any, settle: Any) -> Iterator[Deployer]:
    made = Deployer(workplace, settle)
    yield made
    made.close()


@pytest.fixture(scope="module")
def endpoint(deployer: Deployer) -> str:
    return deployer.up(deployer.single("iris"))


@pytest.fixture(scope="module")
def many(deployer: Deployer) -> str:
    for name in ("a", "b", "c"):
        deployer.workplace.put(f"many/{name}.tar.gz", archive(name))
    model = deployer.model(
        f"many-{uuid.uuid4().hex[:8]}", Mode="MultiModel", ModelDataUrl=deployer.workplace.uri("many/")
    )
    return deployer.up(model)


def failure(call: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call()
    answer: dict[str, Any] = caught.value.response
    return answer


def test_a_model_answers(deployer: Deployer, endpoint: str) -> None:
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


def test_failures_of_the_model_are_model_errors(deployer: Deployer, endpoint: str) -> None:
    answer = failure(lambda: deployer.invoke(endpoint, b"refuse"))
    assert answer["Error"]["Code"] == "ModelError"
    assert 'Received client error (400) from primary with message "bad row"' in answer["Error"]["Message"]
    assert answer["OriginalStatusCode"] == 400
    assert answer["OriginalMessage"] == "bad row"
    assert f"log-group:/aws/sagemaker/Endpoints/{endpoint}" in answer["LogStreamArn"]
    once = _without_retries(deployer)
    answer = failure(lambda: once.invoke_endpoint(EndpointName=endpoint, Body=b"fail"))
    assert (
        'Received server error (500) from primary with message "model is broken"'
        in (answer["Error"]["Message"])
    )


def _without_retries(deployer: Deployer) -> Any:
    import boto3

    place = deployer.workplace
    return boto3.client(
        "sagemaker-runtime",
        region_name=place.cloud.region,
        endpoint_url=place.cloud.endpoint_url,
        verify=str(place.cloud.ca_bundle),
        aws_access_key_id=place.admin.access_key_id,
        aws_secret_access_key=place.admin.secret_access_key,
        config=Config(retries={"total_max_attempts": 1}),
    )


def test_bad_requests_are_refused(deployer: Deployer, endpoint: str) -> None:
    unknown = failure(lambda: deployer.invoke("no-such-endpoint", b"1"))
    assert unknown["Error"]["Code"] == "ValidationError"
    assert "Endpoint no-such-endpoint of account 000000000000 not found." in unknown["Error"]["Message"]
    large = failure(lambda: deployer.invoke(endpoint, b"x" * 6_291_457))
    assert large["ResponseMetadata"]["HTTPStatusCode"] in (400, 413)
    targeted = failure(lambda: deployer.invoke(endpoint, b"1", TargetModel="a.tar.gz"))
    assert (
        "is not a multi-model endpoint and does not support target model header"
        in (targeted["Error"]["Message"])
    )
    wrong = failure(lambda: deployer.invoke(endpoint, b"1", TargetVariant="none"))
    assert "Variant none not found for Request" in wrong["Error"]["Message"]


def test_metrics_and_logs(deployer: Deployer, endpoint: str) -> None:
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

    deadline = time.monotonic() + 10
    while total("Invocations", "Sum") < 5 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert total("Invocations", "Sum") >= 5
    assert 0 < total("ModelLatency", "Average") < 5_000_000
    assert "listening" in place.log(f"/aws/sagemaker/Endpoints/{endpoint}", "AllTraffic/i-")


def test_models_load_on_demand_and_make_room(deployer: Deployer, many: str) -> None:
    assert [deployer.ask(many, "1", TargetModel=f"{m}.tar.gz") for m in "aabcab"] == [
        f"{m}:1" for m in "aabcab"
    ]
    lines = deployer.workplace.log(f"/aws/sagemaker/Endpoints/{many}", "AllTraffic/")
    loads = [line for line in lines if line.startswith("loaded")]
    # Room for two: c takes the place of a, a that of b, b that of c.
    assert loads == ["loaded a", "loaded b", "loaded c", "loaded a", "loaded b"]


def test_concurrent_first_calls_load_once(deployer: Deployer, many: str) -> None:
    deployer.workplace.put("many/d.tar.gz", archive("d"))
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
    lines = deployer.workplace.log(f"/aws/sagemaker/Endpoints/{many}", "AllTraffic/")
    assert lines.count("loaded d") == 1


def test_missing_and_hostile_artifacts(deployer: Deployer, many: str) -> None:
    place = deployer.workplace
    missing = failure(lambda: deployer.invoke(many, b"1", TargetModel="none.tar.gz"))
    assert missing["Error"]["Code"] == "ValidationError"
    assert (
        f"Failed to download model data(bucket: {place.bucket}, key: many/none.tar.gz)"
        in (missing["Error"]["Message"])
    )
    escaping = failure(lambda: deployer.invoke(many, b"1", TargetModel="../models/x.tar.gz"))
    assert "it must lie below the prefix" in escaping["Error"]["Message"]
    nothing = failure(lambda: deployer.invoke(many, b"1"))
    assert "name a TargetModel" in nothing["Error"]["Message"]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        member = tarfile.TarInfo("../../evil")
        file.addfile(member, io.BytesIO())
    place.put("many/evil.tar.gz", buffer.getvalue())
    hostile = failure(lambda: deployer.invoke(many, b"1", TargetModel="evil.tar.gz"))
    assert "leaves its folder" in hostile["Error"]["Message"]


def test_iam_decides_by_target_model(deployer: Deployer, many: str, actor: Any) -> None:
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
    denied = failure(lambda: runtime.invoke_endpoint(EndpointName=many, Body=b"1", TargetModel="b.tar.gz"))
    assert "is not authorized to perform: sagemaker:InvokeEndpoint" in denied["Error"]["Message"]


def test_a_killed_server_comes_back(deployer: Deployer) -> None:
    name = deployer.up(deployer.single("phoenix"))
    once = _without_retries(deployer)
    error = failure(lambda: once.invoke_endpoint(EndpointName=name, Body=b"crash"))
    assert error["Error"]["Code"] in {"ModelError", "ServiceUnavailable"}
    deadline = time.monotonic() + 30
    while True:
        try:
            assert deployer.ask(name, b"1") == "phoenix:1"
            break
        except ClientError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    lines = deployer.workplace.log(f"/aws/sagemaker/Endpoints/{name}", "AllTraffic/")
    assert any("exit code 9; it is started again" in line for line in lines)


def test_an_update_loses_no_request(deployer: Deployer) -> None:
    name = deployer.up(deployer.single("old"))
    answers: Counter[str] = Counter()
    errors: list[Exception] = []
    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            try:
                answers[deployer.ask(name, b"1")] += 1
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    config = deployer.config(variant("AllTraffic", deployer.single("new")))
    deployer.workplace.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config)
    blocked = failure(
        lambda: deployer.workplace.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config)
    )
    assert "Cannot update in-progress endpoint" in blocked["Error"]["Message"]
    answer = deployer.ready(name)
    time.sleep(0.3)
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert answer["EndpointConfigName"] == config
    assert answers["old:1"]
    assert answers["new:1"]
    assert deployer.ask(name, b"1") == "new:1"


def test_a_failed_update_keeps_the_old_fleet(deployer: Deployer) -> None:
    name = deployer.up(deployer.single("steady"))
    before = deployer.describe(name)["EndpointConfigName"]
    broken = deployer.config(variant("AllTraffic", deployer.single("broken", SERVER="/no/such/server.py")))
    deployer.workplace.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=broken)
    answer = deployer.ready(name)
    assert answer["EndpointStatus"] == "InService"
    assert "did not pass the ping health check" in answer["FailureReason"]
    assert answer["EndpointConfigName"] == before
    assert deployer.ask(name, b"1") == "steady:1"


def test_an_endpoint_that_cannot_start_is_failed(deployer: Deployer, role: Any) -> None:
    broken = deployer.endpoint(
        deployer.config(variant("AllTraffic", deployer.single("broken", SERVER="/no/such/server.py")))
    )
    answer = deployer.ready(broken)
    assert answer["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check" in answer["FailureReason"]
    assert "No such file" in answer["FailureReason"]
    config = deployer.describe(broken)["EndpointConfigName"]
    update = failure(
        lambda: deployer.workplace.sagemaker.update_endpoint(EndpointName=broken, EndpointConfigName=config)
    )
    assert "can only be deleted" in update["Error"]["Message"]
    missing = failure(lambda: deployer.invoke(broken, b"1"))
    assert missing["Error"]["Code"] == "ValidationError"
    no_pull = deployer.model(f"nopull-{uuid.uuid4().hex[:8]}", role=role("sagemaker.amazonaws.com", []))
    answer = deployer.ready(deployer.endpoint(deployer.config(variant("AllTraffic", no_pull))))
    assert answer["EndpointStatus"] == "Failed"
    assert "proper pull permissions" in answer["FailureReason"]


def test_weights_capacities_and_retained_properties(deployer: Deployer) -> None:
    one, two = deployer.single("one"), deployer.single("two")
    name = deployer.endpoint(deployer.config(variant("one", one), variant("two", two, weight=0.0)))
    assert deployer.ready(name)["EndpointStatus"] == "InService"
    assert {deployer.ask(name, b"1") for _ in range(10)} == {"one:1"}
    assert deployer.ask(name, b"1", TargetVariant="two") == "two:1"
    sagemaker = deployer.workplace.sagemaker
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=name,
        DesiredWeightsAndCapacities=[
            {"VariantName": "one", "DesiredWeight": 0.0},
            {"VariantName": "two", "DesiredWeight": 1.0, "DesiredInstanceCount": 2},
        ],
    )
    answer = deployer.ready(name)
    counts = {item["VariantName"]: item["CurrentInstanceCount"] for item in answer["ProductionVariants"]}
    assert counts == {"one": 1, "two": 2}
    assert {deployer.ask(name, b"1") for _ in range(10)} == {"two:1"}
    streams = deployer.workplace.cloud.client("logs", deployer.workplace.admin).describe_log_streams(
        logGroupName=f"/aws/sagemaker/Endpoints/{name}", logStreamNamePrefix="two/"
    )["logStreams"]
    assert len(streams) == 2
    config = deployer.config(variant("one", two), variant("two", one))
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config, RetainAllVariantProperties=True)
    answer = deployer.ready(name)
    kept = {
        item["VariantName"]: (item["CurrentInstanceCount"], item["CurrentWeight"])
        for item in answer["ProductionVariants"]
    }
    assert kept == {"one": (1, 0.0), "two": (2, 1.0)}
    assert deployer.ask(name, b"1") == "one:1"


def test_deleting_ends_the_processes_and_listens_on_loopback_only(deployer: Deployer) -> None:
    name = deployer.up(deployer.single("gone"))
    marks = [p for p in psutil.process_iter() if _endpoint_of(p) == name]
    assert marks
    addresses = {
        connection.laddr.ip
        for process in marks
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}
    deployer.workplace.sagemaker.delete_endpoint(EndpointName=name)
    deadline = time.monotonic() + 20
    while deployer.exists(name):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [process for process in marks if process.is_running()] == []


def _endpoint_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("ENDPOINT_NAME")
    except psutil.Error:
        return None


def test_names_are_taken_once(deployer: Deployer, endpoint: str) -> None:
    config = deployer.describe(endpoint)["EndpointConfigName"]
    taken = failure(
        lambda: deployer.workplace.sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=config)
    )
    assert "Cannot create already existing endpoint" in taken["Error"]["Message"]
    missing = failure(lambda: deployer.workplace.sagemaker.delete_endpoint(EndpointName="no-such"))
    assert "Could not find endpoint" in missing["Error"]["Message"]
    assert json.dumps(missing["Error"]["Code"]) == '"ValidationException"'
