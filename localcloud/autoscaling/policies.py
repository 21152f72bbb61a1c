"""Scaling policies, each with the CloudWatch alarms that would trigger it.

https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PutScalingPolicy.html
"""

from __future__ import annotations

import uuid
from typing import Any

from localcloud.autoscaling import alarms, targets
from localcloud.autoscaling.rules import steps
from localcloud.autoscaling.rules.steps import StepPolicy
from localcloud.autoscaling.rules.tracking import Policy
from localcloud.autoscaling.service import AutoScaling, Call, Operation
from localcloud.cloudwatch.expression import ExpressionError
from localcloud.sagemaker.errors import ServiceError, validation
from localcloud.sagemaker.pagination import page
from localcloud.sagemaker.store import now

KIND = "scaling-policy"
_PAGE = 50
_TRACKING = "TargetTrackingScaling"
# Seconds, where a policy names no cooldowns; 0 for what is not listed.
# https://docs.aws.amazon.com/autoscaling/application/APIReference/API_TargetTrackingScalingPolicyConfiguration.html
_COOLDOWNS = {"sagemaker": 300, "ecs": 300}
_CONFIGURATIONS = {
    _TRACKING: "TargetTrackingScalingPolicyConfiguration",
    "StepScaling": "StepScalingPolicyConfiguration",
}


def _name_of(policy: dict[str, Any]) -> str:
    return f"{targets.name_of(policy)}|{policy['PolicyName']}"


def of_target(service: AutoScaling, target: dict[str, Any]) -> list[dict[str, Any]]:
    """Every policy of a target, oldest first."""
    return service.store.query(KIND, prefix=f"{targets.name_of(target)}|")


def tracking(policy: dict[str, Any]) -> Policy | None:
    """A target tracking policy as the rules take it; None for other kinds and metrics not known here."""
    configuration = policy.get(_CONFIGURATIONS[_TRACKING])
    source = None if configuration is None else alarms.metric(policy)
    if configuration is None or source is None:
        return None
    cooldown = _COOLDOWNS.get(policy["ServiceNamespace"], 0)
    return Policy(
        name=policy["PolicyName"],
        target=configuration["TargetValue"],
        out_cooldown=configuration.get("ScaleOutCooldown", cooldown),
        in_cooldown=configuration.get("ScaleInCooldown", cooldown),
        disable_in=configuration.get("DisableScaleIn", False),
        period=alarms.period(source),
    )


def stepping(policy: dict[str, Any]) -> StepPolicy | None:
    """A step scaling policy as the rules take it; None for other kinds."""
    configuration = policy.get(_CONFIGURATIONS["StepScaling"])
    return None if configuration is None else steps.read(policy["PolicyName"], configuration)


def remove(service: AutoScaling, policy: dict[str, Any]) -> None:
    """Delete a policy and its alarms."""
    alarms.delete(service.cloud, policy["Alarms"])
    service.store.delete(KIND, _name_of(policy))


def _put(call: Call) -> dict[str, Any]:
    call.require("PutScalingPolicy", targets.arn_or_any(call))
    # The alarms are made with the caller's permissions.
    call.require("PutMetricAlarm", service="cloudwatch")
    target, request, store = targets.find(call), call.request, call.service.store
    known = store.find(KIND, _name_of(request))
    kind = request.get("PolicyType") or (known or {}).get("PolicyType") or "StepScaling"
    _check(call, kind, target)
    if known is not None and known["PolicyType"] != kind:
        raise validation("The type of a scaling policy cannot be changed; delete the policy first.")
    policy = {
        **(known or {"PolicyARN": _arn(call), "CreationTime": now(), "Alarms": []}),
        **request,
        "PolicyType": kind,
    }
    for other, member in _CONFIGURATIONS.items():
        if other != kind:
            policy.pop(member, None)
    wanted = alarms.for_tracking(policy, tracking(policy)) if kind == _TRACKING else []
    policy["Alarms"] = alarms.replace(call.service.cloud, policy["Alarms"], wanted)
    if known is None:
        store.create(KIND, _name_of(request), policy)
    else:
        store.update(KIND, _name_of(request), lambda record: _become(record, policy))
    return {"PolicyARN": policy["PolicyARN"], "Alarms": policy["Alarms"]}


