"""The inference function."""

from __future__ import annotations

import pytest
from aws_cdk.assertions import Match, Template

from modelyard.inference import Concurrency, ImageSource, InferenceFunction, Release
from modelyard.inference.props import STRATEGIES
from modelyard.serving import (
    RecordTable,
)


def test_inference_alone(stack, endpoint, role):
    function = InferenceFunction(
        stack, "Inference", endpoint=endpoint, records=RecordTable(stack, "Records"), models=["m"]
    )
    function.grant_invoke_url(role)
    template = Template.from_stack(stack)
    template.has_resource_properties("AWS::Lambda::Url", {"AuthType": "AWS_IAM", "Qualifier": "live"})
    template.has_resource_properties(
        "AWS::IAM::Policy",
        {
            "PolicyDocument": {
                "Statement": Match.array_with(
                    [
                        Match.object_like(
                            {
                                "Action": "lambda:InvokeFunctionUrl",
                                "Condition": {"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}},
                            }
                        ),
                        Match.object_like(
                            {
                                "Action": "lambda:InvokeFunction",
                                "Condition": {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}},
                            }
                        ),
                    ]
                )
            }
        },
    )


def released(stack, endpoint, **settings):
    return InferenceFunction(
        stack,
        "I",
        endpoint=endpoint,
        records=RecordTable(stack, "R"),
        models=["m"],
        concurrency=Concurrency(provisioned=3, reserved=100),
        release=Release(**settings),
    )


def test_a_new_version_takes_over_step_by_step(stack, endpoint):
    function = released(stack, endpoint, strategy="LambdaLinear10PercentEvery2Minutes")
    template = Template.from_stack(stack)
    reference = stack.resolve(function.release.group.deployment_group_name)
    template.has_resource(
        "AWS::Lambda::Alias",
        {
            # Both together: the provisioned environments follow the weights.
            "Properties": Match.object_like(
                {"ProvisionedConcurrencyConfig": {"ProvisionedConcurrentExecutions": 3}}
            ),
            "UpdatePolicy": {
                "CodeDeployLambdaAliasUpdate": {
                    "ApplicationName": stack.resolve(function.release.group.application.application_name),
                    "DeploymentGroupName": reference,
                }
            },
        },
    )
    template.has_resource_properties(
        "AWS::CodeDeploy::DeploymentGroup",
        {
            "DeploymentConfigName": "CodeDeployDefault.LambdaLinear10PercentEvery2Minutes",
            "AutoRollbackConfiguration": {
                "Enabled": True,
                "Events": ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_REQUEST", "DEPLOYMENT_STOP_ON_ALARM"],
            },
            "AlarmConfiguration": {"Enabled": True},
        },
    )


def test_the_alarms_watch_the_new_version_alone(stack, endpoint):
    function = released(stack, endpoint, errors_per_minute=2, faults_per_minute=3, p99_milliseconds=500)
    version = stack.resolve(function.function.current_version.version)
    alarms = Template.from_stack(stack).find_resources("AWS::CloudWatch::Alarm").values()
    thresholds = {}
    for properties in (alarm["Properties"] for alarm in alarms):
        if properties["Namespace"] == "AWS/SageMaker":
            continue  # the endpoint's
        dimensions = {entry["Name"]: entry["Value"] for entry in properties["Dimensions"]}
        own = properties["Namespace"] == "Modelyard/Inference"
        assert dimensions["FunctionVersion" if own else "ExecutedVersion"] == version
        named = {"Function", "FunctionVersion"} if own else {"FunctionName", "Resource", "ExecutedVersion"}
        assert set(dimensions) == named
        assert properties["TreatMissingData"] == "notBreaching"
        thresholds[properties["MetricName"]] = properties["Threshold"]
    assert thresholds == {"Errors": 2, "Faults": 3, "Duration": 500}


def test_codedeploy_may_shift_that_alias_and_nothing_else(stack, endpoint):
    function = released(stack, endpoint)
    template = Template.from_stack(stack)
    arn = stack.resolve(function.function.function_arn)
    role = stack.resolve(function.release.group.role.role_name)["Ref"]
    statements = [
        statement
        for policy in template.find_resources("AWS::IAM::Policy").values()
        if policy["Properties"]["Roles"] == [{"Ref": role}]
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]
    assert {str(statement["Action"]): statement["Resource"] for statement in statements[:2]} == {
        "['lambda:GetAlias', 'lambda:UpdateAlias']": arn,
        "lambda:GetProvisionedConcurrencyConfig": {"Fn::Join": ["", [arn, ":live"]]},
    }
    assert [statement["Action"] for statement in statements[2:]] == ["cloudwatch:DescribeAlarms"]
    assert "ManagedPolicyArns" not in template.find_resources("AWS::IAM::Role")[role]["Properties"]


