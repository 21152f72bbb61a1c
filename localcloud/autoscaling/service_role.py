"""The service-linked roles with which Application Auto Scaling changes other services' resources.

https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-service-linked-roles.html
"""

from __future__ import annotations

import json
from typing import Any

from localcloud.aws import identity
from localcloud.context import Cloud, Credentials

# By service namespace: the end of the role's name, and what it may do.
_ROLES = {
    "sagemaker": (
        "SageMakerEndpoint",
        ["sagemaker:DescribeEndpoint", "sagemaker:DescribeEndpointConfig",
         "sagemaker:UpdateEndpointWeightsAndCapacities"],
    ),
    "ecs": ("ECSService", ["ecs:DescribeServices", "ecs:UpdateService"]),
    "lambda": (
        "LambdaConcurrency",
        ["lambda:PutProvisionedConcurrencyConfig", "lambda:GetProvisionedConcurrencyConfig",
         "lambda:DeleteProvisionedConcurrencyConfig"],
    ),
    "dynamodb": ("DynamoDBTable", ["dynamodb:DescribeTable", "dynamodb:UpdateTable"]),
}  # fmt: skip
_ALARMS = ["cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms"]


def principal(namespace: str) -> str:
    """The service that may assume the role."""
    return f"{namespace}.application-autoscaling.amazonaws.com"


def arn(cloud: Cloud, namespace: str) -> str:
    """The role of a namespace, whether it exists or not."""
    path = f"aws-service-role/{principal(namespace)}"
    return f"arn:aws:iam::{cloud.account}:role/{path}/{_name(namespace)}"


def ensure(cloud: Cloud, namespace: str, caller: identity.Caller) -> None:
    """Make the role of a namespace at its first use, as the caller must be allowed to.

    Raises:
        AccessDenied: no `iam:CreateServiceLinkedRole`.
    """
    from ministack.core.responses import request_scope
    from ministack.services import iam

    with request_scope(cloud.account, cloud.region):
        known = _name(namespace) in iam._roles
    if known:
        return
    conditions = {"iam:AWSServiceName": principal(namespace)}
    identity.require(caller, "iam:CreateServiceLinkedRole", arn(cloud, namespace), conditions)
    with request_scope(cloud.account, cloud.region):
        iam._roles[_name(namespace)] = _role(cloud, namespace)


def assume(cloud: Cloud, namespace: str, target_arn: str) -> Credentials:
    """Credentials of the role of a namespace."""
    return identity.assume_role(
        arn(cloud, namespace),
        service=principal(namespace),
        session="AutoScaling-Manage",
        source_arn=target_arn,
    )


def _name(namespace: str) -> str:
    return f"AWSServiceRoleForApplicationAutoScaling_{_ROLES[namespace][0]}"


def _role(cloud: Cloud, namespace: str) -> dict[str, Any]:
    from ministack.services import iam

    trust = {"Effect": "Allow", "Principal": {"Service": principal(namespace)}, "Action": "sts:AssumeRole"}
    allowed = {"Effect": "Allow", "Action": [*_ROLES[namespace][1], *_ALARMS], "Resource": "*"}
    return {
        "RoleName": _name(namespace),
        "Arn": arn(cloud, namespace),
        "RoleId": iam._gen_id("AROA"),
        "CreateDate": iam._now(),
        "Path": f"/aws-service-role/{principal(namespace)}/",
        "AssumeRolePolicyDocument": json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        "Description": "",
        "MaxSessionDuration": 3600,
        "AttachedPolicies": [],
        "InlinePolicies": {"Scaling": json.dumps({"Version": "2012-10-17", "Statement": [allowed]})},
        "Tags": [],
    }
