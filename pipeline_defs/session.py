"""A SageMaker SDK session that builds definitions offline, without credentials, to the same bytes each time.

Importing this module prepares the process: it must come before any import of the SDK. Each line is here
because SDK 3.27.0 (sagemaker-mlops 1.27.0) would otherwise call out.
"""

from __future__ import annotations

import logging
import os
import warnings
from typing import Any

# The SDK creates a boto3 client in a class body, so a region must be set before its first import.
for _name in [name for name in os.environ if name.startswith(("AWS_", "SAGEMAKER_"))]:
    del os.environ[_name]
os.environ.update(
    AWS_DEFAULT_REGION="us-east-1",
    AWS_EC2_METADATA_DISABLED="true",
    AWS_CONFIG_FILE=os.devnull,
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
    SAGEMAKER_VALIDATE_ROLE="false",  # else ModelTrainer and ModelBuilder call iam:SimulatePrincipalPolicy
    SAGEMAKER_ADMIN_CONFIG_OVERRIDE=os.devnull,
    SAGEMAKER_USER_CONFIG_OVERRIDE=os.devnull,
)
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import boto3  # noqa: E402
import sagemaker.core.telemetry.telemetry_logging as _telemetry  # noqa: E402
from sagemaker.core.workflow.pipeline_context import PipelineSession  # noqa: E402

# The official opt-out makes the SDK validate its configuration about a hundred times: 10 s instead of 2 s.
_telemetry._send_telemetry_request = lambda *_args, **_kwargs: None

ACCOUNT = "111122223333"

# What the SDK accepts as values while building -> the placeholder that the committed JSON holds instead.
ROLE = f"arn:aws:iam::{ACCOUNT}:role/sentinel-execution-role"
IMAGE = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/sentinel-image:sentinel"
BUCKET = "sentinel-data-bucket"
KMS_KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/sentinel-kms-key"
GROUP = "sentinel-model-package-group"
SENTINELS = {
    ROLE: "${ExecutionRoleArn}",
    IMAGE: "${ImageUri}",
    BUCKET: "${DataBucket}",
    KMS_KEY: "${KmsKeyArn}",
    GROUP: "${ModelPackageGroupName}",
}


def code_uri(placeholder: str) -> str:
    """The `s3://` URI that stands for a step's code archive until `with_placeholders`."""
    return f"s3://sentinel-code/{placeholder}"


class OfflineSession(PipelineSession):  # type: ignore[misc]  # the SDK is not installed where mypy runs
    """Stock sessions look the default bucket up, and may create it, even when its name is given."""

    def __init__(self) -> None:
        super().__init__(
            boto_session=boto3.Session(
                region_name="us-east-1",
                aws_access_key_id="none",
                aws_secret_access_key="none",  # noqa: S106  the SDK insists on having some
            ),
            default_bucket=BUCKET,
        )

    def default_bucket(self) -> str:
        return BUCKET

    def account_id(self) -> str:
        return ACCOUNT


def with_placeholders(value: Any) -> Any:
    """`value` (JSON) with every sentinel replaced by its `${Name}`."""
    if isinstance(value, str):
        for sentinel, placeholder in SENTINELS.items():
            value = value.replace(sentinel, placeholder)
        prefix = code_uri("")
        return "${" + value.removeprefix(prefix) + "}" if value.startswith(prefix) else value
    if isinstance(value, list):
        return [with_placeholders(item) for item in value]
    if isinstance(value, dict):
        return {key: with_placeholders(item) for key, item in value.items()}
    return value
