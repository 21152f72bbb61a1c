"""IAM decides about SageMaker: by action, resource, tag and condition key, and about passed roles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.context import Cloud, Credentials
from tests.local.support import unique

ARN = "arn:aws:sagemaker:us-east-1:000000000000:"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tabular:1"
MULTI = {"Image": IMAGE, "Mode": "MultiModel", "ModelDataUrl": "s3://b/models/"}

Actor = Callable[[list[dict[str, Any]]], Credentials]


def allow(*actions: str, resource: str = "*", **condition: dict[str, Any]) -> dict[str, Any]:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
    return {**statement, "Condition": condition} if condition else statement


def denied(call: Callable[..., object], **request: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    assert error["Code"] == "AccessDeniedException", error
    return str(error["Message"])


@pytest.fixture(scope="module")
def as_(cloud: Cloud, actor: Actor) -> Callable[..., Any]:
    return lambda *statements: cloud.client("sagemaker", actor(list(statements)))


@pytest.fixture(scope="module")
def execution_role(role: Callable[..., str]) -> str:
    return role("sagemaker.amazonaws.com", [])


@pytest.fixture
def group(sagemaker: Any) -> str:
    name = unique("group")
    sagemaker.create_model_package_group(ModelPackageGroupName=name, Tags=[{"Key": "team", "Value": "red"}])
    return name


def test_without_a_policy_nothing_goes(as_: Callable[..., Any], group: str) -> None:
    nobody = as_()
    message = denied(nobody.describe_model_package_group, ModelPackageGroupName=group)
    arn = f"{ARN}model-package-group/{group}"
    action = "sagemaker:DescribeModelPackageGroup"
    assert message.startswith("User: arn:aws:iam::000000000000:user/")
    assert message.endswith(
        f" is not authorized to perform: {action} on resource: {arn} "
        f"because no identity-based policy allows the {action} action"
    )
    assert "sagemaker:ListModels" in denied(nobody.list_models)


def test_resources_bound_what_is_allowed(as_: Callable[..., Any], group: str) -> None:
    user = as_(allow("sagemaker:Describe*", resource=f"{ARN}model-package-group/{group}"))
    assert user.describe_model_package_group(ModelPackageGroupName=group)
    denied(user.describe_model_package_group, ModelPackageGroupName="other")


def test_tags_of_the_resource(as_: Callable[..., Any], group: str) -> None:
    action = "sagemaker:DescribeModelPackageGroup"
    red = as_(allow(action, StringEquals={"aws:ResourceTag/team": "red"}))
    assert red.describe_model_package_group(ModelPackageGroupName=group)
    blue = as_(allow(action, StringEquals={"sagemaker:ResourceTag/team": "blue"}))
    denied(blue.describe_model_package_group, ModelPackageGroupName=group)


def test_versions_have_the_tags_of_their_group(as_: Callable[..., Any], sagemaker: Any, group: str) -> None:
    arn = sagemaker.create_model_package(ModelPackageGroupName=group)["ModelPackageArn"]
    request = {"ModelPackageArn": arn, "ModelApprovalStatus": "Approved"}
    blue, red = (
        as_(allow("sagemaker:UpdateModelPackage", StringEquals={"aws:ResourceTag/team": team}))
        for team in ("blue", "red")
    )
    denied(blue.update_model_package, **request)
    assert red.update_model_package(**request)["ModelPackageArn"] == arn


def test_tags_of_the_request(as_: Callable[..., Any]) -> None:
    user = as_(
        allow("sagemaker:CreateModelPackageGroup", StringEquals={"aws:RequestTag/team": "red"}),
        allow(
            "sagemaker:AddTags",
            **{
                "StringEquals": {"sagemaker:TaggingAction": "CreateModelPackageGroup"},
                "ForAllValues:StringEquals": {"aws:TagKeys": ["team"]},
            },
        ),
    )
    create, name = user.create_model_package_group, unique("tagged")
    denied(create, ModelPackageGroupName=name)
    denied(create, ModelPackageGroupName=name, Tags=[{"Key": "team", "Value": "blue"}])
    more = [{"Key": "team", "Value": "red"}, {"Key": "other", "Value": "x"}]
    assert "sagemaker:AddTags" in denied(create, ModelPackageGroupName=name, Tags=more)
    arn = create(ModelPackageGroupName=name, Tags=more[:1])["ModelPackageGroupArn"]
    # Tagging is allowed as a part of the creation only.
    assert "sagemaker:AddTags" in denied(user.add_tags, ResourceArn=arn, Tags=more[:1])


def test_approval_can_be_limited(as_: Callable[..., Any], sagemaker: Any, group: str) -> None:
    arn = sagemaker.create_model_package(ModelPackageGroupName=group)["ModelPackageArn"]
    rejecter = as_(
        allow(
            "sagemaker:UpdateModelPackage",
            resource=f"{ARN}model-package/{group}/*",
            StringEquals={"sagemaker:ModelApprovalStatus": "Rejected"},
        )
    )
    denied(rejecter.update_model_package, ModelPackageArn=arn, ModelApprovalStatus="Approved")
    rejecter.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Rejected")
    assert sagemaker.describe_model_package(ModelPackageName=arn)["ModelApprovalStatus"] == "Rejected"


def test_registering_as_approved_can_be_forbidden(as_: Callable[..., Any], group: str) -> None:
    """A negated operator holds for a request that does not fill the key, so no status is fine."""
    condition = {"sagemaker:ModelApprovalStatus": "Approved"}
    create = as_(allow("sagemaker:CreateModelPackage", StringNotEquals=condition)).create_model_package
    denied(create, ModelPackageGroupName=group, ModelApprovalStatus="Approved")
    assert create(ModelPackageGroupName=group)["ModelPackageArn"].endswith("/1")
    for status in ("PendingManualApproval", "Rejected"):
        assert create(ModelPackageGroupName=group, ModelApprovalStatus=status)["ModelPackageArn"]


def test_registration_names_group_and_package(as_: Callable[..., Any], group: str) -> None:
    action = "sagemaker:CreateModelPackage"
    package, in_group = f"{ARN}model-package/{group}/*", f"{ARN}model-package-group/{group}"
    assert in_group in denied(
        as_(allow(action, resource=package)).create_model_package, ModelPackageGroupName=group
    )
    assert f"model-package/{group}/1" in denied(
        as_(allow(action, resource=in_group)).create_model_package, ModelPackageGroupName=group
    )
    both = as_(allow(action, resource=package), allow(action, resource=in_group))
    assert both.create_model_package(ModelPackageGroupName=group)["ModelPackageArn"].endswith("/1")


def test_passing_a_role_needs_pass_role(as_: Callable[..., Any], execution_role: str) -> None:
    request = {"ModelName": unique("model"), "PrimaryContainer": MULTI, "ExecutionRoleArn": execution_role}
    creator = as_(allow("sagemaker:CreateModel"))
    assert f"iam:PassRole on resource: {execution_role}" in denied(creator.create_model, **request)
    elsewhere = allow("iam:PassRole", StringEquals={"iam:PassedToService": "lambda.amazonaws.com"})
    denied(as_(allow("sagemaker:CreateModel"), elsewhere).create_model, **request)
    here = allow(
        "iam:PassRole",
        resource=execution_role,
        StringEquals={"iam:PassedToService": "sagemaker.amazonaws.com"},
    )
    assert as_(allow("sagemaker:CreateModel"), here).create_model(**request)["ModelArn"]


def test_instance_types_can_be_limited(as_: Callable[..., Any], sagemaker: Any, execution_role: str) -> None:
    model = unique("model")
    sagemaker.create_model(ModelName=model, PrimaryContainer=MULTI, ExecutionRoleArn=execution_role)
    condition = {"ForAllValues:StringLike": {"sagemaker:InstanceTypes": ["ml.m5.*"]}}
    user = as_(allow("sagemaker:CreateEndpointConfig", **condition))

    def create(instance: str) -> Any:
        variant = {
            "VariantName": "v",
            "ModelName": model,
            "InstanceType": instance,
            "InitialInstanceCount": 1,
        }
        return user.create_endpoint_config(EndpointConfigName=unique("c"), ProductionVariants=[variant])

    denied(create, instance="ml.p3.2xlarge")
    assert create("ml.m5.xlarge")["EndpointConfigArn"]


def test_invocation_can_be_limited_to_models(cloud: Cloud, actor: Actor) -> None:
    """Denied before the endpoint is looked for; allowed, the missing endpoint is what is wrong."""
    endpoint = f"{ARN}endpoint/shared"
    condition = {"StringLike": {"sagemaker:TargetModel": "refinance/*.tar.gz"}}
    user = actor([allow("sagemaker:InvokeEndpoint", resource=endpoint, **condition)])
    runtime = cloud.client("sagemaker-runtime", user)
    denied(runtime.invoke_endpoint, EndpointName="shared", Body=b"x")
    denied(runtime.invoke_endpoint, EndpointName="shared", Body=b"x", TargetModel="other/1.tar.gz")
    denied(runtime.invoke_endpoint, EndpointName="another", Body=b"x", TargetModel="refinance/1.tar.gz")
    with pytest.raises(ClientError) as caught:
        runtime.invoke_endpoint(EndpointName="shared", Body=b"x", TargetModel="refinance/1.tar.gz")
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    assert "not found" in caught.value.response["Error"]["Message"]


def test_decisions_are_in_the_audit(
    as_: Callable[..., Any], group: str, audit: Callable[[], list[dict[str, Any]]]
) -> None:
    denied(as_().describe_model_package_group, ModelPackageGroupName=group)
    mine = [line for line in audit() if line["resource"] == f"{ARN}model-package-group/{group}"]
    assert mine[-1]["action"] == "sagemaker:DescribeModelPackageGroup"
    assert mine[-1]["decision"] != "Allow"
