"""The inference function."""

from __future__ import annotations

import pytest
from aws_cdk.assertions import Match, Template

from modelyard.inference import ImageSource, InferenceFunction
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
    named = {"Properties": {"PolicyName": Match.string_like_regexp("InferenceFunctionRole")}}
    (policy,) = Template.from_stack(stack).find_resources("AWS::IAM::Policy", named).values()
    return policy["Properties"]["PolicyDocument"]["Statement"]


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
