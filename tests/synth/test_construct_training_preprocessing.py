"""Uploads become training data by workers that come with the work."""

from __future__ import annotations

import importlib
from itertools import product

import pytest

from localcloud.cloudwatch.expression import evaluate, parse
from modelyard.storage import DataBucket
from modelyard.training import (
    ImageFolder,
    Ledger,
    Workers,
)
from modelyard.training.preprocessing_queue import QUARANTINED_SHARE
from modelyard.training.worker_scaling import BACKLOG, IDLE, WAITS_FOR_NOBODY
from tests.synth.training_support import OUTPUT, UPLOADS, Built, flat, preprocessing
from training.preprocessing import telemetry


@pytest.fixture
def make(stack, image, data):
    return preprocessing(stack, image, data)


def test_events_of_the_folder_reach_the_queue(stack, make):
    make()
    built = Built(stack)
    rule = built.one("Events::Rule")
    assert rule["EventPattern"]["source"] == ["aws.s3"]
    assert rule["EventPattern"]["detail-type"] == ["Object Created", "Object Deleted"]
    assert rule["EventPattern"]["detail"]["object"] == {"key": [{"prefix": UPLOADS}]}
    (target,) = rule["Targets"]
    assert "EventsQueue" in flat(target["Arn"])
    assert "EventsDeadLetters" in flat(target["DeadLetterConfig"]["Arn"])
    assert "InputTransformer" not in target, "the worker reads events as they are"


def test_both_queues_are_encrypted_and_take_this_rules_events_over_tls(stack, make):
    make()
    built = Built(stack)
    for queue in built.of("SQS::Queue"):
        assert "EventsKey" in flat(queue["KmsMasterKeyId"])
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
    for policy in built.of("SQS::QueuePolicy"):
        denied, sent = policy["PolicyDocument"]["Statement"]
        assert denied["Effect"] == "Deny"
        assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        assert sent["Principal"] == {"Service": "events.amazonaws.com"}
        assert sent["Action"] == "sqs:SendMessage"
        assert "EventsRule" in flat(sent["Condition"]["ArnEquals"]["aws:SourceArn"])
    (sender,) = [
        statement
        for statement in built.one("KMS::Key", "EventsKey")["KeyPolicy"]["Statement"]
        if statement["Principal"] == {"Service": "events.amazonaws.com"}
    ]
    assert sender["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert sender["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_queue_and_worker_hide_messages_for_the_same_time(stack, make):
    make(workers=Workers(visibility_seconds=300, attempts=7))
    built = Built(stack)
    queue = built.one("SQS::Queue", "EventsQueue")
    assert queue["VisibilityTimeout"] == 300
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 7
    (container,) = built.one("ECS::TaskDefinition")["ContainerDefinitions"]
    command = container["EntryPoint"]
    assert command[command.index("--visibility") + 1] == "300"


def test_a_worker_understands_what_it_is_told(stack, make, monkeypatch):
    """The worker's own parser, with the environment and the arguments of the task."""
    make(workers=Workers(batch=200, visibility_seconds=60))
    (container,) = Built(stack).one("ECS::TaskDefinition")["ContainerDefinitions"]
    for entry in container["Environment"]:
        value = entry["Value"]
        monkeypatch.setenv(entry["Name"], value if isinstance(value, str) else _deployed(value))
    worker = importlib.import_module("training.preprocessing.worker")
    seen = {}

    def work(one, batch, linger, visibility, *, until_empty, tell):
        seen.update(worker=one, batch=batch, visibility=visibility, until_empty=until_empty, tell=tell)

    monkeypatch.setattr(worker, "work", work)
    monkeypatch.setattr(worker.aws, "client", lambda service: service)
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    python, dash_m, module, *arguments = container["EntryPoint"]
    assert (python, dash_m, module) == ("python", "-m", worker.__name__)
    worker.main(arguments)
    assert (seen["batch"], seen["visibility"], seen["until_empty"]) == (200, 60, False)
    one = seen["worker"]
    assert one.source.key("") == UPLOADS
    assert f"{one.output}/" == OUTPUT
    assert str(one.recipe) == "size=224 validation=0.1 test=0.1"
    assert one.ports.ledger.dataset == "dogs"
    assert "LedgerTable" in one.ports.ledger.table
    assert "EventsQueue" in one.ports.queue.url
    told = seen["tell"].__self__
    assert (told.cluster, told.dataset) == ("shared", "dogs")


def _deployed(value):
    """A value as it may look once it is deployed: buckets have small letters."""
    text = flat(value)
    return text.replace("<", "").replace(">", "").lower() if text.startswith("s3://") else text


def test_messages_that_nobody_works_on_ring(stack, make):
    queue = make(workers=Workers(oldest_minutes=20)).events
    alarm = Built(stack).one("CloudWatch::Alarm", "EventsWaits")
    assert (alarm["MetricName"], alarm["Threshold"]) == ("ApproximateAgeOfOldestMessage", 1200)
    assert alarm["Dimensions"] == [
        {"Name": "QueueName", "Value": stack.resolve(queue.queue.queue_name)},
    ]
    with pytest.raises(ValueError, match="oldest_minutes is 0"):
        Workers(oldest_minutes=0)


def test_the_ledger_has_the_workers_keys(stack, make):
    make()
    table = Built(stack).one("DynamoDB::Table")
    assert [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]] == [
        ("dataset", "HASH"),
        ("name", "RANGE"),
    ]
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["SSESpecification"]["SSEType"] == "KMS"
    assert table["DeletionProtectionEnabled"] is True


