"""What Create operations of models, configurations, endpoints and transform jobs refuse, as on AWS."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.context import Cloud, Credentials

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/rules:1"


@pytest.fixture(scope="module")
def role(cloud: Cloud, admin: Credentials) -> str:
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "sagemaker.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam = cloud.client("iam", admin)
    name = f"rules-{uuid.uuid4().hex[:8]}"
    return str(iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"])


@pytest.fixture(scope="module")
def model(sagemaker: Any, role: str) -> str:
    name = f"rules-{uuid.uuid4().hex[:8]}"
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer={"Image": IMAGE})
    return name


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"Image": IMAGE, "Mode": "MultiModel"}, "ModelDataUrl is required"),
        ({"Image": "evil:1"}, "not the URI of an image in Amazon ECR"),
        ({"Image": IMAGE.replace("us-east-1", "eu-west-1")}, "must be in the region us-east-1"),
    ],
)
def test_models(sagemaker: Any, role: str, container: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError, match=message):
        sagemaker.create_model(ModelName="refused", ExecutionRoleArn=role, PrimaryContainer=container)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"InitialVariantWeight": 0.0}, "greater than 0"), ({"InitialInstanceCount": 1000}, "service limit")],
)
def test_endpoint_configurations(sagemaker: Any, model: str, changes: dict[str, Any], message: str) -> None:
    variant = {
        "VariantName": "v",
        "ModelName": model,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    with pytest.raises(ClientError, match=message):
        sagemaker.create_endpoint_config(
            EndpointConfigName="refused", ProductionVariants=[{**variant, **changes}]
        )


def test_transform_jobs_hold_100_mb_at_most_in_flight(sagemaker: Any, model: str) -> None:
    with pytest.raises(ClientError, match="must not exceed 100 MB"):
        sagemaker.create_transform_job(
            TransformJobName="refused",
            ModelName=model,
            MaxConcurrentTransforms=20,
            MaxPayloadInMB=6,
            TransformInput={"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/k"}}},
            TransformOutput={"S3OutputPath": "s3://b/o"},
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        )


def test_a_group_is_not_described_through_another_kinds_arn(sagemaker: Any) -> None:
    name = f"secret-{uuid.uuid4().hex[:8]}"
    arn = sagemaker.create_model_package_group(ModelPackageGroupName=name)["ModelPackageGroupArn"]
    sagemaker.describe_model_package_group(ModelPackageGroupName=arn)
    with pytest.raises(ClientError, match="is the ARN of a pipeline"):
        sagemaker.describe_model_package_group(
            ModelPackageGroupName=arn.replace("model-package-group", "pipeline")
        )
