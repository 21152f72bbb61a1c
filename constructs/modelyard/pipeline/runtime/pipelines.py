"""SageMaker and S3, as far as this function needs them: boto3's clients, with types."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from .bundle import Bundle, read
from .errors import PipelineError
from .request import Desired

RUNNING = frozenset({"Executing", "Stopping"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    """A pipeline as SageMaker holds it."""

    arn: str
    role_arn: str
    definition: str
    description: str
    parallelism: int | None
    status: str


class Pipelines:
    """Reads and writes pipelines. Every method raises botocore's ClientError for what it does not name."""

    def __init__(self, sagemaker: Any, s3: Any) -> None:
        self._sagemaker = sagemaker
        self._s3 = s3

    def bundle(self, desired: Desired) -> Bundle:
        """What the deployment uploaded. Raises PipelineError when it cannot be read."""
        place = f"s3://{desired.bucket}/{desired.key}"
        try:
            body = self._s3.get_object(Bucket=desired.bucket, Key=desired.key)["Body"]
        except ClientError as error:
            raise PipelineError(f"cannot read {place}: {error.response['Error']['Message']}") from error
        with body:
            return read(body.read(), place)

    def keep_code(self, desired: Desired, code: Mapping[str, bytes]) -> None:
        """Put archives, by SHA-256, where jobs find them. None is ever taken away: executions that began
        before a deployment, and their retries, read the code that they began with."""
        for sha256, archive in code.items():
            key = f"{desired.code_prefix}{sha256}.zip"
            try:
                self._s3.put_object(Bucket=desired.code_bucket, Key=key, Body=archive)
            except ClientError as error:
                place = f"s3://{desired.code_bucket}/{key}"
                raise PipelineError(f"cannot write {place}: {error.response['Error']['Message']}") from error

    def find(self, name: str) -> Existing | None:
        try:
            answer = self._sagemaker.describe_pipeline(PipelineName=name)
        except ClientError as error:
            if code(error) == "ResourceNotFound":
                return None
            raise
        return Existing(
            arn=answer["PipelineArn"],
            role_arn=answer["RoleArn"],
            definition=answer["PipelineDefinition"],
            description=answer.get("PipelineDescription", ""),
            parallelism=answer.get("ParallelismConfiguration", {}).get("MaxParallelExecutionSteps"),
            status=answer["PipelineStatus"],
        )

    def create(self, desired: Desired, definition: str, tags: Mapping[str, str], token: str) -> str:
        """Creates the pipeline with its tags in one call; returns its ARN."""
        answer = self._sagemaker.create_pipeline(
            **_written(desired, definition), Tags=_tag_list(tags), ClientRequestToken=token
        )
        return str(answer["PipelineArn"])

    def update(self, desired: Desired, definition: str) -> None:
        self._sagemaker.update_pipeline(**_written(desired, definition))

    def delete(self, name: str, token: str) -> bool:
        """False when a running execution forbids it; true when the pipeline is gone."""
        try:
            self._sagemaker.delete_pipeline(PipelineName=name, ClientRequestToken=token)
        except ClientError as error:
            if code(error) == "ConflictException":
                return False
            if code(error) != "ResourceNotFound":
                raise
        return True

    def tags(self, arn: str) -> dict[str, str]:
        pages = self._sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn)
        return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}

    def tag(self, arn: str, tags: Mapping[str, str]) -> None:
        self._sagemaker.add_tags(ResourceArn=arn, Tags=_tag_list(tags))

    def untag(self, arn: str, keys: Iterable[str]) -> None:
        self._sagemaker.delete_tags(ResourceArn=arn, TagKeys=sorted(keys))

    def running(self, name: str) -> dict[str, str]:
        """ARN to status of every execution that has not ended."""
        pages = self._sagemaker.get_paginator("list_pipeline_executions").paginate(PipelineName=name)
        return {
            execution["PipelineExecutionArn"]: execution["PipelineExecutionStatus"]
            for page in pages
            for execution in page["PipelineExecutionSummaries"]
            if execution["PipelineExecutionStatus"] in RUNNING
        }

    def stop(self, execution_arn: str, token: str) -> None:
        """Asks the execution to stop; one that has ended meanwhile is fine."""
        try:
            self._sagemaker.stop_pipeline_execution(
                PipelineExecutionArn=execution_arn, ClientRequestToken=token
            )
        except ClientError as error:
            if code(error) not in ("ResourceNotFound", "ConflictException"):
                raise


def code(error: ClientError) -> str:
    """AWS's code of the error."""
    return str(error.response["Error"]["Code"])


def _written(desired: Desired, definition: str) -> dict[str, Any]:
    return {
        "PipelineName": desired.name,
        "PipelineDefinition": definition,
        "PipelineDescription": desired.description,
        "RoleArn": desired.role_arn,
        "ParallelismConfiguration": {"MaxParallelExecutionSteps": desired.parallelism},
    }


def _tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
