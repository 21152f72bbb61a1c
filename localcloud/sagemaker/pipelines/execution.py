"""One execution: what it is called, as whom it acts, and where its expressions find their values."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.aws.identity import assume_role
from localcloud.context import Cloud, Credentials
from localcloud.sagemaker.pipelines.expressions import ExpressionError, Scalar
from localcloud.sagemaker.pipelines.model import Definition
from localcloud.sagemaker.pipelines.paths import PathError, lookup

SERVICE_PRINCIPAL = "sagemaker.amazonaws.com"
_RENEW_BEFORE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """The identity of one execution; `started` is in epoch seconds."""

    arn: str
    pipeline_name: str
    pipeline_arn: str
    started: float

    @property
    def id(self) -> str:
        """The last part of the ARN, twelve characters."""
        return self.arn.rsplit("/", 1)[-1]


class RoleSession:
    """Clients that act as a pipeline's execution role, so that IAM decides about every call of its steps.

    Args:
        cloud: where the calls go.
        role_arn: the role; SageMaker must be trusted to assume it.
        name: of the session, as it shows in the caller's ARN.
        pipeline_arn: as the role's trust policy may ask.
    """

    def __init__(self, cloud: Cloud, role_arn: str, name: str, pipeline_arn: str) -> None:
        self._cloud = cloud
        self._role_arn = role_arn
        self._name = name[:64]
        self._pipeline_arn = pipeline_arn
        self._lock = threading.Lock()
        self._credentials: Credentials | None = None

    @property
    def cloud(self) -> Cloud:
        """Where the calls go."""
        return self._cloud

    def client(self, service: str) -> Any:
        """A boto3 client. Raises RoleNotAssumable when the role is gone or does not trust SageMaker."""
        with self._lock:
            if self._credentials is None or _ends_soon(self._credentials):
                self._credentials = assume_role(
                    self._role_arn,
                    service=SERVICE_PRINCIPAL,
                    session=self._name,
                    source_arn=self._pipeline_arn,
                )
            return self._cloud.client(service, self._credentials)

    def close(self) -> None:
        """Nobody asks for clients any more."""
        with self._lock:
            if self._credentials is not None:
                self._cloud.forget(self._credentials)


def _ends_soon(credentials: Credentials) -> bool:
    return credentials.expiration is not None and credentials.expiration - datetime.now(UTC) < _RENEW_BEFORE


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionScope:
    """The values that expressions of one execution see.

    Args:
        properties_of: what a finished step's Describe operation answered.
        session: reads property files from S3; the execution role needs `s3:GetObject` on them.
        job_name: of the step's own job, for `Execution.TrainingJobName` and `Execution.ProcessingJobName`.
    """

    execution: Execution
    definition: Definition
    parameters: Mapping[str, Scalar]
    properties_of: Callable[[str], Mapping[str, Any] | None]
    session: RoleSession
    documents: dict[str, Any] = field(default_factory=dict)
    job_name: str = ""

    def parameter(self, name: str) -> Scalar:
        """See Scope."""
        return self.parameters[name]

    def execution_variable(self, name: str) -> Scalar:
        """See Scope."""
        values = {
            "CurrentDateTime": _iso(datetime.now(UTC)),
            "PipelineArn": self.execution.pipeline_arn,
            "PipelineExecutionArn": self.execution.arn,
            "PipelineExecutionId": self.execution.id,
            "PipelineName": self.execution.pipeline_name,
            "ProcessingJobName": self.job_name,
            "StartDateTime": _iso(datetime.fromtimestamp(self.execution.started, UTC)),
            "TrainingJobName": self.job_name,
        }
        return values[name]

    def properties(self, step: str) -> Any:
        """See Scope."""
        found = self.properties_of(step)
        if found is None:
            raise ExpressionError(f"step {step!r} has not run, so it has no properties")
        return found

    def property_file(self, step: str, name: str) -> Any:
        """See Scope."""
        file = self.definition.steps[step].property_files[name]
        try:
            output = lookup(
                self.properties(step), f"ProcessingOutputConfig.Outputs['{file.output}'].S3Output.S3Uri"
            )
        except PathError as error:
            raise ExpressionError(
                f"the property file {name!r} of step {step!r} has no place: {error}"
            ) from error
        uri = f"{output.rstrip('/')}/{file.path}"
        try:
            return self.document(uri)
        except ExpressionError as error:
            raise ExpressionError(f"the property file {name!r} of step {step!r} {error}") from error

    def document(self, uri: str) -> Any:
        """See Scope. Each document is read once per execution."""
        if uri not in self.documents:
            self.documents[uri] = self._read(uri)
        return self.documents[uri]

    def _read(self, uri: str) -> Any:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        if not uri.startswith("s3://") or not bucket or not key:
            raise ExpressionError(f"cannot be read: {uri!r} is no S3 URI of an object")
        try:
            body = self.session.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            code, message = (error.response["Error"].get(part, "") for part in ("Code", "Message"))
            raise ExpressionError(f"cannot be read from {uri}: {code}: {message}") from error
        except BotoCoreError as error:
            raise ExpressionError(f"cannot be read from {uri}: {error}") from error
        try:
            return json.loads(body)
        except ValueError as error:
            raise ExpressionError(f"at {uri} is not JSON: {error}") from error


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
