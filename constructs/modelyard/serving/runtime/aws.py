"""The ports on AWS."""

import base64
import hashlib
import json
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from modelyard.runtime.invoke import Invoker, ModelError, NotReadyError, RefusedError

from .errors import DeployError, OutdatedError
from .ports import Archive, Package
from .record import Record, from_item, to_item
from .settings import Settings

_CHUNK = 1 << 20


class SageMakerRegistry:
    """Model package groups, through the `sagemaker` client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def approved(self, group: str) -> list[Package]:
        pages = self._client.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=group,
            ModelApprovalStatus="Approved",
            SortBy="CreationTime",
            SortOrder="Descending",
        )
        try:
            packages = [
                Package(version=summary["ModelPackageVersion"], arn=summary["ModelPackageArn"])
                for page in pages
                for summary in page["ModelPackageSummaryList"]
                if summary["ModelPackageStatus"] == "Completed"
            ]
        except (ClientError, BotoCoreError) as error:
            raise DeployError(f"cannot list the packages of {group}: {_reason(error)}") from error
        return sorted(packages, key=lambda package: package.version, reverse=True)

    def model_data_url(self, package: Package) -> str:
        try:
            description = self._client.describe_model_package(ModelPackageName=package.arn)
        except (ClientError, BotoCoreError) as error:
            if _code(error) in ("ValidationException", "ResourceNotFound", "ResourceNotFoundException"):
                raise OutdatedError(f"{package.arn} is gone") from error
            raise DeployError(f"cannot read {package.arn}: {_reason(error)}") from error
        if description.get("ModelApprovalStatus") != "Approved":
            raise OutdatedError(f"{package.arn} is approved no more")
        containers = description.get("InferenceSpecification", {}).get("Containers", [])
        if len(containers) != 1:
            raise DeployError(
                f"{package.arn} has {len(containers)} containers; a multi-model endpoint serves one"
            )
        source = containers[0].get("ModelDataSource", {}).get("S3DataSource", {}).get("S3Uri")
        return str(containers[0].get("ModelDataUrl") or source or "")


class DynamoRecords:
    """One item per group, through the `dynamodb` client."""

    def __init__(self, client: Any, table: str) -> None:
        self._client, self._table = client, table

    def read(self, group: str) -> Record:
        answer = self._client.get_item(
            TableName=self._table, Key={"group": {"S": group}}, ConsistentRead=True
        )
        return from_item(answer["Item"]) if "Item" in answer else Record(group=group)

    def write(self, record: Record, *, expected: int) -> None:
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(generation)"}
        if expected:
            condition = {
                "ConditionExpression": "generation = :expected",
                "ExpressionAttributeValues": {":expected": {"N": str(expected)}},
            }
        try:
            self._client.put_item(TableName=self._table, Item=to_item(record), **condition)
        except ClientError as error:
            if _code(error) == "ConditionalCheckFailedException":
                raise OutdatedError(f"{record.group} is no longer at generation {expected}") from error
            raise


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
            if _code(error) == "ConditionalRequestConflict":
                raise OutdatedError(f"s3://{bucket}/{key} is being written by another") from error
            if _code(error) != "PreconditionFailed":
                raise DeployError(f"cannot write s3://{bucket}/{key}: {_reason(error)}") from error
            if self._copy(bucket, key, None) != archive.sha256:
                raise DeployError(f"s3://{bucket}/{key} exists with other content; remove it") from error

    def exists(self, artifact: str) -> bool:
        bucket, key = self._place(artifact)
        try:
            # Not HeadObject: where the right to list ends at a prefix, it says 403 for what is missing.
            # The key itself sorts before everything that it is a prefix of.
            page = self._client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
        except (ClientError, BotoCoreError) as error:
            raise DeployError(f"cannot look for s3://{bucket}/{key}: {_reason(error)}") from error
        return any(found["Key"] == key for found in page.get("Contents", ()))

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
            raise DeployError(f"cannot read s3://{bucket}/{key}: {_reason(error)}") from error
        return digest.hexdigest()


class SageMakerEndpoint:
    """The endpoint, through `invoke.Invoker`."""

    def __init__(self, invoker: Invoker, replay_seconds: float) -> None:
        self._invoker, self._replay_seconds = invoker, replay_seconds

    def predict(self, artifact: str, instances: list[Any]) -> Any:
        body = json.dumps({"instances": instances}).encode()
        try:
            answer = self._invoker.invoke(
                artifact, body, retry_seconds=self._replay_seconds, request_id=f"golden-{uuid.uuid4()}"
            )
        except (NotReadyError, ModelError, RefusedError) as error:
            raise DeployError(f"golden rows got no prediction: {error}") from error
        try:
            return json.loads(answer)["predictions"]
        except (ValueError, KeyError, TypeError) as error:
            raise DeployError('the model\'s answer to golden rows is no {"predictions": [...]}') from error


def _code(error: ClientError | BotoCoreError) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else ""


def _reason(error: ClientError | BotoCoreError) -> str:
    return (
        str(error.response["Error"].get("Message") or _code(error))
        if isinstance(error, ClientError)
        else str(error)
    )
