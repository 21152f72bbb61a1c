"""Properties that resource types do not have."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.aws.differences.template_properties import _types, unknown_properties


@pytest.mark.parametrize(
    ("kind", "properties", "unknown"),
    [
        ("AWS::SQS::Queue", {"QueueName": "a", "Tags": [{"Key": "a", "Value": {"Ref": "B"}}]}, []),
        ("AWS::SQS::Queue", {"Name": "a"}, [([], "Name")]),
        ("AWS::SQS::Queue", {"Arn": "of its own"}, [([], "Arn")]),
        ("AWS::SQS::Queue", {"Tags": [{"Key": "a", "Val": "b"}]}, [(["Tags", "0"], "Val")]),
        ("AWS::SQS::Queue", {"Fn::If": ["C", {"Name": "a"}, {}]}, []),
        ("AWS::SQS::Queue", {"RedrivePolicy": {"anything": 1}}, [(["RedrivePolicy"], "anything")]),
        ("AWS::IAM::Role", {"AssumeRolePolicyDocument": {"Anything": 1}}, []),
        ("AWS::Lambda::Function", {"Environment": {"Variables": {"any": "thing"}, "Vars": {}}},
         [(["Environment"], "Vars")]),
        ("AWS::S3::Bucket", {"VersioningConfiguration": {"State": "On"}},
         [(["VersioningConfiguration"], "State")]),
        ("Custom::Thing", {"ServiceToken": "a", "Any": 1}, []),
        ("AWS::Unknown::Thing", {"Any": 1}, []),
    ],
)  # fmt: skip
def test_unknown_properties(kind: str, properties: Any, unknown: list[Any]) -> None:
    assert list(unknown_properties(kind, properties)) == unknown


def test_every_type_of_ministack_is_known() -> None:
    from ministack.services.cloudformation import provisioners

    ours = {name for name in provisioners._RESOURCE_HANDLERS if name.startswith("AWS::SageMaker::")}
    missing = provisioners._RESOURCE_HANDLERS.keys() - _types().keys() - ours
    assert missing <= {"AWS::CloudFormation::CustomResource", "AWS::ApplicationAutoScaling::ScalableTarget",
                       "AWS::ApplicationAutoScaling::ScalingPolicy"}  # fmt: skip