def _become(record: dict[str, Any], policy: dict[str, Any]) -> None:
    record.clear()
    record.update(policy)


def _check(call: Call, kind: str, target: dict[str, Any]) -> None:
    request = call.request
    member = _CONFIGURATIONS.get(kind)
    if member is None:
        raise validation(f"The local Application Auto Scaling has no policies of type {kind}.")
    if member not in request:
        raise validation(f"A policy of type {kind} needs {member}.")
    if kind != _TRACKING:
        return
    configuration = request[member]
    if not configuration["TargetValue"] > 0:
        raise validation("TargetValue must be greater than 0.")
    if min(configuration.get(name, 0) for name in ("ScaleInCooldown", "ScaleOutCooldown")) < 0:
        raise validation("Cooldowns must not be negative.")
    metrics = ("PredefinedMetricSpecification", "CustomizedMetricSpecification")
    given = [name for name in metrics if name in configuration]
    if len(given) != 1:
        raise validation(f"{member} needs exactly one of {' and '.join(metrics)}.")
    custom = configuration.get("CustomizedMetricSpecification", {})
    if "Metrics" in custom:
        _check_metrics(custom)
    elif custom and not {"MetricName", "Namespace", "Statistic"} <= custom.keys():
        raise validation("CustomizedMetricSpecification needs MetricName, Namespace and Statistic.")
    for policy in of_target(call.service, target):
        same = policy.get(member, {}).get(given[0]) == configuration[given[0]]
        if policy["PolicyName"] != request["PolicyName"] and same:
            raise validation(
                "Only one TargetTrackingScaling policy for a given metric specification is allowed."
            )


def _check_metrics(custom: dict[str, Any]) -> None:
    """Metric math in the place of one metric."""
    single = [
        name for name in ("MetricName", "Namespace", "Statistic", "Dimensions", "Unit") if name in custom
    ]
    if single:
        raise validation(f"CustomizedMetricSpecification: Metrics cannot be given with {', '.join(single)}.")
    try:
        alarms.period({"Metrics": alarms.queries_of(custom)})
    except ExpressionError as error:
        raise validation(f"CustomizedMetricSpecification: {error}") from None


def _arn(call: Call) -> str:
    cloud, request = call.service.cloud, call.request
    return (
        f"arn:aws:autoscaling:{cloud.region}:{cloud.account}:scalingPolicy:{uuid.uuid4()}:resource/"
        f"{request['ServiceNamespace']}/{request['ResourceId']}:policyName/{request['PolicyName']}"
    )


def _describe(call: Call) -> dict[str, Any]:
    call.require("DescribeScalingPolicies")
    request = call.request
    filters = ("ServiceNamespace", "ResourceId", "ScalableDimension")
    found = call.service.store.query(
        KIND,
        where=lambda policy: (
            all(policy[name] == request.get(name, policy[name]) for name in filters)
            and policy["PolicyName"] in request.get("PolicyNames", [policy["PolicyName"]])
        ),
    )
    chosen, token = page(found, request, key=_name_of, default=_PAGE)
    return {"ScalingPolicies": chosen, "NextToken": token}


def _delete(call: Call) -> dict[str, Any]:
    call.require("DeleteScalingPolicy", targets.arn_or_any(call))
    call.require("DeleteAlarms", service="cloudwatch")
    policy = call.service.store.find(KIND, _name_of(call.request))
    if policy is None:
        raise ServiceError(
            "ObjectNotFoundException",
            f"No scaling policy found for {targets.described(call.request)}, "
            f"policy name: {call.request['PolicyName']}.",
        )
    remove(call.service, policy)
    return {}


OPERATIONS: dict[str, Operation] = {
    "PutScalingPolicy": _put,
    "DescribeScalingPolicies": _describe,
    "DeleteScalingPolicy": _delete,
}
