"""The dashboard and alarms of training jobs, and that they ask for what the trainer tells."""

from __future__ import annotations

import json
import re
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk.assertions import Template
from cdk_nag import AwsSolutionsChecks

from modelyard.storage import DataBucket
from modelyard.training import TrainingAlarms, TrainingMonitoring
from modelyard.training.event_queue import EventQueue
from training.preprocessing import telemetry
from training.vision.telemetry import names

REPO = Path(__file__).parents[2]
PAGE = REPO / "constructs" / "modelyard" / "training" / "monitoring.md"
SEARCH = re.compile(r"SEARCH\('\{([^}]*)\} Cluster=\"gpu\" MetricName=\"(\w+)\"', '(\w+)', 60\)")


def alarms_of(stack):
    found = Template.from_stack(stack).find_resources("AWS::CloudWatch::Alarm")
    return {alarm["Properties"]["MetricName"]: alarm["Properties"] for alarm in found.values()}


def body_of(stack):
    """The dashboard, with a name in place of each reference."""
    (dashboard,) = Template.from_stack(stack).find_resources("AWS::CloudWatch::Dashboard").values()
    body = dashboard["Properties"]["DashboardBody"]
    if isinstance(body, str):
        return json.loads(body)
    parts = body["Fn::Join"][1]
    return json.loads("".join(part if isinstance(part, str) else "REFERENCE" for part in parts))


def test_each_alarm_watches_a_metric_that_the_trainer_tells_by_its_cluster(stack):
    TrainingMonitoring(stack, "Monitoring", cluster="gpu")
    alarms = alarms_of(stack)
    assert set(alarms) == names.WATCHED
    for alarm in alarms.values():
        assert alarm["Namespace"] == names.NAMESPACE
        assert alarm["Dimensions"] == [{"Name": names.CLUSTER, "Value": "gpu"}]
        assert alarm["TreatMissingData"] == "notBreaching"
        assert alarm["AlarmDescription"]
        assert "AlarmActions" not in alarm


def test_limits_reach_the_alarms(stack):
    limits = TrainingAlarms(stall_seconds=900, goodput_percent=85, goodput_minutes=30, checkpoint_seconds=120)
    TrainingMonitoring(stack, "Monitoring", alarms=limits)
    found = {
        name: (alarm["Threshold"], alarm["Statistic"], alarm["Period"], alarm["EvaluationPeriods"])
        for name, alarm in alarms_of(stack).items()
    }
    assert found == {
        names.STEP_AGE: (900, "Maximum", 60, 1),
        names.NON_FINITE: (1, "Sum", 60, 1),
        names.RECENT_GOODPUT: (85, "Minimum", 300, 6),
        names.CHECKPOINT_AGE: (120, "Maximum", 60, 1),
    }
    comparisons = {name: alarm["ComparisonOperator"] for name, alarm in alarms_of(stack).items()}
    assert comparisons.pop(names.RECENT_GOODPUT) == "LessThanThreshold"
    assert set(comparisons.values()) == {"GreaterThanOrEqualToThreshold"}


def test_a_topic_hears_of_the_begin_and_the_end(stack):
    TrainingMonitoring(stack, "Monitoring", alarm_topic=sns.Topic(stack, "Topic"))
    for alarm in alarms_of(stack).values():
        assert alarm["AlarmActions"] == alarm["OKActions"] != []


def test_the_dashboard_searches_for_what_the_trainer_tells(stack):
    TrainingMonitoring(stack, "Monitoring", cluster="gpu")
    text = json.dumps(body_of(stack)).replace('\\"', '"')
    searches = SEARCH.findall(text)
    assert len(searches) == text.count("SEARCH(")
    assert {metric for _, metric, _ in searches} == set(names.UNITS) - {names.NON_FINITE, names.STEP}
    for schema, metric, _ in searches:
        namespace, *dimensions = schema.split(",")
        assert namespace == names.NAMESPACE
        assert metric in names.SETS[tuple(dimensions)]


def test_a_log_group_brings_the_history(stack):
    TrainingMonitoring(stack, "Monitoring", log_group=logs.LogGroup(stack, "Jobs"))
    (widget,) = (widget for widget in body_of(stack)["widgets"] if widget["type"] == "log")
    assert "SOURCE 'REFERENCE'" in widget["properties"]["query"]