def test_a_worker_may_do_what_it_does_and_no_more(stack, make):
    make()
    built, role = Built(stack), "DogsTaskTaskRole"
    assert built.actions(role) == {
        "dynamodb:PartiQLInsert",
        "dynamodb:PutItem",
        "kms:Decrypt",
        "kms:GenerateDataKey",
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:ListBucket",
        "s3:PutObject",
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
    }
    assert flat(built.right(role, "s3:GetObjectVersion")["Resource"]).endswith(f"/{UPLOADS}*")
    assert flat(built.right(role, "s3:PutObject")["Resource"]).endswith(f"/{OUTPUT}*")
    # With a condition on the prefix, S3 would answer 403 for what is gone.
    assert "Condition" not in built.right(role, "s3:ListBucket")
    assert built.right(role, "dynamodb:PutItem")["Condition"] == {
        "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["dogs"]}
    }
    services = {
        flat(statement["Condition"]["StringEquals"]["kms:ViaService"]).partition(".")[0]
        for actions, _, statement in built.rights(role)
        if any(action.startswith("kms:") for action in actions)
    }
    assert services == {"s3", "sqs", "dynamodb"}


def test_who_makes_manifests(stack, make, role):
    make().grant_manage(role)
    name = stack.resolve(role.role_name)["Ref"]
    assert Built(stack).actions(name) == {
        "dynamodb:Query",
        "kms:Decrypt",
        "kms:GenerateDataKey",
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:PutObject",
        "sqs:GetQueueAttributes",
    }


def test_the_service_leaves_its_number_to_scaling(stack, make):
    make()
    built = Built(stack)
    service = built.one("ECS::Service")
    assert "DesiredCount" not in service, "every update would stop what works"
    # With Spot alone nobody would work while it has no room: ECS takes no other provider by itself.
    assert service["CapacityProviderStrategy"] == [
        {"Base": 1, "CapacityProvider": "FARGATE", "Weight": 0},
        {"CapacityProvider": "FARGATE_SPOT", "Weight": 1},
    ]
    (container,) = built.one("ECS::TaskDefinition")["ContainerDefinitions"]
    assert container["StopTimeout"] == 120


def test_workers_that_are_not_taken_away(stack, make):
    make(workers=Workers(spot=False))
    strategy = Built(stack).one("ECS::Service")["CapacityProviderStrategy"]
    assert strategy == [{"CapacityProvider": "FARGATE", "Weight": 1}]


