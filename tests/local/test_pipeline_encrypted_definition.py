"""A pipeline's definition under a KMS key is read with the caller's permission to decrypt."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.context import Cloud, Credentials

Statements = list[dict[str, Any]]
CONDITIONS = [{"Type": "Equals", "LeftValue": 1, "RightValue": 1}]
STEP = {"Name": "Pass", "Type": "Condition", "Arguments": {"Conditions": CONDITIONS}}
DEFINITION = json.dumps({"Version": "2020-12-01", "Steps": [STEP]})


@pytest.mark.parametrize("bucket_key", [False, True])
def test_the_caller_needs_to_decrypt(
    bucket_key: bool,
    cloud: Cloud,
    admin: Credentials,
    actor: Callable[[Statements], Credentials],
    role: Callable[[str, Statements], str],
) -> None:
    s3, bucket = cloud.client("s3", admin), f"definitions-{uuid.uuid4().hex[:8]}"
    key = cloud.client("kms", admin).create_key()["KeyMetadata"]["Arn"]
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [
                {
                    "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key},
                    "BucketKeyEnabled": bucket_key,
                }
            ]
        },
    )
    s3.put_object(Bucket=bucket, Key="definition.json", Body=DEFINITION.encode())
    request = {
        "RoleArn": role("sagemaker.amazonaws.com", []),
        "PipelineDefinitionS3Location": {"Bucket": bucket, "ObjectKey": "definition.json"},
    }
    operations = ["sagemaker:CreatePipeline", "sagemaker:UpdatePipeline", "iam:PassRole"]
    reads: Statements = [
        {"Effect": "Allow", "Action": operations, "Resource": "*"},
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"},
    ]
    elsewhere = {"StringEquals": {"kms:ViaService": f"dynamodb.{cloud.region}.amazonaws.com"}}
    bound_to = f"arn:aws:s3:::{bucket}" if bucket_key else f"arn:aws:s3:::{bucket}/definition.json"
    via_s3 = {
        "StringEquals": {
            "kms:ViaService": f"s3.{cloud.region}.amazonaws.com",
            "kms:EncryptionContext:aws:s3:arn": bound_to,
        }
    }
    decrypts = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": key}
    name = f"encrypted-{uuid.uuid4().hex[:8]}"
    for statements in (reads, [*reads, {**decrypts, "Condition": elsewhere}]):
        with pytest.raises(ClientError) as caught:
            cloud.client("sagemaker", actor(statements)).create_pipeline(PipelineName=name, **request)
        assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
        assert "kms:Decrypt" in caught.value.response["Error"]["Message"]
    may = cloud.client("sagemaker", actor([*reads, {**decrypts, "Condition": via_s3}]))
    may.create_pipeline(PipelineName=name, **request)
    found = cloud.client("sagemaker", admin).describe_pipeline(PipelineName=name)
    assert found["PipelineDefinition"] == DEFINITION
    with pytest.raises(ClientError, match="kms:Decrypt"):
        cloud.client("sagemaker", actor(reads)).update_pipeline(PipelineName=name, **request)
