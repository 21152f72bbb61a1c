"""What lies below a prefix, asked without a connection."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import pytest

from localcloud.aws.inside import Answer, Request
from localcloud.sagemaker.jobs.failure import JobFailure
from localcloud.sagemaker.jobs.storage import Storage

KEYS = ["in/a b.txt", "in/a&b<c>.txt", "in/folder/", "in/ü+%20.txt", "in/\x01.txt"]
XML = '<?xml version="1.0"?><{0} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{1}</{0}>'


def storage(*answers: Answer) -> tuple[Storage, list[Request]]:
    """With S3's next answers, and what it was asked."""
    waiting, asked = list(answers), list[Request]()

    def ask(requests: Sequence[Request]) -> list[Answer]:
        asked.extend(requests)
        return [waiting.pop(0) for _ in requests]

    def client() -> None:
        raise AssertionError("no client is needed")

    return Storage(client, "arn:aws:iam::000000000000:role/r", "us-east-1", ask), asked


def page(keys: Sequence[str], token: str = "") -> Answer:
    contents = "".join(f"<Contents><Key>{quote(key)}</Key><Size>{len(key)}</Size></Contents>" for key in keys)
    following = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return Answer(status=200, headers={}, body=XML.format("ListBucketResult", contents + following).encode())


def test_every_page_is_read_and_every_key_is_its_own() -> None:
    given, asked = storage(page(KEYS[:2], "next"), page(KEYS[2:]))
    items = given.select("s3://bucket/in/")
    expected = [key for key in KEYS if not key.endswith("/")]
    assert [(item.key, item.relative, item.size) for item in items] == [
        (key, key.removeprefix("in/"), len(key)) for key in expected
    ]
    assert [request.query.get("continuation-token") for request in asked] == [None, "next"]
    assert {(request.path, request.query["prefix"]) for request in asked} == {("/bucket", "in/")}


def test_nothing_there() -> None:
    with pytest.raises(JobFailure, match="No S3 objects found"):
        storage(page([]))[0].select("s3://bucket/in/")


def test_a_refusal() -> None:
    body = "<Error><Code>AccessDenied</Code><Message>no s3:ListBucket</Message></Error>"
    with pytest.raises(JobFailure, match=r"AccessDenied \(403\): no s3:ListBucket"):
        storage(Answer(status=403, headers={}, body=body.encode()))[0].select("s3://bucket/in/")
