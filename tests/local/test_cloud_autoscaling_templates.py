"""Scalable targets, policies and scheduled actions of templates."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import WaiterError

from localcloud.context import Cloud, Credentials
from tests.local.test_cloud_autoscaling import DIMENSION, tracking


@pytest.fixture
def client(cloud: Cloud, admin: Credentials) -> Any:
    return cloud.client("application-autoscaling", admin)


def template(resource: str, maximum: int, policy_name: str = "track") -> str:
    return json.dumps(
        {
            "Resources": {
                "Target": {
                    "Type": "AWS::ApplicationAutoScaling::ScalableTarget",
                    "Properties": {
                        "MaxCapacity": str(maximum),
                        "MinCapacity": 1,
                        "ResourceId": resource,
                        "ScalableDimension": DIMENSION,
                        "ServiceNamespace": "lambda",
                    },
                },
                "Policy": {
                    "Type": "AWS::ApplicationAutoScaling::ScalingPolicy",
                    "Properties": {
                        "PolicyName": policy_name,
                        "PolicyType": "TargetTrackingScaling",
                        "ScalingTargetId": {"Ref": "Target"},
                        "TargetTrackingScalingPolicyConfiguration": tracking(
                            50, ScaleInCooldown="30", DisableScaleIn="false"
                        ),
                    },
                },
            },
            "Outputs": {
                "Target": {"Value": {"Ref": "Target"}},
                "Policy": {"Value": {"Ref": "Policy"}},
                "Arn": {"Value": {"Fn::GetAtt": ["Policy", "Arn"]}},
            },
        }
    )


def test_templates_create_update_replace_delete(cloud: Cloud, admin: Credentials, client: Any) -> None:
    cloudformation = cloud.client("cloudformation", admin)
    resource, stack = "function:from-template:live", "autoscaling-types"

    def outputs() -> dict[str, str]:
        found = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]
        return {output["OutputKey"]: output["OutputValue"] for output in found}

    def targets(resource_id: str) -> list[dict[str, Any]]:
        found = client.describe_scalable_targets(ServiceNamespace="lambda", ResourceIds=[resource_id])
        result: list[dict[str, Any]] = found["ScalableTargets"]
        return result

    cloudformation.create_stack(StackName=stack, TemplateBody=template(resource, 4))
    cloudformation.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    first = outputs()
    assert first["Target"] == f"{resource}|{DIMENSION}|lambda"
    assert first["Policy"] == first["Arn"]
    assert targets(resource)[0]["MaxCapacity"] == 4
    cloudformation.update_stack(StackName=stack, TemplateBody=template(resource, 8))
    cloudformation.get_waiter("stack_update_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    assert targets(resource)[0]["MaxCapacity"] == 8
    assert outputs() == first
    moved = "function:moved:live"
    cloudformation.update_stack(StackName=stack, TemplateBody=template(moved, 8, "renamed"))
    cloudformation.get_waiter("stack_update_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    assert targets(resource) == []
    assert len(targets(moved)) == 1
    assert outputs()["Policy"] != first["Policy"]
    (policy,) = client.describe_scaling_policies(ServiceNamespace="lambda", ResourceId=moved)[
        "ScalingPolicies"
    ]
    assert policy["PolicyName"] == "renamed"
    cloudformation.delete_stack(StackName=stack)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    assert targets(moved) == []


def test_a_refused_target_rolls_the_stack_back(cloud: Cloud, admin: Credentials) -> None:
    cloudformation = cloud.client("cloudformation", admin)
    cloudformation.create_stack(StackName="refused-target", TemplateBody=template("function:x:live", 0))
    with pytest.raises(WaiterError):
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName="refused-target", WaiterConfig={"Delay": 1}
        )
    events = cloudformation.describe_stack_events(StackName="refused-target")["StackEvents"]
    assert any("less than or equal" in event.get("ResourceStatusReason", "") for event in events)
    cloudformation.delete_stack(StackName="refused-target")


def test_scheduled_actions_of_a_template(cloud: Cloud, admin: Credentials, client: Any) -> None:
    cloudformation, stack = cloud.client("cloudformation", admin), "autoscaling-schedules"
    resource = "function:scheduled:live"

    def body(*names: str) -> str:
        document = json.loads(template(resource, 4))
        document["Resources"]["Target"]["Properties"]["ScheduledActions"] = [
            {
                "ScheduledActionName": name,
                "Schedule": "at(2099-01-01T00:00:00)",
                "StartTime": "2030-01-01T00:00:00Z",
                "ScalableTargetAction": {"MinCapacity": "2"},
            }
            for name in names
        ]
        return json.dumps(document)

    def names() -> list[str]:
        found = client.describe_scheduled_actions(ServiceNamespace="lambda", ResourceId=resource)
        return [action["ScheduledActionName"] for action in found["ScheduledActions"]]

    cloudformation.create_stack(StackName=stack, TemplateBody=body("a", "b"))
    cloudformation.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    assert names() == ["a", "b"]
    cloudformation.update_stack(StackName=stack, TemplateBody=body("b", "c"))
    cloudformation.get_waiter("stack_update_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    assert names() == ["b", "c"]
    cloudformation.delete_stack(StackName=stack)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    assert names() == []
