"""Data capture: its schema and layout, its sample, and that no request waits for it."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.context import Cloud, Credentials
from localcloud.folder import StateFolder
from localcloud.sagemaker.hosting import capture, captures
from localcloud.sagemaker.hosting.capture import Capture
from localcloud.sagemaker.hosting.captures import Exchange
from localcloud.sagemaker.jobs.failure import JobFailure

CONFIG = {
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": "s3://data/captures",
    "KmsKeyId": "arn:key",
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    "CaptureContentTypeHeader": {
        "CsvContentTypes": ["text/csv"],
        "JsonContentTypes": ["application/json"],
    },
}
MOMENT = 1_767_323_096.25  # 2026-01-02T03:04:56.250Z


def exchange(**members: Any) -> Exchange:
    known: dict[str, Any] = {
        "moment": MOMENT,
        "body": b"1,2",
        "content_type": "text/csv",
        "answer": b'{"predictions": [3]}',
        "answer_type": "application/json; charset=utf-8",
    }
    return Exchange(**{**known, **members})


def parsed(**members: Any) -> captures.CaptureConfig:
    found = captures.parse({**CONFIG, **members})
    assert found is not None
    return found


def test_a_line_is_of_awss_schema() -> None:
    document = json.loads(captures.line(parsed(), exchange(inference_id="row-1", custom_attributes="a=b")))
    event = document["eventMetadata"].pop("eventId")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", event)
    assert document == {
        "captureData": {
            "endpointInput": {
                "observedContentType": "text/csv",
                "mode": "INPUT",
                "data": "1,2",
                "encoding": "CSV",
            },
            "endpointOutput": {
                "observedContentType": "application/json; charset=utf-8",
                "mode": "OUTPUT",
                "data": '{"predictions": [3]}',
                "encoding": "JSON",
            },
        },
        "eventMetadata": {
            "customAttributes": ["a=b"],
            "inferenceId": "row-1",
            "inferenceTime": "2026-01-02T03:04:56Z",
        },
        "eventVersion": "0",
    }


@pytest.mark.parametrize(
    ("content_type", "body"), [("image/png", b"\x89PNG"), ("", b"1,2"), ("text/csv", b"\xff\xfe")]
)
def test_what_is_no_text_is_base64(content_type: str, body: bytes) -> None:
    document = json.loads(captures.line(parsed(), exchange(content_type=content_type, body=body)))
    side = document["captureData"]["endpointInput"]
    assert side["encoding"] == "BASE64"
    assert base64.b64decode(side["data"]) == body
    assert side["observedContentType"] == (content_type or "application/octet-stream")


def test_without_listed_content_types_all_is_base64() -> None:
    config = parsed(CaptureContentTypeHeader={})
    assert config.encoding("text/csv") == config.encoding("application/json") == "BASE64"


@pytest.mark.parametrize(
    ("modes", "sides"),
    [
        (["Input"], {"endpointInput"}),
        (["Output"], {"endpointOutput"}),
        (["InputAndOutput"], {"endpointInput", "endpointOutput"}),
    ],
)
def test_only_the_wanted_sides_are_kept(modes: list[str], sides: set[str]) -> None:
    config = parsed(CaptureOptions=[{"CaptureMode": mode} for mode in modes])
    assert json.loads(captures.line(config, exchange()))["captureData"].keys() == sides


def test_keys_are_of_awss_layout() -> None:
    found = captures.key(parsed(), "shop", "AllTraffic", MOMENT)
    assert re.fullmatch(r"captures/shop/AllTraffic/2026/01/02/03/04-56-250-[0-9a-f-]{36}\.jsonl", found), (
        found
    )
    bare = parsed(DestinationS3Uri="s3://data")
    assert captures.key(bare, "shop", "AllTraffic", MOMENT).startswith("shop/AllTraffic/")


def test_configurations_that_capture_nothing() -> None:
    assert captures.parse(None) is None
    assert captures.parse({**CONFIG, "EnableCapture": False}) is None
    assert captures.summary(None) is None
    shown = captures.summary({**CONFIG, "EnableCapture": False})
    assert shown is not None
    assert shown["CaptureStatus"] == "Stopped"
    with pytest.raises(JobFailure):
        captures.parse({**CONFIG, "DestinationS3Uri": "file:///tmp"})


class Bucket:
    """S3 as far as captures know it; `refuse` it, or let it `hang`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **members: Any) -> None:
        self.objects: dict[str, list[dict[str, Any]]] = {}
        self.refuse, self.hang = False, threading.Event()
        self.hang.set()
        self.states: list[bool] = []
        cloud = Cloud(
            account="000000000000",
            region="us-east-1",
            endpoint_url="https://localhost:1",
            ca_bundle=Path("none"),
            folder=StateFolder(Path("none")),
            clock=600.0,
        )
        monkeypatch.setattr(Cloud, "client", lambda *_: self)
        credentials = Credentials(access_key_id="AKIA", secret_access_key="secret")
        self.capture = Capture(cloud, parsed(**members), "shop", "v", lambda: credentials, self.states.append)

    def put_object(self, **request: Any) -> None:
        assert request["ServerSideEncryption"] == "aws:kms"
        assert request["SSEKMSKeyId"] == "arn:key"
        self.hang.wait(60)
        if self.refuse:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObject")
        lines = request["Body"].decode().splitlines()
        self.objects[request["Key"]] = [json.loads(found) for found in lines]

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [line for found in self.objects.values() for line in found]


def test_each_hour_has_its_own_files(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(monkeypatch)
    for moment in (MOMENT, MOMENT + 1, MOMENT + 3600):
        bucket.capture.offer(exchange(moment=moment))
    bucket.capture.close()
    assert sorted((key.split("/")[6], len(lines)) for key, lines in bucket.objects.items()) == [
        ("03", 2),
        ("04", 1),
    ]


def test_a_share_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(monkeypatch, InitialSamplingPercentage=20)
    for _ in range(3000):
        bucket.capture.offer(exchange())
    bucket.capture.close()
    assert 500 < len(bucket.lines) < 700


def test_no_request_waits_for_a_bucket_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(monkeypatch)
    bucket.hang.clear()
    for _ in range(2000):
        bucket.capture.offer(exchange())
    bucket.hang.set()
    bucket.capture.close()
    assert len(bucket.lines) == 2000


def test_what_cannot_be_written_waits_and_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(monkeypatch)
    bucket.refuse = True
    bucket.capture.offer(exchange())
    deadline = time.monotonic() + 60
    while not bucket.states:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.5)
    assert bucket.states == [False]
    bucket.refuse = False
    bucket.capture.offer(exchange())
    bucket.capture.close()
    assert len(bucket.lines) == 2
    assert bucket.states == [False, True]


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "_MOST_BYTES", 1000)
    bucket = Bucket(monkeypatch)
    bucket.hang.clear()
    for _ in range(500):
        bucket.capture.offer(exchange(body=b"x" * 80))
    bucket.hang.set()
    bucket.capture.close()
    assert 1 <= len(bucket.lines) <= 10
