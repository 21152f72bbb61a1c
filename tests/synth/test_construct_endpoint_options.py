"""Data capture, schedules, and what an update is watched by."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Match, Template

from modelyard.serving import (
    DataCapture,
    EndpointScaling,
    MultiModelEndpoint,
    Rollout,
    Scaling,
    ScheduledBounds,
)
from modelyard.storage import Lifecycle
from modelyard_cli.simulate.template import read
from stacks.environments import DataSettings, environments

MORNING = ScheduledBounds(
    name="Morning",
    schedule="cron(30 6 ? * MON-FRI *)",
    timezone="Europe/Berlin",
    min_instances=2,
    max_instances=4,
)
EVENING = ScheduledBounds(name="Evening", schedule="cron(0 20 * * ? *)", min_instances=1, max_instances=3)


def _statements(stack: Any, role: str) -> list[dict[str, Any]]:
    policies = Template.from_stack(stack).find_resources("AWS::IAM::Policy")
    return [
        statement
        for name, policy in policies.items()
        if role in name
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]


def _endpoint(stack: Any, data: Any, image: Any, **members: Any) -> MultiModelEndpoint:
    return MultiModelEndpoint(stack, "E", endpoint_name="m", image=image, data=data, **members)


def test_nothing_is_captured_unless_asked_for(stack, data, image):
    _endpoint(stack, data, image)
    Template.from_stack(stack).has_resource_properties(
        "AWS::SageMaker::EndpointConfig", {"DataCaptureConfig": Match.absent()}
    )
    granted = {action for action, _ in _rights(stack, "ERole")}
    assert not granted & {"s3:PutObject", "kms:GenerateDataKey"}


def test_captures_lie_in_the_data_bucket_under_its_key(stack, data, image):
    _endpoint(stack, data, image, capture=DataCapture(percent=20))
    Template.from_stack(stack).has_resource_properties(
        "AWS::SageMaker::EndpointConfig",
        {
            "DataCaptureConfig": {
                "EnableCapture": True,
                "InitialSamplingPercentage": 20,
                "DestinationS3Uri": {"Fn::Join": ["", ["s3://", Match.any_value(), "/captures"]]},
                "KmsKeyId": {"Fn::GetAtt": [Match.string_like_regexp("Key"), "Arn"]},
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
                "CaptureContentTypeHeader": {
                    "CsvContentTypes": ["text/csv"],
                    "JsonContentTypes": ["application/json", "application/jsonlines"],
                },
            }
        },
    )


def test_captures_need_one_right_more_on_one_folder_and_one_on_the_key(stack, data, image):
    _endpoint(stack, data, image, capture=DataCapture(output=False))
    rights = _rights(stack, "ERole")
    assert "kms:GenerateDataKey" in {action for action, _ in rights}
    ((_, folder),) = (right for right in rights if right[0] == "s3:PutObject")
    assert '"/captures/m/*"' in folder
    (config,) = Template.from_stack(stack).find_resources("AWS::SageMaker::EndpointConfig").values()
    assert config["Properties"]["DataCaptureConfig"]["CaptureOptions"] == [{"CaptureMode": "Input"}]


def _rights(stack: Any, role: str) -> list[tuple[str, str]]:
    rights = []
    for statement in _statements(stack, role):
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            rights.append((action, json.dumps(statement["Resource"])))
    return rights


def test_captures_do_not_lie_among_the_models(stack, data, image):
    for prefix in ("models/multi/captures/", "models/"):
        with pytest.raises(ValueError, match="choose another"):
            _endpoint(cdk.Stack(), data, image, capture=DataCapture(prefix=prefix))


def test_an_environment_says_how_long_captures_are_kept():
    staging = environments()["staging"]
    assert all(stage.serving.capture is None for stage in environments().values())
    capturing = replace(staging.serving, capture=DataCapture())
    with pytest.raises(ValueError, match=r"Lifecycle\(expire_days=\{'captures/': 30\}\)"):
        replace(staging, serving=capturing)
    kept = DataSettings(lifecycle=Lifecycle(expire_days={"captures/": 30}))
    assert replace(staging, serving=capturing, data=kept).serving.capture == DataCapture()


def test_an_update_may_look_at_its_alarm_and_ends(stack, data, image):
    _endpoint(stack, data, image, rollout=Rollout(canary_percent=50, bake_seconds=600))
    (statement,) = [
        statement
        for statement in _statements(stack, "ERole")
        if statement["Action"] == "cloudwatch:DescribeAlarms"
    ]
    (alarm,) = Template.from_stack(stack).find_resources("AWS::CloudWatch::Alarm")
    assert statement["Resource"] == {"Fn::GetAtt": [alarm, "Arn"]}
    Template.from_stack(stack).has_resource_properties(
        "AWS::SageMaker::Endpoint",
        {
            "DeploymentConfig": {
                "BlueGreenUpdatePolicy": {
                    "TerminationWaitInSeconds": 600,
                    "MaximumExecutionTimeoutInSeconds": 3000,
                },
                "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": {"Ref": alarm}}]},
            }
        },
    )


def test_schedules_are_actions_of_the_target_and_the_simulator_reads_them(stack, data, image, tmp_path):
    endpoint = _endpoint(stack, data, image)
    EndpointScaling(stack, "Scaling", endpoint=endpoint, scaling=Scaling(schedules=(MORNING, EVENING)))
    template = Template.from_stack(stack)
    template.has_resource_properties(
        "AWS::ApplicationAutoScaling::ScalableTarget",
        {
            "ScheduledActions": [
                {
                    "ScheduledActionName": "Morning",
                    "Schedule": "cron(30 6 ? * MON-FRI *)",
                    "Timezone": "Europe/Berlin",
                    "ScalableTargetAction": {"MinCapacity": 2, "MaxCapacity": 4},
                },
                {
                    "ScheduledActionName": "Evening",
                    "Schedule": "cron(0 20 * * ? *)",
                    "Timezone": Match.absent(),
                    "ScalableTargetAction": {"MinCapacity": 1, "MaxCapacity": 3},
                },
            ]
        },
    )
    file = tmp_path / "stack.template.json"
    file.write_text(json.dumps(template.to_json()))
    monday = 1_768_176_000.0  # 2026-01-12T00:00:00Z
    morning, evening = read(file, monday).schedules
    assert morning.schedule.next_after(monday) == monday + 5.5 * 3600
    assert (morning.minimum, morning.maximum) == (2, 4)
    assert evening.schedule.next_after(monday) == monday + 20 * 3600


def test_no_schedule_leaves_no_trace(stack, data, image):
    EndpointScaling(stack, "Scaling", endpoint=_endpoint(stack, data, image))
    Template.from_stack(stack).has_resource_properties(
        "AWS::ApplicationAutoScaling::ScalableTarget", {"ScheduledActions": Match.absent()}
    )


def test_the_docs_have_the_numbers_of_each_environment():
    text = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8")
    shown = {
        cells[0].split(",")[0]: cells[1:]
        for line in text.splitlines()
        if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 4
    }
    for name, stage in environments().items():
        if name == "local-training":
            assert stage.serving == environments()["local"].serving
            continue
        scaling, rollout = stage.serving.scaling, stage.serving.rollout
        how = f"{rollout.canary_percent} % canary" if rollout.canary_percent else "all at once"
        assert shown[name] == [
            f"{scaling.min_instances} to {scaling.max_instances}",
            f"{scaling.scale_out_seconds} s, {scaling.scale_in_seconds} s",
            f"{how}, {rollout.bake_seconds} s bake{'s' if rollout.canary_percent else ''}",
        ]