def test_three_rules_scale_from_none_to_most_and_back(stack, make):
    make(workers=Workers(most=20, backlog=1000, idle_minutes=7))
    built = Built(stack)
    target = built.one("ApplicationAutoScaling::ScalableTarget")
    assert (target["MinCapacity"], target["MaxCapacity"]) == (0, 20)
    assert flat(target["ResourceId"]).startswith("service/shared/<Dogs")
    policies = {policy["PolicyName"]: policy for policy in built.of("ApplicationAutoScaling::ScalingPolicy")}
    tracking = policies["BacklogPerTask"]["TargetTrackingScalingPolicyConfiguration"]
    assert tracking["TargetValue"] == 1000
    assert tracking["DisableScaleIn"] is True
    wake, sleep = (policies[name]["StepScalingPolicyConfiguration"] for name in ("Wake", "Sleep"))
    assert (wake["AdjustmentType"], wake["StepAdjustments"][0]["ScalingAdjustment"]) == (
        "ChangeInCapacity",
        1,
    )
    assert (sleep["AdjustmentType"], sleep["StepAdjustments"][0]["ScalingAdjustment"]) == ("ExactCapacity", 0)
    alarm = built.one("CloudWatch::Alarm", "ScalingSleepAlarm")
    assert alarm["EvaluationPeriods"] == 7
    for name in ("Wake", "Sleep"):
        alarm = built.one("CloudWatch::Alarm", f"Scaling{name}Alarm")
        assert flat(alarm["AlarmActions"][0]).startswith(f"<DogsScaling{name}")
        assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanOrEqualToThreshold", 1)


def test_the_metrics_are_those_that_the_services_emit(stack, make):
    queue = make()
    built = Built(stack)
    policy = next(policy for policy in built.of("ApplicationAutoScaling::ScalingPolicy", "Backlog"))[
        "TargetTrackingScalingPolicyConfiguration"
    ]
    tracked = policy["CustomizedMetricSpecification"]["Metrics"]
    names = {one["Id"]: one["MetricStat"]["Metric"] for one in tracked if "MetricStat" in one}
    assert names["waiting"]["MetricName"] == "ApproximateNumberOfMessagesVisible"
    assert names["waiting"]["Dimensions"][0]["Name"] == "QueueName"
    assert (names["tasks"]["Namespace"], names["tasks"]["MetricName"]) == ("AWS/ECS", "CPUUtilization")
    assert {one["Name"] for one in names["tasks"]["Dimensions"]} == {"ClusterName", "ServiceName"}
    assert [one["Expression"] for one in tracked if one["ReturnData"]] == [BACKLOG]
    assert {
        metric.metric_name
        for metric in (
            queue.events.metric_waiting(),
            queue.events.metric_held(),
            queue.events.metric_age(),
            queue.events.metric_letters(),
        )
    } == {
        "ApproximateNumberOfMessagesVisible",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateAgeOfOldestMessage",
    }


# ECS gives no datapoint while no task runs.
@pytest.mark.parametrize(
    ("tasks", "waiting", "held"), product((None, 1.0, 4.0), (0.0, 1.0, 900.0), (0.0, 7.0))
)
def test_what_the_expressions_say(tasks, waiting, held):
    series = {"tasks": [tasks], "waiting": [waiting], "held": [held]}

    def say(text):
        return evaluate(parse(text), series, tuple(series), 60)[0]

    assert say(BACKLOG) == waiting / (tasks or 1)
    assert (say(WAITS_FOR_NOBODY) >= 1) == (tasks is None and waiting > 0)
    assert (say(IDLE) >= 1) == (tasks is not None and waiting == held == 0)


@pytest.mark.parametrize(
    ("prepared", "quarantined", "share"),
    [(None, 9.0, 0), (None, 10.0, 100), (90.0, 10.0, 10), (1000.0, 9.0, 0), (50.0, None, None)],
)
def test_the_share_of_quarantined_images(prepared, quarantined, share):
    """Of few that cannot be used none is told, nor of an hour without one."""
    series = {"prepared": [prepared], "quarantined": [quarantined]}
    assert evaluate(parse(QUARANTINED_SHARE), series, tuple(series), 3600)[0] == share