def test_without_a_release_nothing_of_it_is_there(stack, endpoint):
    function = InferenceFunction(stack, "I", endpoint=endpoint, records=RecordTable(stack, "R"), models=["m"])
    template = Template.from_stack(stack)
    assert function.release is None
    assert all(
        "UpdatePolicy" not in alias for alias in template.find_resources("AWS::Lambda::Alias").values()
    )
    for kind in ("AWS::CodeDeploy::Application", "AWS::CodeDeploy::DeploymentGroup"):
        template.resource_count_is(kind, 0)


def test_the_strategies_are_codedeploys(stack):
    from aws_cdk import aws_codedeploy as codedeploy

    of_cdk = codedeploy.LambdaDeploymentConfig
    configs = [getattr(of_cdk, name) for name in dir(of_cdk) if name[:3] in ("ALL", "CAN", "LIN")]
    known = {config.deployment_config_name for config in configs}
    assert {f"CodeDeployDefault.{strategy}" for strategy in STRATEGIES} == known


def test_inference_needs_models(stack, endpoint):
    with pytest.raises(ValueError, match="models is empty"):
        InferenceFunction(stack, "I", endpoint=endpoint, records=RecordTable(stack, "R"), models=[])


def test_metrics_are_those_that_the_services_emit(stack, endpoint):
    function = InferenceFunction(stack, "I", endpoint=endpoint, records=RecordTable(stack, "R"), models=["m"])
    metrics = {
        metric.metric_name: metric.namespace
        for metric in (
            endpoint.metric_invocations(),
            endpoint.metric_invocations_per_instance(),
            endpoint.metric_server_errors(),
            endpoint.metric_model_latency(),
            endpoint.metric_model_loading_wait(),
            function.metric_errors(),
            function.metric_duration(),
            function.metric_throttles(),
        )
    }
    assert metrics == {
        "Invocations": "AWS/SageMaker",
        "InvocationsPerInstance": "AWS/SageMaker",
        "Invocation5XXErrors": "AWS/SageMaker",
        "ModelLatency": "AWS/SageMaker",
        "ModelLoadingWaitTime": "AWS/SageMaker",
        "Errors": "AWS/Lambda",
        "Duration": "AWS/Lambda",
        "Throttles": "AWS/Lambda",
    }


def with_images(stack, endpoint, data, **source):
    return InferenceFunction(
        stack,
        "Inference",
        endpoint=endpoint,
        records=RecordTable(stack, "Records"),
        models=["m"],
        images=ImageSource(data=data, **source) if source else None,
    )


def rights(stack):
    """Statements of the function's role."""
    policies = Template.from_stack(stack).find_resources("AWS::IAM::Policy").values()
    found = [policy["Properties"] for policy in policies]
    statements = [
        statement
        for policy in found
        if "InferenceFunctionRole" in str(policy["Roles"])
        for statement in policy["PolicyDocument"]["Statement"]
    ]
    assert statements
    return statements


def test_images_add_the_right_to_read_their_folder_and_nothing_else(stack, endpoint, data):
    with_images(stack, endpoint, data, prefix="pictures/")
    granted = rights(stack)
    reading = [statement for statement in granted if "s3:" in str(statement["Action"])]
    assert [statement["Action"] for statement in reading] == ["s3:GetObject"]
    assert "/pictures/*" in str(reading[0]["Resource"])
    decrypting = [statement for statement in granted if "s3." in str(statement.get("Condition"))]
    assert [statement["Action"] for statement in decrypting] == ["kms:Decrypt"]


def test_without_images_the_function_has_no_right_in_s3(stack, endpoint, data):
    with_images(stack, endpoint, data)
    assert "s3" not in str(rights(stack))


def test_images_come_from_a_folder(data):
    with pytest.raises(ValueError, match="images"):
        ImageSource(data=data, prefix="images")
