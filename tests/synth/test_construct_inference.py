"""The inference function."""

from __future__ import annotations

import pytest
from aws_cdk.assertions import Match, Template

from modelyard.inference import InferenceFunction
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
