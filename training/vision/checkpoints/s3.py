"""A prefix in S3 as a store; the pointer is replaced by conditional writes on its ETag.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from training.common.failure import UserError
from training.vision.checkpoints.store import ConflictError, StoreError, Tagged

Result = TypeVar("Result")
MISSING = "NoSuchKey"
# 409: another write of the object went on at the same time. What is there now must be read again either way.
REFUSED = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})


class _MissingError(Exception):
    """There is no such object."""


def make_client(attempts: int = 3, connections: int = 10) -> Any:
    """The `s3` client: region and credentials as the environment has them.

    Args:
        attempts: of a request; the pauses between them double.
        connections: at the same time.

    Raises:
        UserError: boto3 is not installed.
    """
    try:
        import boto3
        from botocore.config import Config
    except ModuleNotFoundError:
        raise UserError("what is in S3 needs the package boto3; install it, or name a folder") from None
    retries = {"mode": "standard", "total_max_attempts": attempts}
    config = Config(connect_timeout=10, read_timeout=60, retries=retries, max_pool_connections=connections)
    return boto3.client("s3", config=config)


class S3Store:
    """Objects below `s3://bucket/prefix/`. A checkpoint is one PUT, of at most 5 GB.

    Args:
        client: boto3's, or what behaves like it.
        prefix: with or without the last slash; empty for the whole bucket.
    """

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client, self._bucket = client, bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def __str__(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}"

    def add(self, name: str, data: bytes) -> None:
        try:
            self.replace(name, data, None)
        except ConflictError as error:
            # It is there when an answer was lost and the SDK sent it again; it need not be, see REFUSED.
            found = self.read(name)
            if found is None or found.data != data:
                raise StoreError(f"{self}{name}: another write of it went on") from error

    def read(self, name: str) -> Tagged | None:
        try:
            return self._do(name, lambda: self._get(name))
        except _MissingError:
            return None

    def replace(self, name: str, data: bytes, tag: str | None) -> str:
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        place = {"Bucket": self._bucket, "Key": self._prefix + name}
        try:
            answer = self._do(name, lambda: self._client.put_object(**place, Body=data, **condition))
        except _MissingError:  # S3's answer to IfMatch where nothing is
            raise ConflictError(name) from None
        return str(answer["ETag"])

    def names(self) -> list[str]:
        return self._do("", lambda: list(self._listed()))

    def newest(self, suffix: str) -> str:
        """The name with this end that was written last; empty: there is none."""
        found = self._do("", lambda: [item for item in self._items() if item["Key"].endswith(suffix)])
        last = max(found, key=lambda item: (item["LastModified"], item["Key"]), default=None)
        return last["Key"].removeprefix(self._prefix) if last else ""

    def remove(self, name: str) -> None:
        self._do(name, lambda: self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name))

    def _get(self, name: str) -> Tagged:
        answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
        return Tagged(answer["Body"].read(), str(answer["ETag"]))

    def _listed(self) -> Iterator[str]:
        yield from (item["Key"].removeprefix(self._prefix) for item in self._items())

    def _items(self) -> Iterator[Any]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix, Delimiter="/"
        )
        for page in pages:
            yield from page.get("Contents", ())

    def _do(self, name: str, call: Callable[[], Result]) -> Result:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return call()
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code == MISSING:
                raise _MissingError from error
            if code in REFUSED:
                raise ConflictError(name) from error
            raise StoreError(f"{self}{name}: {error}") from error
        except (BotoCoreError, OSError) as error:  # OSError: the line broke while the body was read
            raise StoreError(f"{self}{name}: {error}") from error
