"""Models, endpoint configurations and tags through boto3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from localcloud.context import Cloud, Credentials
from tests.local.support import code_of, unique

ARN = "arn:aws:sagemaker:us-east-1:000000000000:"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tabular:1"
MULTI = {"Image": IMAGE, "Mode": "MultiModel", "ModelDataUrl": "s3://no-such-bucket/models/"}
READ = [{"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}]

Refuse = Callable[..., tuple[str, str]]


@pytest.fixture(scope="module")
def reader(role: Callable[..., str]) -> str:
    return role("sagemaker.amazonaws.com", READ)


@pytest.fixture(scope="module")
def archive(cloud: Cloud, admin: Credentials) -> str:
    s3 = cloud.client("s3", admin)
    s3.create_bucket(Bucket="model-archives")
    s3.put_object(Bucket="model-archives", Key="m/model.tar.gz", Body=b"archive")
    return "s3://model-archives/m/model.tar.gz"


@pytest.fixture
def model(sagemaker: Any, reader: str) -> str:
    name = unique("model")
    sagemaker.create_model(ModelName=name, PrimaryContainer=MULTI, ExecutionRoleArn=reader)
    return name


def variant(model: str, **members: Any) -> dict[str, Any]:
    base = {
        "VariantName": "all",
        "ModelName": model,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    return {**base, **members}


def test_model(sagemaker: Any, reader: str, model: str) -> None:
    described = sagemaker.describe_model(ModelName=model)
    assert described["ModelArn"] == f"{ARN}model/{model}"
    assert described["PrimaryContainer"] == MULTI
    assert described["ExecutionRoleArn"] == reader
    assert described["EnableNetworkIsolation"] is False
    assert code_of(
        sagemaker.create_model, ModelName=model, PrimaryContainer=MULTI, ExecutionRoleArn=reader
    ) == (
        "ValidationException",
        f'Cannot create already existing model "{ARN}model/{model}".',
    )
    listed = sagemaker.list_models(NameContains=model)["Models"]
    assert [sorted(one) for one in listed] == [["CreationTime", "ModelArn", "ModelName"]]
    sagemaker.delete_model(ModelName=model)
    missing = ("ValidationException", f'Could not find model "{ARN}model/{model}".')
    assert code_of(sagemaker.describe_model, ModelName=model) == missing
    assert code_of(sagemaker.delete_model, ModelName=model) == missing


def test_arns_are_in_lower_case(sagemaker: Any, reader: str) -> None:
    name = unique("MyModel")
    request = {"PrimaryContainer": MULTI, "ExecutionRoleArn": reader}
    assert sagemaker.create_model(ModelName=name, **request)["ModelArn"] == f"{ARN}model/{name.lower()}"
    assert "already existing" in code_of(sagemaker.create_model, ModelName=name.upper(), **request)[1]


@pytest.mark.parametrize(
    ("containers", "words"),
    [
        ({}, "Specify PrimaryContainer or Containers."),
        ({"PrimaryContainer": MULTI, "Containers": [MULTI]}, "not both"),
        (
            {"PrimaryContainer": {"ModelDataUrl": "s3://a/b"}},
            "Specify one of either Image and Model Data URL or",
        ),
        ({"PrimaryContainer": {"Image": IMAGE, "ModelPackageName": "p"}}, "Specify one of either Image and"),
        ({"PrimaryContainer": {"ModelPackageName": "p"}}, "model-package/p does not exist."),
        ({"Containers": [{**MULTI, "ContainerHostname": "a"}] * 2}, "may be given once"),
        ({"PrimaryContainer": {"Image": IMAGE, "Mode": "Both"}}, "enum value set: [SingleModel, MultiModel]"),
    ],
)
def test_bad_containers(sagemaker: Any, reader: str, containers: dict[str, Any], words: str) -> None:
    code, message = code_of(sagemaker.create_model, ModelName="bad", ExecutionRoleArn=reader, **containers)
    assert code == "ValidationException"
    assert words in message


def test_the_execution_role_must_exist_and_trust_sagemaker(sagemaker: Any, role: Callable[..., str]) -> None:
    for arn in ("arn:aws:iam::000000000000:role/none", role("lambda.amazonaws.com", READ)):
        code, message = code_of(
            sagemaker.create_model, ModelName="bad", PrimaryContainer=MULTI, ExecutionRoleArn=arn
        )
        assert code == "ValidationException"
        assert message.startswith(
            f'The execution role ARN "{arn}" is invalid. Please ensure that the role exists'
        )


def test_model_data_must_be_there_for_the_role(
    sagemaker: Any, reader: str, role: Callable[..., str], archive: str
) -> None:
    def create(url: str, execution_role: str) -> Any:
        container = {"Image": IMAGE, "ModelDataUrl": url}
        return sagemaker.create_model(
            ModelName=unique("single"), PrimaryContainer=container, ExecutionRoleArn=execution_role
        )

    assert create(archive, reader)["ModelArn"]
    gone = archive.replace("model.tar", "other.tar")
    assert code_of(create, url=gone, execution_role=reader) == (
        "ValidationException",
        f"Could not find model data at {gone}.",
    )
    code, message = code_of(create, url=archive, execution_role=role("sagemaker.amazonaws.com", []))
    assert code == "ValidationException"
    assert message.startswith(f"Could not access model data at {archive}. Please ensure that the role")


def test_model_from_a_package(sagemaker: Any, reader: str, archive: str) -> None:
    group, name = unique("group"), unique("model")
    sagemaker.create_model_package_group(ModelPackageGroupName=group)
    container = {"Image": IMAGE, "ModelDataUrl": archive}
    package = sagemaker.create_model_package(
        ModelPackageGroupName=group,
        InferenceSpecification={"Containers": [container], "SupportedContentTypes": ["text/csv"]},
    )["ModelPackageArn"]
    sagemaker.create_model(
        ModelName=name, PrimaryContainer={"ModelPackageName": package}, ExecutionRoleArn=reader
    )
    assert sagemaker.describe_model(ModelName=name)["PrimaryContainer"]["ModelPackageName"] == package


def test_endpoint_config(sagemaker: Any, model: str) -> None:
    name = unique("Config")
    arn = f"{ARN}endpoint-config/{name.lower()}"
    request = {"EndpointConfigName": name, "ProductionVariants": [variant(model)]}
    assert sagemaker.create_endpoint_config(**request)["EndpointConfigArn"] == arn
    described = sagemaker.describe_endpoint_config(EndpointConfigName=name)
    assert described["ProductionVariants"] == [variant(model, InitialVariantWeight=1.0)]
    assert code_of(sagemaker.create_endpoint_config, **request) == (
        "ValidationException",
        f'Cannot create already existing endpoint configuration "{arn}".',
    )
    listed = sagemaker.list_endpoint_configs(NameContains=name)["EndpointConfigs"]
    assert [one["EndpointConfigArn"] for one in listed] == [arn]
    sagemaker.delete_endpoint_config(EndpointConfigName=name)
    assert code_of(sagemaker.describe_endpoint_config, EndpointConfigName=name) == (
        "ValidationException",
        f'Could not find endpoint configuration "{arn}".',
    )


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"ModelName": "none"}, f'Could not find model "{ARN}model/none".'),
        ({"InstanceType": "ml.m5.huge"}, "Member must satisfy enum value set: ["),
        (
            {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}},
            "does not run serverless variants",
        ),
    ],
)
def test_bad_variants(sagemaker: Any, model: str, members: dict[str, Any], words: str) -> None:
    code, message = code_of(
        sagemaker.create_endpoint_config,
        EndpointConfigName="bad",
        ProductionVariants=[variant(model, **members)],
    )
    assert code == "ValidationException"
    assert words in message


@pytest.mark.parametrize("missing", ["ModelName", "InstanceType", "InitialInstanceCount"])
def test_incomplete_variants(sagemaker: Any, model: str, missing: str) -> None:
    variants = [{key: value for key, value in variant(model).items() if key != missing}]
    request = {"EndpointConfigName": "bad", "ProductionVariants": variants}
    assert code_of(sagemaker.create_endpoint_config, **request) == (
        "ValidationException",
        f"ProductionVariants all: {missing} is missing.",
    )


def test_variant_names_are_unique(sagemaker: Any, model: str) -> None:
    request = {"EndpointConfigName": "bad", "ProductionVariants": [variant(model)] * 2}
    assert "may be given once: all, all" in code_of(sagemaker.create_endpoint_config, **request)[1]


@pytest.mark.parametrize(
    "members",
    [
        {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://b/o"}}},
        {
            "ShadowProductionVariants": [
                {"VariantName": "shadow", "ModelName": "any", "InitialVariantWeight": 1.0}
            ]
        },
    ],
)
def test_what_cannot_run_here_is_refused_by_name(sagemaker: Any, model: str, members: dict[str, Any]) -> None:
    request = {"EndpointConfigName": "bad", "ProductionVariants": [variant(model)], **members}
    code, message = code_of(sagemaker.create_endpoint_config, **request)
    assert code == "ValidationException"
    assert message.startswith(f"{next(iter(members))}: the local SageMaker")


def test_captures_go_to_s3(sagemaker: Any, model: str) -> None:
    capture = {
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": "https://example.com/c",
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }
    request = {"EndpointConfigName": "bad", "ProductionVariants": [variant(model)]}
    code, message = code_of(sagemaker.create_endpoint_config, DataCaptureConfig=capture, **request)
    assert code == "ValidationException"
    assert message.startswith("DataCaptureConfig: ")


def test_lists_page_newest_first(sagemaker: Any, reader: str) -> None:
    mark = unique("paged")
    names = [f"{mark}-{number}" for number in range(12)]
    for name in names:
        sagemaker.create_model(ModelName=name, PrimaryContainer=MULTI, ExecutionRoleArn=reader)
    first = sagemaker.list_models(NameContains=mark)
    assert [one["ModelName"] for one in first["Models"]] == names[:1:-1]
    rest = sagemaker.list_models(NameContains=mark, NextToken=first["NextToken"])
    assert [one["ModelName"] for one in rest["Models"]] == names[1::-1]
    assert "NextToken" not in rest
    assert code_of(sagemaker.list_models, NextToken=first["NextToken"])[0] == "ValidationException"


def test_tags(sagemaker: Any, model: str) -> None:
    arn = f"{ARN}model/{model}"
    tags = [{"Key": "team", "Value": "ml"}, {"Key": "stage", "Value": "dev"}]
    assert sagemaker.add_tags(ResourceArn=arn, Tags=tags)["Tags"] == tags
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "stage", "Value": "prod"}])
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["team", "none"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "stage", "Value": "prod"}]
    assert code_of(sagemaker.list_tags, ResourceArn=f"{ARN}model/none") == (
        "ValidationException",
        "Resource does not exist.",
    )


def test_operations_that_are_not_served_say_so(sagemaker: Any) -> None:
    code, message = code_of(sagemaker.list_auto_ml_jobs)
    assert code == "NotImplementedException"
    assert "ListAutoMLJobs" in message
