"""Endpoints, scaling, deployment."""

from __future__ import annotations

import pytest
from aws_cdk.assertions import Match, Template

from modelyard.registry import ModelRegistry
from modelyard.serving import (
    EndpointScaling,
    ModelDeployer,
    ModelSource,
    MultiModelEndpoint,
    Rollout,
    Scaling,
    Variant,
)


def test_endpoint_loads_from_its_prefix(stack, endpoint):
    template = Template.from_stack(stack)
    template.has_resource_properties(
        "AWS::SageMaker::Model",
        {
            "PrimaryContainer": {
                "Mode": "MultiModel",
                "ModelDataUrl": {"Fn::Join": ["", ["s3://", Match.any_value(), "/models/multi/"]]},
            }
        },
    )
    template.has_resource_properties("AWS::SageMaker::EndpointConfig", {"KmsKeyId": Match.any_value()})


def test_a_canary_takes_a_share(stack, data, image):
    MultiModelEndpoint(
        stack,
        "E",
        endpoint_name="m",
        image=image,
        data=data,
        rollout=Rollout(canary_percent=10, bake_seconds=60),
    )
    Template.from_stack(stack).has_resource_properties(
        "AWS::SageMaker::Endpoint",
        {
            "DeploymentConfig": {
                "BlueGreenUpdatePolicy": {
                    "TrafficRoutingConfiguration": {
                        "Type": "CANARY",
                        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10},
                        "WaitIntervalInSeconds": 60,
                    }
                }
            }
        },
    )


def test_invoking_names_models(endpoint, role):
    with pytest.raises(ValueError, match="needs target_models"):
        endpoint.grant_invoke(role, target_models=[])


def test_scaling_starts_within_its_bounds(stack, data, image):
    endpoint = MultiModelEndpoint(
        stack, "E", endpoint_name="m", image=image, data=data, variant=Variant(initial_instances=5)
    )
    with pytest.raises(ValueError, match="starts with 5 instances, outside of 1 to 4"):
        EndpointScaling(stack, "Scaling", endpoint=endpoint, scaling=Scaling())


def test_scaling_follows_the_endpoint(stack, endpoint):
    EndpointScaling(stack, "Scaling", endpoint=endpoint)
    Template.from_stack(stack).has_resource_properties(
        "AWS::ApplicationAutoScaling::ScalableTarget",
        {
            "ServiceNamespace": "sagemaker",
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
            "ResourceId": {
                "Fn::Join": ["", ["endpoint/", {"Fn::GetAtt": Match.any_value()}, "/variant/AllTraffic"]]
            },
            "RoleARN": Match.absent(),
        },
    )


def test_deployer_needs_something_to_deploy(stack, endpoint, data):
    with pytest.raises(ValueError, match="at least one ModelSource"):
        ModelDeployer(stack, "Deployer", endpoint=endpoint, data=data, sources=[])


def test_deployer_hears_of_every_change_and_looks_by_itself(stack, endpoint, data):
    sources = [
        ModelSource(registry=ModelRegistry(stack, name, group_name=name), artifacts=f"pipelines/{name}/")
        for name in ("one", "two")
    ]
    ModelDeployer(stack, "Deployer", endpoint=endpoint, data=data, sources=sources)
    template = Template.from_stack(stack)
    for name in ("one", "two"):
        template.has_resource_properties(
            "AWS::Events::Rule",
            {
                "EventPattern": {
                    "source": ["aws.sagemaker"],
                    "detail-type": ["SageMaker Model Package State Change"],
                    "detail": {"ModelPackageGroupName": [name]},
                },
                "Targets": [
                    Match.object_like(
                        {"DeadLetterConfig": Match.any_value(), "RetryPolicy": Match.any_value()}
                    )
                ],
            },
        )
    template.has_resource_properties("AWS::Events::Rule", {"ScheduleExpression": "rate(15 minutes)"})
    template.has_resource_properties("AWS::CloudWatch::Alarm", {"Namespace": "AWS/SQS", "Threshold": 1})
    template.has_resource_properties(
        "AWS::Lambda::Function",
        {"Environment": {"Variables": {"GROUPS": "one,two"}}, "DeadLetterConfig": Match.any_value()},
    )
    template.has_resource_properties(
        "AWS::DynamoDB::Table",
        {
            "KeySchema": [{"AttributeName": "group", "KeyType": "HASH"}],
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
            "SSESpecification": {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": Match.any_value()},
            "DeletionProtectionEnabled": True,
        },
    )
