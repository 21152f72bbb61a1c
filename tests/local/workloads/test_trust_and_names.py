"""Trust policies that name the source (against the confused deputy), and names that differ in case only."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

Trust = Callable[..., str]


@pytest.fixture
def trusting(workplace: Any, role: Any) -> Trust:
    """`trusting("model/*")`: a role that SageMaker may assume for such resources only; then change it."""
    arn = role("sagemaker.amazonaws.com", [])
    iam = workplace.cloud.client("iam", workplace.admin)

    def trust(*sources: str) -> str:
        prefix = f"arn:aws:sagemaker:{workplace.cloud.region}:{workplace.cloud.account}"
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"ArnLike": {"aws:SourceArn": [f"{prefix}:{source}" for source in sources]}},
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.update_assume_role_policy(RoleName=arn.rpartition("/")[2], PolicyDocument=document)
        return str(arn)

    return trust


def named(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def test_processing_jobs(workplace: Any, settle: Any, trusting: Trust) -> None:
    arn = trusting("processing-job/mine-*", "training-job/*")

    def start(name: str) -> dict[str, Any]:
        cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        workplace.sagemaker.create_processing_job(
            ProcessingJobName=name,
            RoleArn=arn,
            AppSpecification={"ImageUri": workplace.image},
            ProcessingResources={"ClusterConfig": cluster},
        )
        answer: dict[str, Any] = settle(
            lambda: workplace.sagemaker.describe_processing_job(ProcessingJobName=name),
            "ProcessingJobStatus",
        )
        return answer

    with pytest.raises(ClientError, match="Could not assume role"):
        start(named("theirs"))
    # The role is assumed; what it then lacks is the right to pull.
    assert "pull permissions" in start(named("mine"))["FailureReason"]


def test_models_and_transform_jobs(workplace: Any, settle: Any, trusting: Trust) -> None:
    arn = trusting("transform-job/*")

    def model() -> str:
        name = named("trusted")
        workplace.sagemaker.create_model(
            ModelName=name, ExecutionRoleArn=arn, PrimaryContainer={"Image": workplace.image}
        )
        return name

    def transform(model_name: str) -> str:
        name = named("transform")
        source = {"S3DataType": "S3Prefix", "S3Uri": workplace.uri("trust/")}
        workplace.sagemaker.create_transform_job(
            TransformJobName=name,
            ModelName=model_name,
            TransformInput={"DataSource": {"S3DataSource": source}},
            TransformOutput={"S3OutputPath": workplace.uri("trust-out/")},
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        )
        answer = settle(
            lambda: workplace.sagemaker.describe_transform_job(TransformJobName=name), "TransformJobStatus"
        )
        return str(answer["FailureReason"])

    with pytest.raises(ClientError, match="trust relationship policy"):
        model()
    trusting("model/*")
    made = model()
    assert "trust relationship policy" in transform(made)
    trusting("model/*", "transform-job/*")
    assert "trust relationship policy" not in transform(made)


def test_endpoints_act_for_their_model(workplace: Any, deployer: Any, trusting: Trust) -> None:
    arn = trusting("model/*")
    name = deployer.model(named("trusted"), role=arn)
    trusting("endpoint/*")
    endpoint = deployer.endpoint(deployer.config(deployer.variant("v", name)))
    assert "trust relationship policy" in deployer.ready(endpoint)["FailureReason"]
    trusting("model/*")
    endpoint = deployer.endpoint(deployer.config(deployer.variant("v", name)))
    assert "trust relationship policy" not in deployer.ready(endpoint)["FailureReason"]


def test_pipelines(workplace: Any, trusting: Trust) -> None:
    conditions = [{"Type": "Equals", "LeftValue": 1, "RightValue": 1}]
    step = {"Name": "Pass", "Type": "Condition", "Arguments": {"Conditions": conditions}}
    request = {
        "PipelineDefinition": json.dumps({"Version": "2020-12-01", "Steps": [step]}),
        "ClientRequestToken": "t" * 32,
        "RoleArn": trusting("training-job/*"),
        "PipelineName": named("trusted"),
    }
    with pytest.raises(ClientError, match="assume"):
        workplace.sagemaker.create_pipeline(**request)
    trusting("pipeline/trusted-*")
    assert workplace.sagemaker.create_pipeline(**request)["PipelineArn"]


def test_endpoint_names_that_differ_in_case_only_are_one(workplace: Any, deployer: Any) -> None:
    config = deployer.config(deployer.variant("v", deployer.single("case")))
    name = deployer.endpoint(config)
    with pytest.raises(ClientError, match="Cannot create already existing endpoint"):
        workplace.sagemaker.create_endpoint(EndpointName=name.title(), EndpointConfigName=config)
    assert deployer.ready(name)["EndpointName"] == name
    # Case is kept, and has to match where the endpoint is named.
    with pytest.raises(ClientError, match="not found"):
        workplace.runtime.invoke_endpoint(EndpointName=name.title(), Body=b"x")
