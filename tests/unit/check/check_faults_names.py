"""Faults of names that are almost right: of aliases, services, log groups; and of what functions call."""

from __future__ import annotations

from typing import Any

from tests.unit.check.check_faults_grants import ARN, allow, both, grants
from tests.unit.check.check_mutations import add, drop, fault, put, right, without

S = "serving"
ENDPOINT = {"Fn::Sub": ARN % "sagemaker" + "endpoint/shop"}
fault(S, "MYT323", "calls an endpoint without a grant", without("FunctionRole", 6))
fault(
    S,
    "MYT323",
    "calls an endpoint with a grant on another",
    both(
        without("FunctionRole", 6),
        grants(
            "FunctionRole",
            allow("sagemaker:InvokeEndpoint", {"Fn::Sub": ARN % "sagemaker" + "endpoint/other"}),
        ),
    ),
)
fault(
    S,
    "MYT323",
    "calls an endpoint of another name in the environment",
    both(without("FunctionRole", 6), put("Function", "Environment|Variables", {"RATES_ENDPOINT": "shop"})),
)
fault(
    S,
    "MYT323",
    "calls an endpoint of another assembly without a grant",
    both(without("FunctionRole", 6), drop("Endpoint"), drop("Target"), drop("Policy")),
)
right(
    S,
    "streams from an endpoint",
    both(
        without("FunctionRole", 6),
        grants("FunctionRole", allow("sagemaker:InvokeEndpointWithResponseStream", ENDPOINT)),
    ),
)
right(
    S,
    "looks at an endpoint and does not call it",
    both(without("FunctionRole", 6), grants("FunctionRole", allow("sagemaker:DescribeEndpoint", ENDPOINT))),
)

fault(S, "MYT619", "qualifier that no alias has", put("Url", "Qualifier", "life"))
fault(S, "MYT619", "qualifier is a version", put("Url", "Qualifier", "1"))


def through(service: Any, operator: str = "StringEquals") -> dict[str, Any]:
    use = allow("kms:Decrypt", {"Fn::GetAtt": ["Key", "Arn"]})
    return use | {"Condition": {operator: {"kms:ViaService": service}}}


for wrong in (
    "s3.amazonaws.com",
    ["dynamodb.us-east-1.amazonaws.com", "s3.amazonaws.com"],
    "us-east-1.s3.amazonaws.com",
):
    fault(S, "MYT314", f"through {wrong}", grants("FunctionRole", through(wrong)))
fault(S, "MYT314", "through a service alone", grants("FunctionRole", through("s3")))
for valid in (
    "s3.us-east-1.amazonaws.com",
    {"Fn::Sub": "s3.${AWS::Region}.amazonaws.com"},
    {"Fn::Sub": "s3.${AWS::Region}.${AWS::URLSuffix}"},
):
    right(S, f"through {valid}", grants("FunctionRole", through(valid)))
right(
    S, "through a service of any region", grants("FunctionRole", through("s3.*.amazonaws.com", "StringLike"))
)


def group(name: Any) -> dict[str, Any]:
    return {"LogGroupName": name, "RetentionInDays": 30}


def reads(name: str) -> dict[str, Any]:
    return allow("logs:FilterLogEvents", {"Fn::Sub": ARN % "logs" + "log-group:" + name})


for wrong in (
    "/aws/sagemaker/Endpoint/shop",
    "/aws/sagemaker/endpoints/shop",
    "/aws/sagemaker/TrainingJob",
    "/aws/sagemaker/processing-jobs",
    "/aws/sagemaker/Training",
    "/aws/SageMaker/Endpoints/shop",
    "/aws/sagemaker/NotebookInstance",
):
    fault(S, "MYT315", f"group {wrong}", add("Wrong", "AWS::Logs::LogGroup", group(wrong)))
fault(S, "MYT315", "group of a function", add("Wrong", "AWS::Logs::LogGroup", group("/aws/lambdas/shop")))
fault(
    S, "MYT315", "ARN of an endpoint's logs", grants("FunctionRole", reads("/aws/sagemaker/Endpoint/shop:*"))
)
fault(S, "MYT315", "ARN of all jobs' logs", grants("FunctionRole", reads("/aws/sagemaker/TrainingJob:*")))
fault(
    S,
    "MYT315",
    "filter on an endpoint's logs",
    add(
        "Filter",
        "AWS::Logs::MetricFilter",
        {
            "LogGroupName": "/aws/sagemaker/Endpoint/shop",
            "FilterPattern": "ERROR",
            "MetricTransformations": [{"MetricName": "E", "MetricNamespace": "Shop", "MetricValue": "1"}],
        },
    ),
)
for valid in (
    "/aws/sagemaker/Endpoints/shop",
    "/aws/sagemaker/TrainingJobs",
    "/aws/sagemaker/studio",
    "/aws/states/shop",
    "/aws/ec2/shop",
    "/aws/api-gateway/shop",
    "/shop/sagemaker/Endpoint",
):
    right(S, f"group {valid}", add("Right", "AWS::Logs::LogGroup", group(valid)))
right(S, "ARN of logs by a pattern", grants("FunctionRole", reads("/aws/sagemaker/Endpoint*")))
right(S, "ARN of an endpoint's true logs", grants("FunctionRole", reads("/aws/sagemaker/Endpoints/shop:*")))
