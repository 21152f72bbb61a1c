"""Closes a bucket for writers and deletes every version of every object."""

import json
from typing import Any

from botocore.exceptions import ClientError

from modelyard.runtime.tags import EMPTY_ON_DELETE

_TAG = dict(zip(("Key", "Value"), EMPTY_ON_DELETE, strict=True))
_CLOSED = "ClosedForDeletion"


class EmptyingError(Exception):
    """Objects could not be deleted; the message says how many, and the first reason."""


def may_be_emptied(s3: Any, bucket: str) -> bool:
    """Whether the bucket is there and bears the tag, as it does while its template says `destroy`."""
    try:
        tags = s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
    except ClientError as error:
        if _code(error) not in ("NoSuchBucket", "NoSuchTagSet"):
            raise
        return False
    return _TAG in tags


def close(s3: Any, bucket: str) -> None:
    """Deny everybody to write: what comes in late, as access logs do, would keep the bucket from going."""
    try:
        policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    except ClientError as error:
        if _code(error) != "NoSuchBucketPolicy":
            raise
        policy = {"Version": "2012-10-17", "Statement": []}
    if any(statement.get("Sid") == _CLOSED for statement in policy["Statement"]):
        return
    partition = s3.meta.partition
    policy["Statement"].append(
        {
            "Sid": _CLOSED,
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": f"arn:{partition}:s3:::{bucket}/*",
        }
    )
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


def empty(s3: Any, bucket: str) -> int:
    """Delete all versions and delete markers; returns how many there were. A bucket that is gone is empty.

    Raises EmptyingError for objects that cannot be deleted, botocore's ClientError for anything else.
    """
    deleted = 0
    try:
        # Always the first page: where a page begins is told by a version of the page before, which is gone.
        while versions := _first(s3, bucket):
            _delete(s3, bucket, versions)
            deleted += len(versions)
    except ClientError as error:
        if _code(error) != "NoSuchBucket":
            raise
    return deleted


def _first(s3: Any, bucket: str) -> list[dict[str, str]]:
    page = s3.list_object_versions(Bucket=bucket)
    return [
        {"Key": version["Key"], "VersionId": version["VersionId"]}
        for version in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
    ]


def _delete(s3: Any, bucket: str, versions: list[dict[str, str]]) -> None:
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": versions, "Quiet": True})
    if errors := answer.get("Errors"):
        first = errors[0]
        raise EmptyingError(
            f"{len(errors)} objects of {bucket} could not be deleted; {first['Key']}: {first.get('Message')}"
        )


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])
