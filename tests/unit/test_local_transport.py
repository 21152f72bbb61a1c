"""Calls that the local cloud's services make of it: the same requests, with no connection."""

from __future__ import annotations

import asyncio
import contextvars
import json
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError

from localcloud.aws.transport import Transport


class Application:
    """Says what it was asked, or what a test wants it to say."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, Any], bytes]] = []
        self.answers: list[tuple[int, dict[str, str], bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        self.asked.append((scope, message["body"]))
        status, headers, body = self.answers.pop(0)
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        for part in (body[:2], body[2:]):
            await send({"type": "http.response.body", "body": part, "more_body": part is not body[2:]})


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    thread = threading.Thread(target=made.run_forever)
    thread.start()
    yield made
    made.call_soon_threadsafe(made.stop)
    thread.join()
    made.close()


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
def client(loop: asyncio.AbstractEventLoop, application: Application) -> Any:
    def make(service: str) -> Any:
        made = boto3.client(
            service,
            region_name="eu-west-1",
            endpoint_url="https://localhost:1",  # where nobody listens
            aws_access_key_id="AKIAEXAMPLE",
            aws_secret_access_key="secret",
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
        )
        made._endpoint.http_session = Transport(loop, application, "")
        return made

    return make


def header(scope: dict[str, Any], name: str) -> str:
    found = [value.decode() for key, value in scope["headers"] if key == name.encode()]
    assert len(found) == 1, (name, scope["headers"])
    text: str = found[0]
    return text


def test_a_call_is_signed_and_whole(client: Any, application: Application) -> None:
    application.answers = [(200, {"content-type": "application/x-amz-json-1.1"}, b'{"PipelineSummaries":[]}')]
    assert client("sagemaker").list_pipelines(PipelineNamePrefix="ä")["PipelineSummaries"] == []
    scope, body = application.asked[0]
    assert (scope["method"], scope["path"], scope["scheme"]) == ("POST", "/", "https")
    assert json.loads(body) == {"PipelineNamePrefix": "ä"}
    assert header(scope, "x-amz-target") == "SageMaker.ListPipelines"
    assert header(scope, "content-length") == str(len(body))
    assert header(scope, "host") == "localhost:1"
    assert "Credential=AKIAEXAMPLE/" in header(scope, "authorization")


def test_an_object_s_name_and_bytes(client: Any, application: Application) -> None:
    application.answers = [(200, {"content-length": "4"}, b"\x00\xff\r\n")]
    answer = client("s3").get_object(Bucket="bucket", Key="a b/ü%20+?.bin", VersionId="v&1")
    assert answer["Body"].read() == b"\x00\xff\r\n"
    scope, body = application.asked[0]
    assert scope["path"] == "/bucket/a b/ü%20+?.bin"
    assert scope["raw_path"] == b"/bucket/a%20b/%C3%BC%2520%2B%3F.bin"
    assert scope["query_string"] == b"versionId=v%261"
    assert body == b""


def test_a_length_without_a_body(client: Any, application: Application) -> None:
    application.answers = [(200, {"content-length": "4"}, b""), (404, {"content-length": "0"}, b"")]
    s3 = client("s3")
    assert s3.head_object(Bucket="bucket", Key="there")["ContentLength"] == 4
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket="bucket", Key="gone")


def test_a_refusal_is_the_clients_error(client: Any, application: Application) -> None:
    said = json.dumps({"__type": "AccessDeniedException", "message": "no"}).encode()
    application.answers = [(400, {"content-type": "application/x-amz-json-1.1"}, said)]
    with pytest.raises(ClientError, match="AccessDeniedException") as refused:
        client("sagemaker").list_pipelines()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_an_application_that_breaks_is_a_connection_that_does(client: Any, application: Application) -> None:
    with pytest.raises(HTTPClientError, match="pop from empty list"):
        client("sagemaker").list_pipelines()


def test_requests_see_nothing_of_each_other(client: Any, loop: Any) -> None:
    seen: list[str] = []
    variable = contextvars.ContextVar("variable", default="unset")

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(variable.get())
        variable.set("set")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    sagemaker = client("sagemaker")
    sagemaker._endpoint.http_session = Transport(loop, application, "")
    variable.set("the caller's")
    for _ in range(2):
        sagemaker.list_pipelines()
    assert seen == ["unset", "unset"]
