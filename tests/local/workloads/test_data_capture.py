"""Data capture of real endpoints, on a cloud that writes captures once a second."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from localcloud import lifecycle
from localcloud.connect import connect
from tests.local.workloads.conftest import until


@pytest.fixture(scope="module")
def bench(make_workplace: Any, make_deployer: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("fast")
    lifecycle.up(root / "state", clock=60.0)
    try:
        (root / "context").mkdir()
        made = make_deployer(make_workplace(*connect(root / "state"), root / "context"))
        yield made
        made.close()
    finally:
        lifecycle.down(root / "state")


def grant(bench: Any, name: str, effect: str, actions: list[str], resource: str) -> None:
    place = bench.workplace
    statement = {"Effect": effect, "Action": actions, "Resource": resource}
    place.cloud.client("iam", place.admin).put_role_policy(
        RoleName=place.role.rpartition("/")[2],
        PolicyName=name,
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )


def capturing(bench: Any, prefix: str, model: str, **members: Any) -> str:
    place = bench.workplace
    name = f"capturing-{uuid.uuid4().hex[:8]}"
    place.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[bench.variant("AllTraffic", model)],
        DataCaptureConfig={
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": place.uri(prefix),
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {
                "CsvContentTypes": ["text/csv"],
                "JsonContentTypes": ["application/json"],
            },
            "EnableCapture": True,
            **members,
        },
    )
    return name


def up(bench: Any, config: str) -> str:
    endpoint: str = bench.endpoint(config)
    assert bench.ready(endpoint)["EndpointStatus"] == "InService"
    return endpoint


def lines(bench: Any, prefix: str) -> list[dict[str, Any]]:
    place = bench.workplace
    return [json.loads(line) for key in place.keys(prefix) for line in place.get(key).splitlines()]


def test_requests_and_answers_are_kept_in_awss_layout_under_the_key(bench: Any) -> None:
    place = bench.workplace
    key = place.cloud.client("kms", place.admin).create_key()["KeyMetadata"]["Arn"]
    grant(bench, "encrypt", "Allow", ["kms:GenerateDataKey"], key)
    endpoint = up(bench, capturing(bench, "kept", bench.single("kept"), KmsKeyId=key))
    assert bench.describe(endpoint)["DataCaptureConfig"] == {
        "EnableCapture": True,
        "CaptureStatus": "Started",
        "CurrentSamplingPercentage": 100,
        "DestinationS3Uri": place.uri("kept"),
        "KmsKeyId": key,
    }
    rows = json.dumps({"instances": [1]})
    began = datetime.now(UTC).replace(microsecond=0)
    bench.ask(endpoint, b"1,2", ContentType="text/csv", InferenceId="row-7", CustomAttributes="trace=9")
    bench.ask(endpoint, rows, ContentType="application/json")
    bench.failure(lambda: bench.without_retries().invoke_endpoint(EndpointName=endpoint, Body=b"refuse"))
    found = until(lambda: len(all_lines := lines(bench, "kept")) == 2 and all_lines)
    csv, rows_kept = found
    assert csv["captureData"]["endpointInput"] == {
        "observedContentType": "text/csv",
        "mode": "INPUT",
        "data": "1,2",
        "encoding": "CSV",
    }
    assert csv["captureData"]["endpointOutput"]["mode"] == "OUTPUT"
    assert csv["eventMetadata"]["inferenceId"] == "row-7"
    assert csv["eventMetadata"]["customAttributes"] == ["trace=9"]
    assert csv["eventVersion"] == "0"
    assert rows_kept["captureData"]["endpointInput"]["data"] == rows
    assert rows_kept["captureData"]["endpointOutput"] == {
        "observedContentType": "application/json",
        "mode": "OUTPUT",
        "data": json.dumps({"predictions": [["kept", 1]]}),
        "encoding": "JSON",
    }
    said = datetime.strptime(csv["eventMetadata"]["inferenceTime"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert began <= said <= datetime.now(UTC)
    (name, *_) = place.keys("kept")
    assert re.fullmatch(
        rf"kept/{endpoint}/AllTraffic/{said:%Y/%m/%d}/\d\d/\d\d-\d\d-\d\d\d-[0-9a-f-]{{36}}\.jsonl", name
    )
    head = place.s3.head_object(Bucket=place.bucket, Key=name)
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key)


def test_a_bucket_that_refuses_costs_no_request(bench: Any) -> None:
    place = bench.workplace
    folder = f"arn:aws:s3:::{place.bucket}/refused/*"
    grant(bench, "refuse", "Deny", ["s3:PutObject"], folder)
    endpoint = up(bench, capturing(bench, "refused", bench.single("refused")))
    try:
        for _ in range(20):
            assert bench.ask(endpoint, b"1", ContentType="text/csv") == "refused:1"
        until(lambda: bench.describe(endpoint)["DataCaptureConfig"]["CaptureStatus"] == "Stopped")
        assert bench.ask(endpoint, b"2", ContentType="text/csv") == "refused:2"
        assert place.keys("refused") == []
    finally:
        place.cloud.client("iam", place.admin).delete_role_policy(
            RoleName=place.role.rpartition("/")[2], PolicyName="refuse"
        )
    # What waited is written as well.
    until(lambda: len(lines(bench, "refused")) == 21)
    until(lambda: bench.describe(endpoint)["DataCaptureConfig"]["CaptureStatus"] == "Started")


def test_a_share_of_a_multi_model_endpoints_requests_and_an_update_that_ends_it(bench: Any) -> None:
    place = bench.workplace
    for name in ("a", "b"):
        place.put(f"shelf/{name}.tar.gz", bench.archive(name))
    model = bench.model(f"shelf-{uuid.uuid4().hex[:8]}", Mode="MultiModel", ModelDataUrl=place.uri("shelf/"))
    endpoint = up(bench, capturing(bench, "shared", model, InitialSamplingPercentage=30))
    runtime = bench.without_retries()

    def send(count: int, body: bytes) -> None:
        for number in range(count):
            target = f"{'ab'[number % 2]}.tar.gz"
            runtime.invoke_endpoint(EndpointName=endpoint, Body=body, TargetModel=target)["Body"].read()

    threads = [threading.Thread(target=send, args=(100, b"before")) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    plain = bench.config(bench.variant("AllTraffic", model))
    place.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=plain)
    assert "DataCaptureConfig" not in bench.ready(endpoint)
    send(100, b"after")
    # The old fleet's last captures are written when it ends, which the endpoint does not wait for.
    until(lambda: len(lines(bench, "shared")) >= 30)
    time.sleep(2)  # captures are written once a second
    found = [line["captureData"] for line in lines(bench, "shared")]
    assert 30 <= len(found) <= 95
    answers = {line["endpointOutput"]["data"] for line in found}
    assert len(answers) == 2  # of both models, told apart by what they say alone
    assert {base64.b64decode(line["endpointInput"]["data"]) for line in found} == {b"before"}
