"""Answers have the shapes of the API: required members, types, enums, and nothing else."""

from __future__ import annotations

from typing import Any

from localcloud.sagemaker import shapes
from localcloud.sagemaker.service import SageMaker
from tests.unit.answer_shapes import faults
from tests.unit.sagemaker_support import ARN, Iam, iam_fixture, sagemaker_fixture

__all__ = ["iam_fixture", "sagemaker_fixture"]

ROLE = "arn:aws:iam::000000000000:role/r"
CONTAINER = {"Image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/i:1", "ModelDataUrl": "s3://b/m.tar.gz"}
VARIANT = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
TAGS = [{"Key": "a", "Value": "b"}]
# In order: each needs what those before it have made.
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("CreateModelPackageGroup", {"ModelPackageGroupName": "g", "Tags": TAGS}),
    ("DescribeModelPackageGroup", {"ModelPackageGroupName": "g"}),
    ("ListModelPackageGroups", {}),
    (
        "CreateModelPackage",
        {"ModelPackageGroupName": "g", "InferenceSpecification": {"Containers": [CONTAINER]}},
    ),
    ("UpdateModelPackage", {"ModelPackageArn": f"{ARN}model-package/g/1", "ModelApprovalStatus": "Approved"}),
    ("DescribeModelPackage", {"ModelPackageName": "g/1"}),
    ("ListModelPackages", {"ModelPackageGroupName": "g"}),
    ("CreateModel", {"ModelName": "m", "PrimaryContainer": {"ModelPackageName": "g/1"}}),
    ("DescribeModel", {"ModelName": "m"}),
    ("ListModels", {}),
    ("CreateEndpointConfig", {"EndpointConfigName": "c", "ProductionVariants": [VARIANT]}),
    ("DescribeEndpointConfig", {"EndpointConfigName": "c"}),
    ("ListEndpointConfigs", {}),
    ("AddTags", {"ResourceArn": f"{ARN}model/m", "Tags": TAGS}),
    ("ListTags", {"ResourceArn": f"{ARN}model/m"}),
    ("DeleteTags", {"ResourceArn": f"{ARN}model/m", "TagKeys": ["a"]}),
    ("DeleteEndpointConfig", {"EndpointConfigName": "c"}),
    ("DeleteModel", {"ModelName": "m"}),
    ("DeleteModelPackage", {"ModelPackageName": "g/1"}),
    ("DeleteModelPackageGroup", {"ModelPackageGroupName": "g"}),
]


def test_answers_have_the_shapes_of_the_api(sagemaker: SageMaker) -> None:
    found = []
    for operation, request in CALLS:
        answer = sagemaker.call(operation, request, None)
        found += list(faults(answer, shapes.output_shape(operation), operation))
    assert found == []


def test_the_check_finds_faults() -> None:
    shape = shapes.output_shape("DescribeModel")
    answer = {"ModelName": 1, "Colour": "red", "CreationTime": "now"}
    assert sorted(faults(answer, shape, "x")) == [
        "x.CreationTime: 'now' is no timestamp",
        "x.ModelName: 1 is no string",
        "x: Colour is unknown",
        "x: ModelArn is missing",
    ]


def test_models_of_packages_run_the_packages_container(sagemaker: SageMaker, iam: Iam) -> None:
    for operation, request in CALLS[:8]:
        sagemaker.call(operation, request, None)
    record = sagemaker.store.get("model", "m")
    assert record["PrimaryContainer"] == {"ModelPackageName": "g/1"}
    assert record["_Containers"] == [
        {**CONTAINER, "Mode": "SingleModel", "ModelPackageName": "g/1", "Environment": {}}
    ]
    assert iam.asked == []
