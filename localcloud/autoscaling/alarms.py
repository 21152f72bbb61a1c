"""The CloudWatch alarms of target tracking: one above the target, one well below it.

https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from localcloud.autoscaling.rules.alarm import Alarm as Rule
from localcloud.autoscaling.rules.alarm import State
from localcloud.autoscaling.rules.tracking import Policy
from localcloud.aws import administrator
from localcloud.cloudwatch import queries
from localcloud.cloudwatch.datapoints import Source
from localcloud.cloudwatch.expression import Series
from localcloud.context import Cloud

# Metric, statistic and period in seconds of SageMaker's predefined metrics.
# https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html
_PREDEFINED = {
    "SageMakerVariantInvocationsPerInstance": ("InvocationsPerInstance", "Sum", 60),
    "SageMakerVariantConcurrentRequestsPerModelHighResolution": ("ConcurrentRequestsPerModel", "Maximum", 10),
}
_MINUTE = 60
_SHOWN = 3  # datapoints in the reason of a state
Alarm = dict[str, Any]


def for_tracking(policy: dict[str, Any], rules: Policy | None) -> list[Alarm]:
    """The alarms that a target tracking policy gets, as PutMetricAlarm takes them.

    None for metrics of other services, whose source is not known here.
    """
    source = metric(policy)
    if source is None or rules is None:
        return []
    return [
        {
            **source,
            "AlarmName": f"TargetTracking-{policy['ResourceId']}-{side}-{uuid.uuid4()}",
            "AlarmDescription": (
                f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy['PolicyARN']}."
            ),
            "AlarmActions": [policy["PolicyARN"]],
            "ComparisonOperator": alarm.comparison,
            "EvaluationPeriods": alarm.periods,
            "Threshold": alarm.threshold,
        }
        for side, alarm in (("AlarmHigh", rules.high), ("AlarmLow", rules.low))
        if alarm is not None
    ]


def name_of(policy: dict[str, Any], side: str) -> str:
    """Name of a policy's alarm, `AlarmHigh` or `AlarmLow`."""
    names: list[str] = [alarm["AlarmName"] for alarm in policy["Alarms"]]
    return next(name for name in names if f"-{side}-" in name)


def set_state(cloud: Cloud, name: str, rule: Rule, state: State, points: Sequence[float | None]) -> None:
    """Show in CloudWatch what an alarm came to."""
    newest = ", ".join(f"{value:g}" for value in points[-_SHOWN:] if value is not None)
    sides = {"GreaterThanThreshold": "greater", "LessThanThreshold": "less"}
    crossed = f"{'' if state is State.ALARM else 'not '}{sides[rule.comparison]} than"
    reason = (
        f"Insufficient Data: {rule.periods} datapoints were unknown."
        if state is State.INSUFFICIENT_DATA
        else f"Threshold Crossed: the datapoints, of which the newest are [{newest}], were {crossed} the "
        f"threshold ({rule.threshold:g})."
    )
    _client(cloud).set_alarm_state(AlarmName=name, StateValue=state.value, StateReason=reason)


def points(policy: dict[str, Any], source: Source, end: float, seconds: float, count: int) -> Series:
    """What a target tracking policy looks at, in each of the last periods, oldest first; see `Source`."""
    looked_at = metric(policy) or {}
    if "Metrics" in looked_at:
        return queries.read(looked_at["Metrics"]).points(source, end, seconds, count)
    return source(looked_at, end, seconds, count)


def metric(policy: dict[str, Any]) -> Alarm | None:
    """What a target tracking policy looks at, as PutMetricAlarm takes it; None if that is not known here."""
    configuration = policy["TargetTrackingScalingPolicyConfiguration"]
    custom = configuration.get("CustomizedMetricSpecification")
    if custom is not None and "Metrics" in custom:
        return {"Metrics": queries_of(custom)}
    if custom is not None:
        names = ("MetricName", "Namespace", "Dimensions", "Statistic", "Unit")
        return {"Period": _MINUTE, **{name: custom[name] for name in names if name in custom}}
    kind = configuration["PredefinedMetricSpecification"]["PredefinedMetricType"]
    if kind not in _PREDEFINED:
        return None
    name, statistic, period = _PREDEFINED[kind]
    _endpoint, endpoint, _variant, variant = policy["ResourceId"].split("/")
    return {
        "Namespace": "AWS/SageMaker",
        "MetricName": name,
        "Statistic": statistic,
        "Period": period,
        "Dimensions": [
            {"Name": "EndpointName", "Value": endpoint},
            {"Name": "VariantName", "Value": variant},
        ],
    }


def period(source: Alarm) -> int:
    """Seconds, of a metric as PutMetricAlarm takes it."""
    return queries.read(source["Metrics"]).period if "Metrics" in source else int(source["Period"])


def queries_of(custom: dict[str, Any]) -> list[dict[str, Any]]:
    """Metric math of a policy as PutMetricAlarm takes it, by the minute unless it says otherwise.

    https://docs.aws.amazon.com/autoscaling/application/APIReference/API_TargetTrackingMetricDataQuery.html
    """
    return [
        {**query, "MetricStat": {"Period": _MINUTE, **query["MetricStat"]}}
        if "MetricStat" in query
        else query
        for query in custom["Metrics"]
    ]


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
