"""The stage's schedule collects shards that nothing names, under a role for that alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.local.support import until
from tests.local.training.stage import DATASET, Stage
from tests.local.training.uploads import dataset_of

OUTPUT = f"datasets/{DATASET}"
ORPHAN = f"{OUTPUT}/shards/2020-01-01/{'0' * 64}.tar"
# A look that lies back longer than the grace period: the next one is the second.
LOOKED = {ORPHAN: 1_577_836_800.0}


@contextmanager
def fired(stage: Stage) -> Iterator[Callable[[], None]]:
    """The rule listens to an event of the test's besides, and so its own target runs at once."""
    events, source = stage.client("events"), "tests.collection"
    name = stage.resource("DatasetdigitsCollectionSchedule", "AWS::Events::Rule")
    rule = events.describe_rule(Name=name)
    kept = {member: rule[member] for member in ("Name", "ScheduleExpression", "Description")}
    assert rule["ScheduleExpression"] == "rate(7 days)"
    events.put_rule(**kept, EventPattern=json.dumps({"source": [source]}))
    try:
        yield lambda: events.put_events(Entries=[{"Source": source, "DetailType": "now", "Detail": "{}"}])
    finally:
        events.put_rule(**kept)


def letters(stage: Stage) -> list[dict[str, Any]]:
    sqs, url = stage.client("sqs"), stage.resource("DatasetdigitsEventsDeadLetters", "AWS::SQS::Queue")
    found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    for message in found:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return [json.loads(message["Body"]) for message in found]


def test_the_schedule_collects_what_nothing_names_and_tells_when_it_cannot(stage: Stage) -> None:
    s3, since = stage.client("s3"), time.time()
    dataset_of(stage)
    named = set(stage.keys(f"{OUTPUT}/shards/"))
    assert named
    s3.put_object(Bucket=stage.bucket, Key=ORPHAN, Body=b"nobody's")
    notes = {"Bucket": stage.bucket, "Key": f"{OUTPUT}/garbage.json"}
    s3.put_object(**notes, Body=json.dumps(LOOKED).encode())
    with fired(stage) as fire:
        fire()
        stage.says("DatasetdigitsTaskLogs", "1 shards deleted")
        assert set(stage.keys(f"{OUTPUT}/shards/")) == named
        collector = stage.role("DatasetdigitsCollectionTaskTaskRole")
        decisions = [one for one in stage.decisions(since) if one.role == collector]
        assert [one for one in decisions if not one.allowed] == []
        assert {one.action for one in decisions if one.action.startswith(("s3:", "dynamodb:"))} == {
            "dynamodb:Query",
            "s3:DeleteObject",
            "s3:GetObject",
            "s3:ListBucket",
            "s3:PutObject",
        }

        s3.put_object(**notes, Body=b"damaged")
        fire()
        found: list[dict[str, Any]] = until(
            lambda: letters(stage), lambda: stage.logs("DatasetdigitsTaskLogs")
        )
    (letter,) = found
    assert letter["detail-type"] == "ECS Task State Change"
    assert letter["detail"]["containers"][0]["exitCode"] == 1
    stage.says("DatasetdigitsTaskLogs", "garbage.json is damaged")
    s3.delete_object(**notes)