def test_a_queue_shows_what_waits_is_held_and_is_set_aside(stack):
    bucket = DataBucket(stack, "Data")
    events = EventQueue(
        stack, "Dogs", bucket=bucket, folder="uploads/dogs/", visibility_seconds=60, attempts=3
    )
    TrainingMonitoring(stack, "Monitoring", queues={"dogs": events}, log_group=logs.LogGroup(stack, "Jobs"))
    widgets = body_of(stack)["widgets"]
    (graph,) = (widget for widget in widgets if widget["properties"]["title"] == "Images of dogs to prepare")
    assert [(line[1], line[-1]["label"]) for line in graph["properties"]["metrics"]] == [
        ("ApproximateNumberOfMessagesVisible", "waiting"),
        ("ApproximateNumberOfMessagesNotVisible", "held"),
        ("ApproximateNumberOfMessagesVisible", "set aside"),
    ]
    (done,) = (widget for widget in widgets if widget["properties"]["title"] == "Images of dogs done")
    assert [line[:6] for line in done["properties"]["metrics"]] == [
        [telemetry.NAMESPACE, name, telemetry.CLUSTER, "default", telemetry.DATASET, "dogs"]
        for name in telemetry.UNITS
    ]
    dashboard = json.dumps(Template.from_stack(stack).find_resources("AWS::CloudWatch::Dashboard"))
    letters = stack.get_logical_id(events.dead_letters.node.default_child)
    waiting = stack.get_logical_id(events.queue.node.default_child)
    assert (dashboard.count(f'"{waiting}", "QueueName"'), dashboard.count(f'"{letters}", "QueueName"')) == (
        2,
        1,
    )
    places = [(widget["x"], widget["y"]) for widget in widgets]
    assert len(set(places)) == len(places)
    assert max(widgets, key=lambda widget: widget["y"])["type"] == "log"


def test_two_clusters_in_one_stack_and_a_name_that_is_not_known_yet(stack):
    TrainingMonitoring(stack, "One", cluster="one")
    TrainingMonitoring(stack, "Two", cluster=cdk.Fn.import_value("cluster"))
    assert len(Template.from_stack(stack).find_resources("AWS::CloudWatch::Dashboard")) == 2


def test_nag_finds_nothing(new_app):
    app = new_app()
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    stack = cdk.Stack(app, "Test")
    TrainingMonitoring(stack, "Monitoring", log_group=logs.LogGroup(stack, "Jobs"))
    app.synth()


@pytest.mark.parametrize("cluster", ["", "a b", 'a"', "a" * 256])
def test_a_cluster_needs_a_name(stack, cluster):
    with pytest.raises(ValueError, match=r"TrainingMonitoring\.cluster is .*; give 1 to 255"):
        TrainingMonitoring(stack, "Monitoring", cluster=cluster)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"stall_seconds": 0}, "stall_seconds is 0; give at least 1"),
        ({"checkpoint_seconds": -1}, "checkpoint_seconds is -1; give at least 1"),
        ({"goodput_percent": 0}, "goodput_percent is 0; give more than 0, 100 at most"),
        ({"goodput_percent": 101}, "goodput_percent is 101"),
        ({"goodput_minutes": 7}, "goodput_minutes is 7; give a multiple of 5"),
        ({"goodput_minutes": 1445}, "goodput_minutes is 1445"),
    ],
)
def test_limits_that_make_no_sense_are_refused(members, message):
    with pytest.raises(ValueError, match=message):
        TrainingAlarms(**members)


def test_the_page_counts_the_metrics_that_are_paid():
    counts = [len(names.SETS[key]) for key in sorted(names.SETS, key=len)]
    told = re.search(r"(\d+) a job,\s+(\d+) a rank, (\d+) a cluster", PAGE.read_text())
    assert told
    assert [int(told[3]), int(told[1]), int(told[2])] == counts


def test_the_snippet_of_the_page_runs(monkeypatch):
    monkeypatch.setenv("CDK_VALIDATION", "false")
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    made: dict[str, object] = {}
    exec(compile(snippet, str(PAGE), "exec"), made)
    made["stack"].node.root.synth()


def test_the_page_names_each_variable_that_is_read():
    source = (REPO / "training" / "vision" / "telemetry" / "settings.py").read_text()
    read = set(re.findall(r'given, "([A-Z_]+)"|given\.get\("([A-Z_]+)"', source))
    assert {name for pair in read for name in pair if name} == set(
        re.findall(r"`([A-Z]+(?:_[A-Z]+)*)`", PAGE.read_text())
    ) - {"WANDB_DIR"}