def test_quarantined_images_are_told_by_what_workers_write(stack, make, data):
    folder = ImageFolder(
        dataset="dogs", bucket=data, uploads=UPLOADS, output=OUTPUT, quarantined_percent=25.0
    )
    make(folder=folder)
    alarm = Built(stack).one("CloudWatch::Alarm", "Quarantine")
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanOrEqualToThreshold", 25)
    assert alarm["TreatMissingData"] == "notBreaching"
    asked = {
        query["MetricStat"]["Metric"]["MetricName"]: query["MetricStat"]
        for query in alarm["Metrics"]
        if "MetricStat" in query
    }
    assert set(asked) == {telemetry.PREPARED, telemetry.QUARANTINED}
    for metric in asked.values():
        assert metric["Stat"] == "Sum"
        assert metric["Metric"]["Namespace"] == telemetry.NAMESPACE
        assert metric["Metric"]["Dimensions"] == [
            {"Name": telemetry.CLUSTER, "Value": "shared"},
            {"Name": telemetry.DATASET, "Value": "dogs"},
        ]


def test_letters_are_told(stack, make):
    make()
    alarm = Built(stack).one("CloudWatch::Alarm", "Letters")
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanThreshold", 0)
    assert "EventsDeadLetters" in flat(alarm["Dimensions"][0]["Value"])


def test_one_ledger_for_several(stack, make, data):
    ledger = Ledger(stack, "Ledger")
    make("Dogs", ledger=ledger)
    cats = ImageFolder(dataset="cats", bucket=data, uploads="uploads/cats/", output="datasets/cats/")
    make("Cats", ledger=ledger, folder=cats)
    built = Built(stack)
    assert len(built.of("DynamoDB::Table")) == 1
    condition = built.right("CatsTaskTaskRole", "dynamodb:PutItem")["Condition"]
    assert condition["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"] == ["cats"]


def test_uploads_and_shards_in_two_buckets(stack, make, data):
    other = DataBucket(stack, "Other")
    make(folder=ImageFolder(dataset="dogs", bucket=other, uploads="in/", output="in/", output_bucket=data))
    built, role = Built(stack), "DogsTaskTaskRole"
    assert "OtherBucket" in flat(built.right(role, "s3:GetObjectVersion")["Resource"])
    assert "DataBucket" in flat(built.right(role, "s3:PutObject")["Resource"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dataset": "Dogs!"}, "small letters"),
        ({"uploads": "dogs"}, "not a folder"),
        ({"output": "uploads/dogs/shards/"}, "each shard would be an upload"),
        ({"image_size": 5000}, "8 to 1024 pixels"),
        ({"validation_share": 0.6, "test_share": 0.4}, "below 1 together"),
        ({"test_share": -0.1}, "not be negative"),
        ({"quarantined_percent": 0}, "quarantined_percent is 0; give more than 0"),
    ],
)
def test_bad_folders_are_refused(data, settings, words):
    plain = {"dataset": "dogs", "bucket": data, "uploads": UPLOADS, "output": OUTPUT}
    with pytest.raises(ValueError, match=words):
        ImageFolder(**{**plain, **settings})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"most": 0}, "give 1 to 1000"),
        ({"batch": 6000}, "give 1 to 5000"),
        ({"visibility_seconds": 43_201}, "give 30 to 43200"),
        ({"cpu": 1000}, "Fargate has no such task"),
        ({"cpu": 256, "memory_mib": 4096}, "Fargate has no such task"),
        ({"memory_mib": 4100}, "Fargate has no such task"),
    ],
)
def test_bad_workers_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Workers(**settings)


@pytest.mark.parametrize(("cpu", "memory"), [(256, 512), (512, 1024), (1024, 8192), (4096, 30_720)])
def test_sizes_that_fargate_has(cpu, memory):
    Workers(cpu=cpu, memory_mib=memory)
