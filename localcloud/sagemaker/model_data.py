"""The check that CreateModel makes of artifacts in S3, with the model's execution role."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from localcloud.aws import identity
from localcloud.aws.errors import RoleNotAssumable
from localcloud.sagemaker.errors import ServiceError, validation
from localcloud.sagemaker.jobs.failure import JobFailure
from localcloud.sagemaker.jobs.storage import split_uri
from localcloud.sagemaker.service import Call

_SESSION = "SageMaker"
_PRINCIPAL = "sagemaker.amazonaws.com"


def require_model_data(call: Call, role: str | None, container: dict[str, Any]) -> None:
    """Refuse a model whose archive is missing, or closed to the role that will load it.

    A multi-model container names a prefix, whose objects may come later: nothing is checked.
    """
    url = container.get("ModelDataUrl")
    if not url or not role or container["Mode"] == "MultiModel":
        return
    try:
        bucket, key = split_uri(url)
    except JobFailure:
        raise validation(f"ModelDataUrl {url} is not of the form s3://bucket/key.") from None
    try:
        credentials = identity.assume_role(
            role,
            service=_PRINCIPAL,
            session=_SESSION,
            source_arn=call.arn("model", call.request["ModelName"]),
        )
        s3 = call.cloud.client("s3", credentials)
        s3.head_object(Bucket=bucket, Key=key)
    except RoleNotAssumable:
        raise _closed(call, role, url) from None
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            raise validation(f"Could not find model data at {url}.") from None
        raise _closed(call, role, url) from None


def _closed(call: Call, role: str, url: str) -> ServiceError:
    return validation(
        f'Could not access model data at {url}. Please ensure that the role "{role}" exists and that its '
        'trust relationship policy allows the action "sts:AssumeRole" for the service principal '
        f'"{_PRINCIPAL}". Also ensure that the role has "s3:GetObject" permissions and that '
        f"the object is located in {call.cloud.region}."
    )
