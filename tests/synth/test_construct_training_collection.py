"""What nothing names any more is deleted on a schedule, where that is asked for."""

from __future__ import annotations

import pytest

from modelyard.training import Collection
from tests.synth.training_support import OUTPUT, Built, flat, preprocessing


@pytest.fixture
def make(stack, image, data):
    return preprocessing(stack, image, data)


def test_without_being_asked_nothing_is_deleted(stack, make):
    assert make().collection is None
    built = Built(stack)
    assert len(built.of("ECS::TaskDefinition")) == len(built.of("Events::Rule")) == 1


def test_a_schedule_collects_with_the_workers_image(stack, make):
    make(collection=Collection(every_days=1, grace_hours=48))
    built = Built(stack)
    rule = built.one("Events::Rule", "Schedule")
    assert rule["ScheduleExpression"] == "rate(1 day)"
    (target,) = rule["Targets"]
    assert flat(target["Arn"]).endswith(":cluster/shared")
    assert "CollectionTask" in flat(target["EcsParameters"]["TaskDefinitionArn"])
    assert target["EcsParameters"]["LaunchType"] == "FARGATE"
    assert "EventsDeadLetters" in flat(target["DeadLetterConfig"]["Arn"])
    collector = built.one("ECS::TaskDefinition", "CollectionTask")
    worker = built.one("ECS::TaskDefinition", "DogsTaskDefinition")
    (ours,), (theirs,) = collector["ContainerDefinitions"], worker["ContainerDefinitions"]
    assert ours["EntryPoint"][2:] == ["training.preprocessing.manifest", "collect", "--grace-hours", "48"]
    assert (ours["Image"], collector["Cpu"]) == (theirs["Image"], worker["Cpu"])
    assert (
        ours["LogConfiguration"]["Options"]["awslogs-group"]
        == (theirs["LogConfiguration"]["Options"]["awslogs-group"])
    )
    assert collector["TaskRoleArn"] != worker["TaskRoleArn"]
    assert {entry["Name"] for entry in ours["Environment"]} == {"DATASET", "OUTPUT_URI", "LEDGER_TABLE"}


def test_who_collects_may_do_that_alone(stack, make):
    make(collection=Collection())
    built, role = Built(stack), "CollectionTaskTaskRole"
    assert built.actions(role) == {
        "dynamodb:Query",
        "kms:Decrypt",
        "kms:GenerateDataKey",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:PutObject",
    }
    assert flat(built.right(role, "s3:DeleteObject")["Resource"]).endswith(f"/{OUTPUT}shards/*")
    assert flat(built.right(role, "s3:PutObject")["Resource"]).endswith(f"/{OUTPUT}garbage.json")
    assert built.right(role, "s3:ListBucket")["Condition"]["StringEquals"]["s3:prefix"] == [
        f"{OUTPUT}shards/",
        f"{OUTPUT}manifests/",
        f"{OUTPUT}garbage.json",
    ]
    starter = "CollectionStarterRole"
    assert built.actions(starter) == {"ecs:RunTask", "iam:PassRole"}
    assert "CollectionTask" in flat(built.right(starter, "ecs:RunTask")["Resource"])


def test_a_collection_that_fails_is_a_dead_letter(stack, make):
    make(collection=Collection())
    built = Built(stack)
    rule = built.one("Events::Rule", "Failures")
    assert rule["EventPattern"]["source"] == ["aws.ecs"]
    assert "CollectionTask" in flat(rule["EventPattern"]["detail"]["taskDefinitionArn"][0])
    (target,) = rule["Targets"]
    assert "EventsDeadLetters" in flat(target["Arn"])
    policy = built.one("SQS::QueuePolicy", "DeadLetters")["PolicyDocument"]["Statement"][-1]
    rules = [flat(arn) for arn in policy["Condition"]["ArnEquals"]["aws:SourceArn"]]
    assert ["Schedule" in rules[0], "Failures" in rules[1]] == [True, True]


@pytest.mark.parametrize("settings", [{"every_days": 0}, {"every_days": 32}, {"grace_hours": 23}])
def test_bad_collections_are_refused(settings):
    with pytest.raises(ValueError, match=r"Collection\.\w+ is \d+; give"):
        Collection(**settings)
