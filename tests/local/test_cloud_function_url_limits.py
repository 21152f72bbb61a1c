"""What a function URL takes and gives: six megabytes of event, as any synchronous invocation."""

from __future__ import annotations

import io
import json
import ssl
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Signing

from localcloud.context import Cloud, Credentials
from tests.local.support import unique

Role = Callable[[str, list[dict[str, Any]]], str]
Ask = Callable[..., tuple[int, str]]
# Refuses bodies above its own limit, as the inference function does.
CODE = """
import json

def handler(event, context):
    body = event["body"]
    if len(body) > 4_000_000 and not event["isBase64Encoded"]:
        return {"statusCode": 413, "body": "more than this function takes"}
    answer = json.loads(body).get("answer", 0) if not event["isBase64Encoded"] else 0
    return {"statusCode": 200, "body": "x" * answer or str(len(body))}
"""


@pytest.fixture(scope="module")
def ask(cloud: Cloud, admin: Credentials, role: Role) -> Iterator[Ask]:
    """`ask(body, content_type)` -> status and body of the URL's answer."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("index.py", CODE)
    lambdas, name = cloud.client("lambda", admin), unique("limits-of-url")
    lambdas.create_function(
        FunctionName=name,
        Runtime="python3.11",
        Handler="index.handler",
        Role=role("lambda.amazonaws.com", []),
        Code={"ZipFile": file.getvalue()},
        Timeout=120,
    )
    url = lambdas.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")["FunctionUrl"]
    context = ssl.create_default_context(cafile=str(cloud.ca_bundle))
    keys = Signing(admin.access_key_id, admin.secret_access_key, admin.session_token)

    def send(body: bytes, content_type: str = "application/json") -> tuple[int, str]:
        request = AWSRequest("POST", url, headers={"Content-Type": content_type}, data=body)
        SigV4Auth(keys, "lambda", cloud.region).add_auth(request)
        sent = urllib.request.Request(url, data=body, headers=dict(request.headers), method="POST")
        try:
            with urllib.request.urlopen(sent, context=context, timeout=180) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    yield send
    lambdas.delete_function(FunctionName=name)


def of_size(size: int) -> bytes:
    return b'{"rows": "' + b"x" * (size - 12) + b'"}'


def test_a_body_that_fits_arrives_whole(ask: Ask) -> None:
    assert ask(of_size(3_900_000)) == (200, "3900000")
    assert ask(bytes(4_100_000), "image/png") == (200, str((4_100_000 + 2) // 3 * 4))


def test_the_function_itself_refuses_what_is_above_its_own_limit(ask: Ask) -> None:
    assert ask(of_size(4_100_000)) == (413, "more than this function takes")
    assert ask(of_size(100)) == (200, "100")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (of_size(7_000_000), "application/json"),
        (of_size(6_291_456), "application/json"),  # the event is more than its body
        (b'{"rows": "' + b'\\"' * 2_000_000 + b'"}', "application/json"),  # text of JSON within text of JSON
        (bytes(4_720_000), "image/png"),
    ],
    ids=["much more", "its other members count", "escapes count", "base64 counts"],
)
def test_more_than_an_invocation_takes_is_413_and_the_next_is_answered(
    ask: Ask, body: bytes, content_type: str
) -> None:
    status, text = ask(body, content_type)
    assert (status, json.loads(text)) == (
        413,
        {"Message": "Request must be smaller than 6291456 bytes for the InvokeFunction operation"},
    )
    assert ask(of_size(100)) == (200, "100")


def test_an_answer_has_the_limit_too(ask: Ask) -> None:
    assert ask(b'{"answer": 6000000}') == (200, "x" * 6_000_000)
    assert ask(b'{"answer": 6300000}')[0] == 502
    assert ask(of_size(100)) == (200, "100")
