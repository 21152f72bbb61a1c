"""A part of an object: the right one, and without the rest of the object."""

from __future__ import annotations

import json
from typing import Any

import psutil
import pytest

from localcloud.context import Cloud, Credentials
from tests.local.support import code_of


def bucket_with(cloud: Cloud, admin: Credentials, bucket: str, content: bytes) -> tuple[Any, bytes]:
    s3 = cloud.client("s3", admin)
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="a", Body=content)
    return s3, content


@pytest.mark.parametrize(
    ("asked", "first", "end"), [("bytes=3-9", 3, 10), ("bytes=95-", 95, 100), ("bytes=-7", 93, 100)]
)
def test_a_range_is_that_part(cloud: Cloud, admin: Credentials, asked: str, first: int, end: int) -> None:
    s3, content = bucket_with(cloud, admin, "ranges", bytes(range(100)))
    found = s3.get_object(Bucket="ranges", Key="a", Range=asked)
    assert found["Body"].read() == content[first:end]
    assert found["ContentRange"] == f"bytes {first}-{end - 1}/100"
    assert found["ContentLength"] == end - first


def test_what_lies_behind_the_end_is_no_range(cloud: Cloud, admin: Credentials) -> None:
    s3, _content = bucket_with(cloud, admin, "ranges", bytes(range(100)))
    code, _message = code_of(lambda: s3.get_object(Bucket="ranges", Key="a", Range="bytes=100-"))
    assert code == "InvalidRange"


def test_a_part_of_an_upload_is_that_part(cloud: Cloud, admin: Credentials) -> None:
    s3, _content = bucket_with(cloud, admin, "ranges", b"")
    place = {"Bucket": "ranges", "Key": "parts"}
    upload = s3.create_multipart_upload(**place)["UploadId"]
    parts = [b"a" * 5 * 2**20, b"b" * 10]
    done = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(**place, UploadId=upload, PartNumber=number, Body=part)["ETag"],
        }
        for number, part in enumerate(parts, 1)
    ]
    s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": done})
    assert s3.get_object(**place, PartNumber=2)["Body"].read() == parts[1]
    assert s3.get_object(**place, Range="bytes=5242878-5242881")["Body"].read() == b"aabb"


def test_a_range_costs_no_more_than_itself(cloud: Cloud, admin: Credentials) -> None:
    """Counted where all of the server's files are read."""
    size = 16 * 2**20
    s3, _content = bucket_with(cloud, admin, "ranges", bytes(size))
    server = psutil.Process(json.loads(cloud.folder.run_json.read_text())["pid"])
    before = server.io_counters().read_chars
    for number in range(16):
        s3.get_object(Bucket="ranges", Key="a", Range=f"bytes={number * 100}-{number * 100 + 99}")
    assert server.io_counters().read_chars - before < size
