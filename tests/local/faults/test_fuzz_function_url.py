"""The deployed function URL under requests of every kind, before the model server that is deployed.

As `tests/unit/test_fuzz_inference.py`, but through HTTP, signatures, Lambda and the endpoint. More cases:
FUZZ_URL_CASES=10000.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks.deployed import MODEL, row
from tests.local.faults.app import App
from tests.unit import fuzz_requests
from tests.unit.fuzz_report import report
from tests.unit.fuzz_server_images import png

pytestmark = [pytest.mark.loop, pytest.mark.timeout(3600)]

CASES = int(os.environ.get("FUZZ_URL_CASES", "100"))
SLOWEST_S = 60.0
# The model's own names in the place of those that the requests use. It is one of rows: an image is read from
# S3, sent, and refused by the model. `test_inference_images.py` has one that takes images.
NAMES = {
    **{"loans": MODEL, "digits": MODEL},
    **{"fico": "feature_0", "state": "feature_1", "dti": "feature_2", "income": "feature_3"},
}
# What lies at the addresses of `fuzz_requests.INSIDE`, but for the last.
SOUND = png(8, 8, (b"\0" + bytes(8)) * 8)
OBJECTS = {
    "images/a.png": SOUND,
    "images/a b.png": SOUND[:40],
    "images/deep/er/b.jpg": bytes(5 * 1024**2),
}
IMAGE_CODES = {"invalid_images", "images_too_large", "image_denied"}


class Sender:
    """Signs requests as they are, and sends them over one connection."""

    def __init__(self, app: App) -> None:
        self._url = urlsplit(app.outputs["FunctionUrl"])
        self._session: boto3.Session = app.scientist
        self._trust = ssl.create_default_context(cafile=app.environment["AWS_CA_BUNDLE"])
        self._connection: http.client.HTTPSConnection | None = None

    def send(
        self, method: str, path: str, query: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes, bool]:
        """Status, body, and whether it came from the function."""
        target = self._url.path.rstrip("/") + quote(path, safe="/%;=")
        target += "?" + quote(query, safe="=&%;") if query else ""
        request = AWSRequest(method, f"https://{self._url.netloc}{target}", headers=headers, data=body)
        SigV4Auth(self._session.get_credentials(), "lambda", self._session.region_name).add_auth(request)
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(
                self._url.netloc, timeout=SLOWEST_S, context=self._trust
            )
        try:
            self._connection.request(method, target, body, dict(request.headers))
            answer = self._connection.getresponse()
            return (
                answer.status,
                answer.read(),
                "x-amzn-trace-id" in {n.lower() for n, _ in answer.getheaders()},
            )
        except http.client.HTTPException:
            self._connection.close()
            self._connection = None
            raise


def asks(rows: list[dict[str, int | None]]) -> tuple[str, str, str, dict[str, str], bytes]:
    body = json.dumps({"model": MODEL, "instances": [row() | each for each in rows]}).encode()
    return "POST", "/", "", {"content-type": "application/json"}, body


# All features are numbers here.
_rows = st.dictionaries(st.sampled_from(list(row())), st.none() | st.integers(-99, 99))
sound = st.lists(_rows, min_size=1, max_size=4).map(asks)


def shows(addresses: list[str]) -> tuple[str, str, str, dict[str, str], bytes]:
    body = json.dumps({"model": "digits", "images": addresses}).encode()
    return "POST", "/", "", {"content-type": "application/json"}, body


images = st.lists(st.sampled_from(fuzz_requests.INSIDE), min_size=1, max_size=3).map(shows)


@pytest.fixture
def renamed(app: App) -> Iterator[Callable[[str], str]]:
    """Puts the names of what is deployed into a request; the images lie in S3 meanwhile."""
    bucket, s3 = app.outputs["DataBucketName"], app.client("s3")
    places = {
        "eu-west-1": app.session.region_name,
        f"://{fuzz_requests.BUCKET}": f"://{bucket}",
        f".com/{fuzz_requests.BUCKET}/": f".com/{bucket}/",
    }
    for key, content in OBJECTS.items():
        s3.put_object(Bucket=bucket, Key=key, Body=content)

    def rename(text: str) -> str:
        for name, own in {**NAMES, **places}.items():
            text = text.replace(name, own)
        return text

    yield rename
    for key in OBJECTS:
        s3.delete_object(Bucket=bucket, Key=key)


def sendable(headers: dict[str, str]) -> dict[str, str]:
    """What HTTP can carry of them."""
    return {
        name: value
        for name, value in headers.items()
        if name != "x-amz-date" and value.isascii() and value.isprintable() and value.strip() == value
    }


def test_requests_of_every_kind_at_the_deployed_url(
    app: App, renamed: Callable[[str], str], record_property: Any
) -> None:
    sender, seen = Sender(app), Counter[tuple[int, str]]()
    began = time.monotonic()

    def ask(request: tuple[str, str, str, dict[str, str], bytes]) -> None:
        method, path, query, headers, body = request
        body = renamed(body.decode("latin-1")).encode("latin-1")
        started = time.monotonic()
        status, said, by_function = sender.send(method, path, renamed(query), sendable(headers), body)
        assert time.monotonic() - started < SLOWEST_S
        assert status < 500, (status, said)
        for mark in fuzz_requests.MARKS:
            assert mark.encode() not in said, said
            assert base64.b64encode(mark.encode())[:10] not in said, said
        # A signature may be refused before the function is asked: of a path that AWS would read otherwise.
        code = "" if by_function else "before the function"
        if by_function and method != "HEAD":
            content = json.loads(said)
            assert content["request_id"]
            code = content.get("error", {}).get("code", "")
            assert status == 200 or (code and content["error"]["message"].isprintable())
        assert by_function or status in (400, 403, 404), (status, said)
        seen[status, code] += 1

    for address in fuzz_requests.INSIDE:
        ask(shows([address]))
    assert {code for _, code in seen} == IMAGE_CODES
    settings(
        max_examples=CASES,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink] if CASES <= 500 else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(given(st.one_of(sound, images, *4 * [fuzz_requests.requests()]))(ask))()
    for (status, code), count in sorted(seen.items()):
        record_property(f"{status} {code}", count)
    outcomes = {f"{status} {code}".strip(): count for (status, code), count in seen.items()}
    report("function URL", sum(seen.values()), began, outcomes)
    assert seen[200, ""]
    assert sum(n for (_, code), n in seen.items() if code == "before the function") < sum(seen.values()) / 2
    group = app.physical("inference", "InferenceFunctionLogs")
    pages = app.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
    lines = [event["message"] for page in pages for event in page["events"]]
    assert lines
    assert not [line for line in lines if any(mark in line for mark in fuzz_requests.MARKS)]
