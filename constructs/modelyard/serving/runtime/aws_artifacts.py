"""Model archives, through the `s3` client."""

import base64
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from .aws_errors import code, reason
from .errors import DeployError, OutdatedError
from .ports import Archive
from .settings import Settings

_CHUNK = 1 << 20


class S3Artifacts:
    """Model archives, through the `s3` client."""

    def __init__(self, client: Any, settings: Settings) -> None:
        self._client, self._settings = client, settings

    @contextmanager
    def fetch(self, url: str) -> Iterator[Archive]:
        bucket, _, key = url.removeprefix("s3://").partition("/")
        if not url.startswith("s3://") or not bucket or not key or key.endswith("/"):
            raise DeployError(f"the package's model data {url!r} is no S3 object")
        with tempfile.TemporaryFile() as file:
            yield Archive(file=file, sha256=self._copy(bucket, key, file))

    def publish(self, archive: Archive, artifact: str) -> None:
        bucket, key = self._place(artifact)
        encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self._settings.kms_key_arn}
        archive.file.seek(0)
        try:
            self._client.put_object(
                Bucket=bucket,
                Key=key,
                Body=archive.file,
                IfNoneMatch="*",
                ChecksumSHA256=base64.b64encode(bytes.fromhex(archive.sha256)).decode(),
                **(encryption if self._settings.kms_key_arn else {}),
            )
        except (ClientError, BotoCoreError) as error:
            if code(error) == "ConditionalRequestConflict":
                raise OutdatedError(f"s3://{bucket}/{key} is being written by another") from error
            if code(error) != "PreconditionFailed":
                raise DeployError(f"cannot write s3://{bucket}/{key}: {reason(error)}") from error
            if self._copy(bucket, key, None) != archive.sha256:
                raise DeployError(f"s3://{bucket}/{key} exists with other content; remove it") from error

    def present(self, group: str) -> frozenset[str]:
        bucket, prefix = self._place(f"{group}/")
        start = len(self._settings.artifact_prefix)
        try:
            # Not HeadObject: where the right to list ends at a prefix, it says 403 for what is missing.
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            return frozenset(found["Key"][start:] for page in pages for found in page.get("Contents", ()))
        except (ClientError, BotoCoreError) as error:
            raise DeployError(f"cannot list s3://{bucket}/{prefix}: {reason(error)}") from error

    def delete(self, artifact: str) -> None:
        bucket, key = self._place(artifact)
        try:
            self._client.delete_object(Bucket=bucket, Key=key)
        except (ClientError, BotoCoreError) as error:
            raise DeployError(f"cannot delete s3://{bucket}/{key}: {reason(error)}") from error

    def _place(self, artifact: str) -> tuple[str, str]:
        return self._settings.artifact_bucket, self._settings.artifact_prefix + artifact

    def _copy(self, bucket: str, key: str, file: BinaryIO | None) -> str:
        """Streams the object into the file, if one is given; returns its SHA-256."""
        digest, size, limit = hashlib.sha256(), 0, self._settings.max_artifact_bytes
        try:
            with self._client.get_object(Bucket=bucket, Key=key)["Body"] as body:
                while part := body.read(_CHUNK):
                    size += len(part)
                    if size > limit:
                        raise DeployError(f"s3://{bucket}/{key} has more than {limit} bytes")
                    digest.update(part)
                    if file:
                        file.write(part)
        except (ClientError, BotoCoreError) as error:
            raise DeployError(f"cannot read s3://{bucket}/{key}: {reason(error)}") from error
        return digest.hexdigest()
