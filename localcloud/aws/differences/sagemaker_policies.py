"""AWS's own policies for SageMaker's execution roles, which MiniStack does not know.

Their grants on the services that run here; those on the console's and on other services are left out.
https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AmazonSageMakerFullAccess.html
https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AmazonSageMakerPipelinesIntegrations.html
"""

from __future__ import annotations

import json
from typing import Any

NAME = "AmazonSageMakerFullAccess"
INTEGRATIONS = "AmazonSageMakerPipelinesIntegrations"
_OUTSIDE = ("domain", "user-profile", "app", "space", "flow-definition")
_BUCKETS = ("*SageMaker*", "*Sagemaker*", "*sagemaker*", "*aws-glue*")
_FUNCTIONS = ("*SageMaker*", "*sagemaker*", "*Sagemaker*", "*LabelingFunction*")
_ANYWHERE = """
    application-autoscaling:DeleteScalingPolicy application-autoscaling:DeleteScheduledAction
    application-autoscaling:DeregisterScalableTarget application-autoscaling:DescribeScalableTargets
    application-autoscaling:DescribeScalingActivities application-autoscaling:DescribeScalingPolicies
    application-autoscaling:DescribeScheduledActions application-autoscaling:PutScalingPolicy
    application-autoscaling:PutScheduledAction application-autoscaling:RegisterScalableTarget
    cloudformation:GetTemplateSummary
    cloudwatch:DeleteAlarms cloudwatch:DescribeAlarms cloudwatch:GetMetricData
    cloudwatch:GetMetricStatistics cloudwatch:ListMetrics cloudwatch:PutMetricAlarm cloudwatch:PutMetricData
    ec2:CreateNetworkInterface ec2:CreateNetworkInterfacePermission ec2:CreateVpcEndpoint
    ec2:DeleteNetworkInterface ec2:DeleteNetworkInterfacePermission ec2:DescribeDhcpOptions
    ec2:DescribeNetworkInterfaces ec2:DescribeRouteTables ec2:DescribeSecurityGroups ec2:DescribeSubnets
    ec2:DescribeVpcEndpoints ec2:DescribeVpcs
    ecr:BatchCheckLayerAvailability ecr:BatchGetImage ecr:CreateRepository ecr:Describe*
    ecr:GetAuthorizationToken ecr:GetDownloadUrlForLayer ecr:StartImageScan
    iam:ListRoles kms:DescribeKey kms:ListAliases lambda:ListFunctions
    logs:CreateLogDelivery logs:CreateLogGroup logs:CreateLogStream logs:DeleteLogDelivery logs:Describe*
    logs:GetLogDelivery logs:GetLogEvents logs:ListLogDeliveries logs:PutLogEvents logs:PutResourcePolicy
    logs:UpdateLogDelivery
    s3:CreateBucket s3:GetBucketLocation s3:ListBucket s3:ListAllMyBuckets s3:GetBucketCors s3:PutBucketCors
    secretsmanager:ListSecrets sns:ListTopics tag:GetResources
"""
_PUSH = """
    ecr:SetRepositoryPolicy ecr:CompleteLayerUpload ecr:BatchDeleteImage ecr:UploadLayerPart
    ecr:DeleteRepositoryPolicy ecr:InitiateLayerUpload ecr:DeleteRepository ecr:PutImage
"""


def document() -> dict[str, Any]:
    """The policy document."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["sagemaker:*"],
                "NotResource": [f"arn:aws:sagemaker:*:*:{kind}/*" for kind in _OUTSIDE],
            },
            _allow(_ANYWHERE.split(), "*"),
            _allow(_PUSH.split(), "arn:aws:ecr:*:*:repository/*sagemaker*"),
            _allow(
                ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
                *(f"arn:aws:s3:::{name}" for name in _BUCKETS),
            ),
            _allow(["s3:GetBucketAcl", "s3:PutObjectAcl"], *(f"arn:aws:s3:::{name}" for name in _BUCKETS)),
            _allow(
                ["lambda:InvokeFunction"], *(f"arn:aws:lambda:*:*:function:{name}" for name in _FUNCTIONS)
            ),
            _allow(
                ["sns:Subscribe", "sns:CreateTopic", "sns:Publish"],
                *(f"arn:aws:sns:*:*:{name}" for name in _BUCKETS[:3]),
            ),
            {
                **_allow(["iam:PassRole"], "arn:aws:iam::*:role/*"),
                "Condition": {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
            },
        ],
    }


def integrations() -> dict[str, Any]:
    """The policy with which AWS has Callback and Lambda steps run."""
    functions = (f"arn:aws:lambda:*:*:function:*{name}*" for name in ("sagemaker", "sageMaker", "SageMaker"))
    queues = (f"arn:aws:sqs:*:*:*{name}*" for name in ("sagemaker", "sageMaker", "SageMaker"))
    actions = ("CreateFunction", "DeleteFunction", "GetFunction", "InvokeFunction", "UpdateFunctionCode")
    return {
        "Version": "2012-10-17",
        "Statement": [
            _allow([f"lambda:{action}" for action in actions], *functions),
            _allow(["sqs:CreateQueue", "sqs:SendMessage"], *queues),
            {
                **_allow(["iam:PassRole"], "arn:aws:iam::*:role/*"),
                "Condition": {"StringEquals": {"iam:PassedToService": ["lambda.amazonaws.com"]}},
            },
        ],
    }


def apply() -> None:
    """Let roles attach them by `arn:aws:iam::aws:policy/NAME`."""
    from ministack.services import iam

    for name, found in ((NAME, document()), (INTEGRATIONS, integrations())):
        arn = f"arn:aws:iam::aws:policy/{name}"
        if arn not in iam._aws_managed_policies:
            iam._aws_managed_policies[arn] = iam._make_aws_managed_record(name, json.dumps(found), "")


def _allow(actions: list[str], *resources: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": list(resources)}
