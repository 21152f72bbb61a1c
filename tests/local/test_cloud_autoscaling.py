"""Application Auto Scaling with boto3, and through templates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from localcloud.context import Cloud, Credentials
from tests.local.support import code_of

DIMENSION = "lambda:function:ProvisionedConcurrency"
Actor = Callable[[list[dict[str, Any]]], Credentials]


@pytest.fixture
def client(cloud: Cloud, admin: Credentials) -> Any:
    return cloud.client("application-autoscaling", admin)


@pytest.fixture
def target(request: pytest.FixtureRequest) -> dict[str, str]:
    name = request.node.name.replace("[", "-").replace("]", "")
    return {
        "ServiceNamespace": "lambda",
        "ResourceId": f"function:{name}:live",
        "ScalableDimension": DIMENSION,
    }


def tracking(value: float = 70.0, **more: Any) -> dict[str, Any]:
    specification = {"PredefinedMetricType": "LambdaProvisionedConcurrencyUtilization"}
    return {"TargetValue": value, "PredefinedMetricSpecification": specification, **more}


def test_register_describe_update_deregister(client: Any, target: dict[str, str]) -> None:
    arn = client.register_scalable_target(**target, MinCapacity=1, MaxCapacity=4)["ScalableTargetARN"]
    again = client.register_scalable_target(**target, MaxCapacity=6)["ScalableTargetARN"]
    assert again == arn
    found = client.describe_scalable_targets(ServiceNamespace="lambda", ResourceIds=[target["ResourceId"]])
    (described,) = found["ScalableTargets"]
    assert (described["MinCapacity"], described["MaxCapacity"]) == (1, 6)
    assert described["ScalableTargetARN"] == arn
    assert described["SuspendedState"]["DynamicScalingInSuspended"] is False
    client.deregister_scalable_target(**target)
    code, message = code_of(lambda: client.deregister_scalable_target(**target))
    assert code == "ObjectNotFoundException"
    assert target["ResourceId"] in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"MinCapacity": 5, "MaxCapacity": 4}, "less than or equal"),
        ({"MaxCapacity": 4}, "needs MinCapacity and MaxCapacity"),
        ({"MinCapacity": 1, "MaxCapacity": 2, "ResourceId": "nothing"}, "Invalid resource ID"),
        (
            {"MinCapacity": 1, "MaxCapacity": 2, "ScalableDimension": "ecs:service:DesiredCount"},
            "Unsupported service namespace",
        ),
        (
            {
                "ServiceNamespace": "sagemaker",
                "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
                "ResourceId": "endpoint/none/variant/main",
                "MinCapacity": 1,
                "MaxCapacity": 2,
            },
            "does not exist",
        ),
    ],
)
def test_refused_targets(client: Any, target: dict[str, str], change: dict[str, Any], words: str) -> None:
    code, message = code_of(lambda: client.register_scalable_target(**{**target, **change}))
    assert code == "ValidationException"
    assert words in message


def test_values_outside_the_model_are_refused(client: Any, target: dict[str, str]) -> None:
    bad = {**target, "ScalableDimension": "lambda:function:Everything"}
    code, message = code_of(lambda: client.register_scalable_target(**bad, MinCapacity=1, MaxCapacity=2))
    assert code == "ValidationException"
    assert "enum value set" in message


def test_policy_needs_a_target(client: Any, target: dict[str, str]) -> None:
    call = {**target, "PolicyName": "p", "PolicyType": "TargetTrackingScaling"}
    code, _message = code_of(
        lambda: client.put_scaling_policy(**call, TargetTrackingScalingPolicyConfiguration=tracking())
    )
    assert code == "ObjectNotFoundException"


def test_policy_gets_alarms_and_takes_them_along(
    client: Any, target: dict[str, str], cloud: Cloud, admin: Credentials
) -> None:
    cloudwatch = cloud.client("cloudwatch", admin)
    client.register_scalable_target(**target, MinCapacity=1, MaxCapacity=4)
    metric = {
        "MetricName": "Load",
        "Namespace": "Test",
        "Statistic": "Average",
        "Dimensions": [{"Name": "Of", "Value": "this"}],
    }
    configuration = {"TargetValue": 50.0, "CustomizedMetricSpecification": metric}
    call = {**target, "PolicyName": "track", "PolicyType": "TargetTrackingScaling"}
    put = client.put_scaling_policy(**call, TargetTrackingScalingPolicyConfiguration=configuration)
    names = [alarm["AlarmName"] for alarm in put["Alarms"]]
    alarms = {
        alarm["ComparisonOperator"]: alarm
        for alarm in cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]
    }
    assert alarms["GreaterThanThreshold"]["Threshold"] == 50
    assert alarms["LessThanThreshold"]["Threshold"] == 45
    assert alarms["GreaterThanThreshold"]["AlarmActions"] == [put["PolicyARN"]]
    (policy,) = client.describe_scaling_policies(ServiceNamespace="lambda", PolicyNames=["track"])[
        "ScalingPolicies"
    ]
    assert policy["Alarms"] == put["Alarms"]
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 50
    configuration["DisableScaleIn"] = True
    again = client.put_scaling_policy(**call, TargetTrackingScalingPolicyConfiguration=configuration)
    assert again["PolicyARN"] == put["PolicyARN"]
    assert [("AlarmHigh" in alarm["AlarmName"]) for alarm in again["Alarms"]] == [True]
    assert cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"] == []
    client.deregister_scalable_target(**target)
    assert (
        client.describe_scaling_policies(ServiceNamespace="lambda", PolicyNames=["track"])["ScalingPolicies"]
        == []
    )
    left = cloudwatch.describe_alarms(AlarmNames=[alarm["AlarmName"] for alarm in again["Alarms"]])
    assert left["MetricAlarms"] == []


def test_one_policy_per_metric(client: Any, target: dict[str, str]) -> None:
    client.register_scalable_target(**target, MinCapacity=1, MaxCapacity=4)
    call = {**target, "PolicyType": "TargetTrackingScaling"}
    client.put_scaling_policy(**call, PolicyName="a", TargetTrackingScalingPolicyConfiguration=tracking())
    code, message = code_of(
        lambda: client.put_scaling_policy(
            **call, PolicyName="b", TargetTrackingScalingPolicyConfiguration=tracking(50)
        )
    )
    assert code == "ValidationException"
    assert "Only one" in message
    client.delete_scaling_policy(**target, PolicyName="a")
    assert code_of(lambda: client.delete_scaling_policy(**target, PolicyName="a"))[0] == (
        "ObjectNotFoundException"
    )


def test_tags(client: Any, target: dict[str, str]) -> None:
    arn = client.register_scalable_target(**target, MinCapacity=1, MaxCapacity=2, Tags={"a": "1", "b": "2"})[
        "ScalableTargetARN"
    ]
    client.tag_resource(ResourceARN=arn, Tags={"c": "3"})
    client.untag_resource(ResourceARN=arn, TagKeys=["a", "gone"])
    assert client.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"b": "2", "c": "3"}
    missing = arn[:-4] + "0000"
    assert (
        code_of(lambda: client.list_tags_for_resource(ResourceARN=missing))[0] == "ResourceNotFoundException"
    )


def test_pages(client: Any, target: dict[str, str]) -> None:
    ids = [f"function:page{number}:live" for number in range(5)]
    for resource in ids:
        client.register_scalable_target(**{**target, "ResourceId": resource}, MinCapacity=1, MaxCapacity=2)
    pages = client.get_paginator("describe_scalable_targets").paginate(
        ServiceNamespace="lambda", ResourceIds=ids, PaginationConfig={"PageSize": 2}
    )
    assert [found["ResourceId"] for page in pages for found in page["ScalableTargets"]] == ids
    code, _message = code_of(
        lambda: client.describe_scalable_targets(ServiceNamespace="lambda", NextToken="nonsense")
    )
    assert code in {"InvalidNextTokenException", "ValidationException"}


def test_iam_decides(cloud: Cloud, actor: Actor, target: dict[str, str]) -> None:
    nobody = cloud.client("application-autoscaling", actor([]))
    code, message = code_of(lambda: nobody.register_scalable_target(**target, MinCapacity=1, MaxCapacity=2))
    assert code == "AccessDeniedException"
    assert "application-autoscaling:RegisterScalableTarget" in message
    allowed = {
        "Effect": "Allow",
        "Action": "application-autoscaling:RegisterScalableTarget",
        "Resource": "*",
        "Condition": {"StringEquals": {"application-autoscaling:service-namespace": "ecs"}},
    }
    other = cloud.client("application-autoscaling", actor([allowed]))
    assert code_of(lambda: other.register_scalable_target(**target, MinCapacity=1, MaxCapacity=2))[0] == (
        "AccessDeniedException"
    )
    allowed["Condition"]["StringEquals"]["application-autoscaling:service-namespace"] = "lambda"  # type: ignore[index]
    right = cloud.client("application-autoscaling", actor([allowed]))
    right.register_scalable_target(**target, MinCapacity=1, MaxCapacity=2)


def scheduled(target: dict[str, str], name: str, **more: Any) -> dict[str, Any]:
    bounds = {"MinCapacity": 2, "MaxCapacity": 3}
    action = {"Schedule": "cron(0 8 ? * MON-FRI *)", "ScalableTargetAction": bounds}
    return {**target, "ScheduledActionName": name, **action, **more}


def test_scheduled_actions(client: Any, target: dict[str, str]) -> None:
    assert code_of(lambda: client.put_scheduled_action(**scheduled(target, "a")))[0] == (
        "ObjectNotFoundException"
    )
    client.register_scalable_target(**target, MinCapacity=1, MaxCapacity=4)
    client.put_scheduled_action(**scheduled(target, "a", Timezone="Europe/Berlin"))
    client.put_scheduled_action(**scheduled(target, "b", Schedule="rate(1 hour)"))
    client.put_scheduled_action(**target, ScheduledActionName="b", ScalableTargetAction={"MinCapacity": 1})
    found = client.describe_scheduled_actions(ServiceNamespace="lambda", ResourceId=target["ResourceId"])
    first, second = found["ScheduledActions"]
    assert (first["ScheduledActionName"], first["Timezone"]) == ("a", "Europe/Berlin")
    assert ":scheduledAction:" in first["ScheduledActionARN"]
    assert second["Schedule"] == "rate(1 hour)"
    assert second["ScalableTargetAction"] == {"MinCapacity": 1}
    client.delete_scheduled_action(**target, ScheduledActionName="a")
    assert code_of(lambda: client.delete_scheduled_action(**target, ScheduledActionName="a"))[0] == (
        "ObjectNotFoundException"
    )
    client.deregister_scalable_target(**target)
    left = client.describe_scheduled_actions(ServiceNamespace="lambda", ScheduledActionNames=["b"])
    assert left["ScheduledActions"] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Schedule": "cron(0 8 * * *)"}, "six fields"),
        ({"Timezone": "Mars/Olympus"}, "time zone"),
        ({"ScalableTargetAction": {}}, "needs MinCapacity"),
        ({"ScalableTargetAction": {"MinCapacity": 4, "MaxCapacity": 3}}, "less than or equal"),
        ({"StartTime": 2e9, "EndTime": 1.9e9}, "later than its start"),
    ],
)
def test_refused_scheduled_actions(
    client: Any, target: dict[str, str], change: dict[str, Any], words: str
) -> None:
    client.register_scalable_target(**target, MinCapacity=1, MaxCapacity=4)
    code, message = code_of(lambda: client.put_scheduled_action(**scheduled(target, "a", **change)))
    assert code == "ValidationException"
    assert words in message


def test_refused_policies(client: Any, target: dict[str, str]) -> None:
    client.register_scalable_target(**target, MinCapacity=1, MaxCapacity=4)
    call = {**target, "PolicyName": "p", "PolicyType": "TargetTrackingScaling"}
    math = {"Metrics": [{"Id": "m", "Expression": "a/b"}]}
    stat = {"Metric": {"Namespace": "Test", "MetricName": "Load"}, "Stat": "Sum"}
    both = {"Metrics": [{"Id": "m", "MetricStat": stat}], "Namespace": "Test"}
    half = {"MetricName": "Load", "Namespace": "Test"}
    for configuration, words in (
        ({"TargetValue": 1.0, "CustomizedMetricSpecification": math}, "at least one of them a metric"),
        ({"TargetValue": 1.0, "CustomizedMetricSpecification": both}, "cannot be given with Namespace"),
        ({"TargetValue": 1.0, "CustomizedMetricSpecification": half}, "needs MetricName"),
        (tracking(0.0), "greater than 0"),
        (tracking(ScaleInCooldown=-1), "negative"),
    ):
        code, message = code_of(
            lambda: client.put_scaling_policy(**call, TargetTrackingScalingPolicyConfiguration=configuration)  # noqa: B023
        )
        assert code == "ValidationException"
        assert words in message


def test_the_first_target_needs_the_right_to_make_the_service_linked_role(
    cloud: Cloud, admin: Credentials, actor: Actor
) -> None:
    table = {
        "ServiceNamespace": "dynamodb",
        "ResourceId": "table/linked-role",
        "ScalableDimension": "dynamodb:table:ReadCapacityUnits",
        "MinCapacity": 1,
        "MaxCapacity": 2,
    }
    register: dict[str, Any] = {
        "Effect": "Allow",
        "Action": "application-autoscaling:RegisterScalableTarget",
        "Resource": "*",
    }
    without = cloud.client("application-autoscaling", actor([register]))
    code, message = code_of(lambda: without.register_scalable_target(**table))
    assert code == "AccessDeniedException"
    assert "iam:CreateServiceLinkedRole" in message
    create = {
        "Effect": "Allow",
        "Action": "iam:CreateServiceLinkedRole",
        "Resource": "*",
        "Condition": {
            "StringEquals": {"iam:AWSServiceName": "dynamodb.application-autoscaling.amazonaws.com"}
        },
    }
    cloud.client("application-autoscaling", actor([register, create])).register_scalable_target(**table)
    without.register_scalable_target(**table)
    (described,) = cloud.client("application-autoscaling", admin).describe_scalable_targets(
        ServiceNamespace="dynamodb", ResourceIds=["table/linked-role"]
    )["ScalableTargets"]
    role = cloud.client("iam", admin).get_role(
        RoleName="AWSServiceRoleForApplicationAutoScaling_DynamoDBTable"
    )
    assert role["Role"]["Arn"] == described["RoleARN"]
