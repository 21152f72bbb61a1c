"""The deployer's handler: its events, its schedule, its settings, and a whole deployment."""

import hashlib
import importlib
import io
import json
import tarfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from botocore.stub import ANY, Stubber
from serving_runtime.canary import Rules
from serving_runtime.errors import ReconcileError
from serving_runtime.events import groups_of
from serving_runtime.item import to_item
from serving_runtime.record import Canary, Record
from serving_runtime.settings import Settings

from tests.unit.deployer.deployer_support import (
    DEPLOYMENT,
    SETTINGS,
    body,
    described,
    put_of,
    summary,
)

CHANGE = {
    "source": "aws.sagemaker",
    "detail-type": "SageMaker Model Package State Change",
    "detail": {"ModelPackageGroupName": "loans", "ModelPackageVersion": 3, "ModelApprovalStatus": "Approved"},
}


@pytest.mark.parametrize(
    ("event", "groups"),
    [
        (CHANGE, ("loans",)),
        ({**CHANGE, "detail": {"ModelPackageGroupName": "theirs"}}, ()),
        ({**CHANGE, "detail": {}}, ()),
        ({"detail-type": "Scheduled Event", "detail": {}}, ("loans", "homes")),
        ({"group": "homes"}, ("homes",)),
    ],
)
def test_event_names_groups(event, groups):
    assert groups_of(event, SETTINGS.groups) == groups


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({}, "event of kind None"),
        ({"group": "theirs"}, "'theirs' is not deployed here; known: loans, homes"),
        ({"detail-type": "Object Created"}, "event of kind 'Object Created'"),
    ],
)
def test_other_events_are_refused(event, message):
    with pytest.raises(ValueError, match=message):
        groups_of(event, SETTINGS.groups)


def model_archive():
    content = {"schema": 1, "golden": {"instances": [{"x": 1}], "predictions": [2.5], "tolerance": 1e-4}}
    data = json.dumps(content).encode()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    return file.getvalue()


@pytest.fixture
def handler(monkeypatch):
    for name, value in {**SETTINGS.to_environment(), "AWS_DEFAULT_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    return importlib.reload(importlib.import_module("serving_runtime.handler"))


def stub_ports(handler):
    ports = handler.PORTS
    clients = {
        "sagemaker": ports.registry._client,
        "dynamodb": ports.records._client,
        "s3": ports.artifacts._client,
        "runtime": ports.endpoint._invoker._client,
        "cloudwatch": ports.metrics._client,
    }
    stubs = {name: Stubber(client) for name, client in clients.items()}
    for stub in stubs.values():
        stub.activate()
    return stubs


def test_handler_deploys_an_approved_version(handler, capsys):
    stubs = stub_ports(handler)
    data = model_archive()
    sha256 = hashlib.sha256(data).hexdigest()
    artifact = f"loans/3-{sha256[:12]}.tar.gz"
    stubs["dynamodb"].add_response("get_item", {})
    stubs["sagemaker"].add_response("list_model_packages", {"ModelPackageSummaryList": [summary(3)]})
    stubs["sagemaker"].add_response("describe_model_package", described())
    stubs["s3"].add_response("get_object", {"Body": body(data)})
    stubs["s3"].add_response("put_object", {}, {**put_of(data), "Key": f"models/multi/{artifact}"})
    stubs["runtime"].add_response("invoke_endpoint", {"Body": body(b'{"predictions": [2.5]}')})
    stubs["s3"].add_response("list_objects_v2", {"Contents": [{"Key": f"models/multi/{artifact}"}]})
    stubs["dynamodb"].add_response(
        "put_item",
        {},
        {"TableName": "records", "Item": ANY, "ConditionExpression": "attribute_not_exists(generation)"},
    )
    assert handler.handle(CHANGE, None) == {"serving": {"loans": 3}}
    line, metric = map(json.loads, capsys.readouterr().out.splitlines())
    assert (metric["Endpoint"], metric["group"], metric["Failed"]) == ("models", "loans", 0)
    (directive,) = metric["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("Modelyard/Deployer", [["Endpoint"]])
    assert directive["Metrics"] == [{"Name": "Failed", "Unit": "Count"}]
    assert (line["event"], line["before"], line["serving"], line["error"]) == ("reconciled", None, 3, None)
    for stub in stubs.values():
        stub.assert_no_pending_responses()


def test_handler_gives_every_group_its_turn_and_then_fails(handler, capsys):
    stubs = stub_ports(handler)
    serving = Record(group="loans", generation=4, serving=DEPLOYMENT, updated="then")
    stubs["dynamodb"].add_response("get_item", {"Item": to_item(serving)})
    stubs["sagemaker"].add_client_error("list_model_packages", "ThrottlingException", "slow down")
    written = {
        "TableName": "records",
        "Item": ANY,
        "ConditionExpression": "generation = :expected",
        "ExpressionAttributeValues": {":expected": {"N": "4"}},
    }
    stubs["dynamodb"].add_response("put_item", {}, written)
    stubs["dynamodb"].add_response("get_item", {})
    stubs["sagemaker"].add_response("list_model_packages", {"ModelPackageSummaryList": []})
    stubs["dynamodb"].add_response("put_item", {})
    for _ in range(2):
        stubs["s3"].add_response("list_objects_v2", {})
    with pytest.raises(
        ReconcileError, match="loans version unknown: cannot list the packages of loans: slow down"
    ):
        handler.handle({"detail-type": "Scheduled Event"}, None)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    events = [line["event"] for line in lines if "event" in line]
    assert events == ["reconciled", "reconcile failed", "reconciled"]
    assert [line["Failed"] for line in lines if "Failed" in line] == [1, 0]
    assert lines[0]["serving"] == 3
    for stub in stubs.values():
        stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("age", "canary", "looks"), [(100, None, False), (290, None, True), (60, "one", True), (None, None, True)]
)
def test_the_schedule_looks_closer_once_an_interval_or_while_a_canary_runs(
    handler, capsys, age, canary, looks
):
    stubs = stub_ports(handler)
    now = datetime.now(UTC)
    record = Record(
        group="loans",
        generation=4,
        serving=DEPLOYMENT,
        canary=Canary(deployment=DEPLOYMENT, percent=10) if canary else None,
        updated=(now - timedelta(seconds=age)).isoformat() if age else "",
    )
    found = {"Item": to_item(record)} if age else {}
    stubs["dynamodb"].add_response("get_item", found)
    if looks:
        stubs["dynamodb"].add_response("get_item", found)
        stubs["sagemaker"].add_client_error("list_model_packages", "ThrottlingException", "slow down")
        stubs["s3"].add_response("list_objects_v2", {})
        stubs["dynamodb"].add_response("put_item", {})
        with pytest.raises(ReconcileError):
            handler.handle({"group": "loans", "onlyIfDue": True}, None)
    else:
        assert handler.handle({"group": "loans", "onlyIfDue": True}, None) == {"serving": {"loans": 3}}
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ages = [line["RecordAge"] for line in lines if "RecordAge" in line]
    assert ages == ([] if age is None else [pytest.approx(age, abs=5)])
    for stub in stubs.values():
        stub.assert_no_pending_responses()


def test_settings_survive_the_environment():
    settings = replace(
        SETTINGS, interval_seconds=600, grace_seconds=7200, canary=Rules(bake_seconds=60, margin=0.1)
    )
    assert Settings.from_environment(settings.to_environment()) == settings


@pytest.mark.parametrize(("name", "value"), [("interval_seconds", 59), ("grace_seconds", 3599)])
def test_settings_that_would_do_harm_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        replace(SETTINGS, **{name: value})
