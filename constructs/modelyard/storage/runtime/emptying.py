"""Deletes every version of every object."""

from typing import Any

from botocore.exceptions import ClientError


class EmptyingError(Exception):
    """Objects could not be deleted; the message says how many, and the first reason."""


def empty(s3: Any, bucket: str) -> int:
    """Delete all versions and delete markers; returns how many there were. A bucket that is gone is empty.

    Raises EmptyingError for objects that cannot be deleted, botocore's ClientError for anything else.
    """
    deleted = 0
    try:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            versions = [
                {"Key": version["Key"], "VersionId": version["VersionId"]}
                for version in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
            ]
            if versions:
                _delete(s3, bucket, versions)
                deleted += len(versions)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
    return deleted


def _delete(s3: Any, bucket: str, versions: list[dict[str, str]]) -> None:
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": versions, "Quiet": True})
    if errors := answer.get("Errors"):
        first = errors[0]
        raise EmptyingError(
            f"{len(errors)} objects of {bucket} could not be deleted; {first['Key']}: {first.get('Message')}"
        )
