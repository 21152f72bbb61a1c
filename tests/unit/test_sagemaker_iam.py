"""What IAM is asked for each operation: resources, condition keys, passed roles."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.sagemaker import authorization
from localcloud.sagemaker.service import Call, SageMaker, operation_names
from tests.unit.sagemaker_support import ARN, CALLER, Iam, iam_fixture, sagemaker_fixture

__all__ = ["iam_fixture", "sagemaker_fixture"]


def authorized(sagemaker: SageMaker, operation: str, **request: Any) -> tuple[list[str], dict[str, Any]]:
    asked = Call(sagemaker=sagemaker, caller=CALLER, operation=operation, request=request)
    return authorization.resources(asked), authorization.conditions(asked)


@pytest.mark.parametrize(
    ("operation", "request_", "resources", "conditions"),
    [
        ("ListModels", {}, ["*"], {}),
        (
            "InvokeEndpoint",
            {"EndpointName": "MyEndpoint", "TargetModel": "g/1.tar.gz"},
            [f"{ARN}endpoint/myendpoint"],
            {"sagemaker:TargetModel": "g/1.tar.gz"},
        ),
        (
            "CreateEndpoint",
            {"EndpointName": "E", "EndpointConfigName": "C"},
            [f"{ARN}endpoint/e", f"{ARN}endpoint-config/c"],
            {},
        ),
        (
            "CreateEndpointConfig",
            {
                "EndpointConfigName": "c",
                "KmsKeyId": "key",
                "ProductionVariants": [
                    {"InstanceType": "ml.m5.large", "ModelName": "M"},
                    {"InstanceType": "ml.c5.large"},
                ],
            },
            [f"{ARN}endpoint-config/c"],
            {
                "sagemaker:InstanceTypes": ["ml.m5.large", "ml.c5.large"],
                "sagemaker:ModelArn": f"{ARN}model/m",
                "sagemaker:VolumeKmsKey": "key",
            },
        ),
        (
            "CreateTrainingJob",
            {
                "TrainingJobName": "T-1",
                "ResourceConfig": {"InstanceType": "ml.m5.large", "VolumeKmsKeyId": "v"},
                "OutputDataConfig": {"KmsKeyId": "o"},
                "StoppingCondition": {"MaxRuntimeInSeconds": 60},
                "EnableNetworkIsolation": True,
                "VpcConfig": {"Subnets": ["s1", "s2"], "SecurityGroupIds": ["g"]},
            },
            [f"{ARN}training-job/t-1"],
            {
                "sagemaker:InstanceTypes": ["ml.m5.large"],
                "sagemaker:VolumeKmsKey": "v",
                "sagemaker:OutputKmsKey": "o",
                "sagemaker:MaxRuntimeInSeconds": "60",
                "sagemaker:NetworkIsolation": "true",
                "sagemaker:VpcSubnets": ["s1", "s2"],
                "sagemaker:VpcSecurityGroupIds": ["g"],
            },
        ),
        (
            "CreateTransformJob",
            {"TransformJobName": "t", "ModelName": "M"},
            [f"{ARN}transform-job/t"],
            {"sagemaker:ModelArn": f"{ARN}model/m"},
        ),
        (
            "UpdateModelPackage",
            {
                "ModelPackageArn": f"{ARN}model-package/G/3",
                "ModelApprovalStatus": "Approved",
                "CustomerMetadataProperties": {"owner": "me"},
                "CustomerMetadataPropertiesToRemove": ["old"],
            },
            [f"{ARN}model-package/G/3"],
            {
                "sagemaker:ModelApprovalStatus": "Approved",
                "sagemaker:CustomerMetadataProperties/owner": "me",
                "sagemaker:CustomerMetadataPropertiesToRemove": ["old"],
            },
        ),
        (
            "CreateModelPackage",
            {"ModelPackageGroupName": f"{ARN}model-package-group/g"},
            [f"{ARN}model-package-group/g", f"{ARN}model-package/g/1"],
            {},
        ),
        ("ListModelPackages", {"ModelPackageGroupName": "g"}, [f"{ARN}model-package/g/*"], {}),
        (
            "StopPipelineExecution",
            {"PipelineExecutionArn": f"{ARN}pipeline/p/execution/x1"},
            [f"{ARN}pipeline/p/execution/x1"],
            {},
        ),
        ("StartPipelineExecution", {"PipelineName": f"{ARN}pipeline/p"}, [f"{ARN}pipeline/p"], {}),
        (
            "DeleteTags",
            {"ResourceArn": f"{ARN}endpoint/e", "TagKeys": ["a"]},
            [f"{ARN}endpoint/e"],
            {"aws:TagKeys": ["a"]},
        ),
    ],
)
def test_resources_and_condition_keys(
    sagemaker: SageMaker,
    operation: str,
    request_: dict[str, Any],
    resources: list[str],
    conditions: dict[str, Any],
) -> None:
    assert authorized(sagemaker, operation, **request_) == (resources, conditions)


def test_every_operation_but_lists_names_its_resource() -> None:
    named = set(authorization.OPERATIONS_WITH_RESOURCES)
    without = {name for name in operation_names() if name not in named}
    assert all(name.startswith("List") for name in without), without


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ("CreateModel", 'The execution role ARN "arn:aws:iam::000000000000:role/r" is invalid.'),
        ("CreateTrainingJob", "Could not assume role arn:aws:iam::000000000000:role/r."),
    ],
)
def test_pass_role(sagemaker: SageMaker, iam: Iam, operation: str, words: str) -> None:
    role = "arn:aws:iam::000000000000:role/r"
    asked = Call(sagemaker=sagemaker, caller=CALLER, operation=operation, request={})
    with pytest.raises(Exception, match="ensure that the role exists") as missing:
        asked.pass_role(role)
    assert str(missing.value).startswith(words)
    iam.roles = {role}
    asked.pass_role(role)
    assert iam.asked[-1] == ("iam:PassRole", role, {"iam:PassedToService": "sagemaker.amazonaws.com"})
    iam.denied = {"iam:PassRole"}
    with pytest.raises(Exception, match="not authorized to perform: iam:PassRole"):
        asked.pass_role(role)


def test_the_cloud_itself_is_not_evaluated_but_roles_must_exist(sagemaker: SageMaker, iam: Iam) -> None:
    iam.denied = {"sagemaker:CreateModelPackageGroup"}
    sagemaker.call("CreateModelPackageGroup", {"ModelPackageGroupName": "g"}, None)
    asked = Call(sagemaker=sagemaker, caller=None, operation="CreateModel", request={})
    with pytest.raises(Exception, match="is invalid"):
        asked.pass_role("arn:aws:iam::000000000000:role/none")
    assert iam.asked == []
