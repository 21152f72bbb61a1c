"""The CloudWatch alarms of target tracking: one above the target, one well below it.

https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html
"""

from __future__ import annotations

import uuid
from typing import Any

from localcloud.aws import administrator
from localcloud.context import Cloud

# Metric, statistic and period in seconds of SageMaker's predefined metrics.
# https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html
_PREDEFINED = {
    "SageMakerVariantInvocationsPerInstance": ("InvocationsPerInstance", "Sum", 60),
    "SageMakerVariantConcurrentRequestsPerModelHighResolution": ("ConcurrentRequestsPerModel", "Maximum", 10),
}
# AWS scales out after three minutes above the target, and in after fifteen minutes below 90 % of it.
_HIGH = ("AlarmHigh", "GreaterThanThreshold", 3, 1.0)
_LOW = ("AlarmLow", "LessThanThreshold", 15, 0.9)

Alarm = dict[str, Any]


def for_tracking(policy: dict[str, Any]) -> list[Alarm]:
    """The alarms that a target tracking policy gets, as PutMetricAlarm takes them.

    None for metrics of other services, whose source is not known here.
    """
    configuration = policy["TargetTrackingScalingPolicyConfiguration"]
    metric = _metric(policy, configuration)
    if metric is None:
        return []
    sides = [_HIGH] if configuration.get("DisableScaleIn") else [_HIGH, _LOW]
    return [
        {
            **metric,
            "AlarmName": f"TargetTracking-{policy['ResourceId']}-{side}-{uuid.uuid4()}",
            "AlarmDescription": (
                f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy['PolicyARN']}."
            ),
            "AlarmActions": [policy["PolicyARN"]],
            "ComparisonOperator": comparison,
            "EvaluationPeriods": periods,
            "Threshold": configuration["TargetValue"] * share,
        }
        for side, comparison, periods, share in sides
    ]


def _metric(policy: dict[str, Any], configuration: dict[str, Any]) -> Alarm | None:
    custom = configuration.get("CustomizedMetricSpecification")
    if custom is not None:
        names = ("MetricName", "Namespace", "Dimensions", "Statistic", "Unit")
        return {"Period": 60, **{name: custom[name] for name in names if name in custom}}
    kind = configuration["PredefinedMetricSpecification"]["PredefinedMetricType"]
    if kind not in _PREDEFINED:
        return None
    metric, statistic, period = _PREDEFINED[kind]
    _endpoint, endpoint, _variant, variant = policy["ResourceId"].split("/")
    return {
        "Namespace": "AWS/SageMaker",
        "MetricName": metric,
        "Statistic": statistic,
        "Period": period,
        "Dimensions": [
            {"Name": "EndpointName", "Value": endpoint},
            {"Name": "VariantName", "Value": variant},
        ],
    }


def replace(cloud: Cloud, old: list[dict[str, str]], wanted: list[Alarm]) -> list[dict[str, str]]:
    """Make the wanted alarms and delete the old ones; names and ARNs of the new ones."""
    client = _client(cloud)
    for alarm in wanted:
        client.put_metric_alarm(**alarm)
    delete(cloud, old)
    return [
        {"AlarmName": alarm["AlarmName"], "AlarmARN": _arn(cloud, alarm["AlarmName"])} for alarm in wanted
    ]


def delete(cloud: Cloud, alarms: list[dict[str, str]]) -> None:
    """Delete alarms; those that somebody deleted already are no error."""
    if not alarms:
        return
    client = _client(cloud)
    found = client.describe_alarms(AlarmNames=[alarm["AlarmName"] for alarm in alarms])["MetricAlarms"]
    if found:
        client.delete_alarms(AlarmNames=[alarm["AlarmName"] for alarm in found])


def _arn(cloud: Cloud, name: str) -> str:
    return f"arn:aws:cloudwatch:{cloud.region}:{cloud.account}:alarm:{name}"


def _client(cloud: Cloud) -> Any:
    return cloud.client("cloudwatch", administrator.credentials(cloud.folder))
