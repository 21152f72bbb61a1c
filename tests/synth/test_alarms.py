"""Which alarms there are, whom they tell, and that the on-call page knows them."""

from __future__ import annotations

import dataclasses
import json
import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from aws_cdk.assertions import Template

from stacks.environments import AlarmSettings, environments

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
WITH_TOPIC = ("staging", "prod")


def _names(assembly):
    """Logical ids of the alarms, less CDK's hash."""
    return {logical_id[:-8] for logical_id in assembly.of_type("AWS::CloudWatch::Alarm")}


def _named(cell):
    """Patterns of an entry of the page's table: `A...B`, `...C` are A*B and A*C."""
    patterns = []
    for name in re.findall(r"`([^`]+)`", cell):
        start, _, end = name.partition("...")
        patterns.append(f"{start or patterns[-1].partition('*')[0]}*{end}")
    return patterns


def test_the_page_has_each_alarm_of_prod_and_no_other(synthesize):
    rows = PAGE.partition("| Alarm |")[2].partition("\n\n")[0].splitlines()[2:]
    patterns = [pattern for row in rows for pattern in _named(row.split("|")[1])]
    known = _names(synthesize("prod"))
    assert len(known) == len(patterns)
    for pattern in patterns:
        assert len([name for name in known if fnmatchcase(name, pattern)]) == 1, pattern


def test_every_alarm_tells_the_topic_of_its_stage_when_it_begins_and_ends(assembly):
    alarms = assembly.of_type("AWS::CloudWatch::Alarm").values()
    told = {json.dumps(alarm.get(way)) for alarm in alarms for way in ("AlarmActions", "OKActions")}
    if assembly.environment not in WITH_TOPIC:
        assert told == {"null"}
        assert not assembly.of_type("AWS::SNS::Topic")
        return
    ((topic, _),) = assembly.of_type("AWS::SNS::Topic").items()
    # By name in its own stack, by export in the other.
    assert len(told) == 2
    assert all(topic in actions for actions in told)
    assert assembly.templates["serving"]["Outputs"]["AlarmTopicArn"]["Value"] == {"Ref": topic}


@pytest.mark.parametrize("stage", WITH_TOPIC)
def test_a_topic_is_under_its_own_key_and_open_to_the_stages_alarms_over_tls_alone(synthesize, stage):
    serving = synthesize(stage).templates["serving"]
    resources = {
        name: resource["Properties"]
        for name, resource in serving["Resources"].items()
        if name.startswith("Alarms")
    }
    kinds = {serving["Resources"][name]["Type"]: properties for name, properties in resources.items()}
    (key,) = (name for name in resources if serving["Resources"][name]["Type"] == "AWS::KMS::Key")
    assert kinds["AWS::SNS::Topic"]["KmsMasterKeyId"] == {"Fn::GetAtt": [key, "Arn"]}
    assert kinds["AWS::KMS::Key"]["EnableKeyRotation"] is True
    refused, published = kinds["AWS::SNS::TopicPolicy"]["PolicyDocument"]["Statement"]
    assert (refused["Effect"], refused["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    _, used = kinds["AWS::KMS::Key"]["KeyPolicy"]["Statement"]
    assert published["Action"] == "sns:Publish"
    assert used["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    for statement in (published, used):
        assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        conditions = statement["Condition"]
        assert conditions["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
        source = conditions["ArnLike"]["aws:SourceArn"]
        assert source["Fn::Join"][1][-1] == f":alarm:modelyard-{stage}-*"


def test_whom_the_environment_names_is_asked_to_subscribe(new_app):
    from app import compose

    app, prod = new_app(), environments()["prod"]
    compose(app, dataclasses.replace(prod, alarms=AlarmSettings(emails=("a@example.com", "b@example.com"))))
    template = Template.from_stack(app.node.find_child("Serving"))
    found = template.find_resources("AWS::SNS::Subscription").values()
    assert [(one["Properties"]["Protocol"], one["Properties"]["Endpoint"]) for one in found] == [
        ("email", "a@example.com"),
        ("email", "b@example.com"),
    ]


@pytest.mark.parametrize("address", ["", "on-call", "a b@example.com", "a@b"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ValueError, match="is no address"):
        AlarmSettings(emails=(address,))
