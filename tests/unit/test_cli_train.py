"""`modelyard train` against a queue and a table that answer as AWS does."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from modelyard_cli.errors import FAILED, CliError
from modelyard_cli.train import command
from modelyard_cli.train.jobs import Cluster, request

RECORD: dict[str, Any] = {
    "request": {
        "job": "dogs-1",
        "data": "s3://bucket/m.json",
        "hosts": 4,
        "min_hosts": 2,
        "elastic": True,
        "budget_usd": None,
        "settings": {},
    },
    "submitted": 1_000.0,
    "updated": 1_012.5,
    "state": "running",
    "attempt": 1,
    "hosts": 3,
    "step": 130,
    "checkpoint": {"step": 100, "key": "k"},
    "spent": 1.0,
    "attempt_cost": 0.25,
    "reason": "attempt 1 trains on 3 hosts from step 100",
}


class Aws:
    """Queue and table; `after` changes the record once a message was sent."""

    def __init__(self, *records: dict[str, Any], after: Callable[[dict[str, Any]], Any] | None = None):
        self.records = {record["request"]["job"]: dict(record) for record in records}
        self.sent: list[dict[str, Any]] = []
        self.after = after

    def send_message(self, QueueUrl: str, MessageBody: str) -> None:
        assert QueueUrl == "url"
        self.sent.append(json.loads(MessageBody))
        if self.after:
            self.after(self.records)

    def get_item(self, TableName: str, Key: dict[str, Any], ConsistentRead: bool) -> dict[str, Any]:
        assert (TableName, ConsistentRead) == ("table", True)
        record = self.records.get(Key["id"]["S"].removeprefix("job/"))
        return {"Item": self.item(record)} if record else {}

    def item(self, record: dict[str, Any]) -> dict[str, Any]:
        return {"record": {"S": json.dumps(record)}}

    def get_paginator(self, operation: str) -> Any:
        assert operation == "query"
        return self

    def paginate(self, ExpressionAttributeValues: dict[str, Any], **options: Any) -> list[Any]:
        assert (options["IndexName"], options["ScanIndexForward"]) == ("standing", False)
        ended = ExpressionAttributeValues[":standing"]["S"] == "ended"
        found = [one for one in self.records.values() if (one["state"] == "completed") == ended]
        return [{"Items": [self.item(one) for one in found]}, {"Items": []}]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def run(aws: Aws, *arguments: str) -> Any:
        monkeypatch.setattr(command, "cluster", lambda: Cluster(aws, aws, "url", "table"))
        monkeypatch.setattr(command, "_EVERY_S", 0.0)
        return CliRunner().invoke(command.app, list(arguments))

    return run


def moved(**members: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda records: records["dogs-1"].update(members)


def test_submit_sends_a_message_that_the_queue_understands(call: Any) -> None:
    from training_runtime.job_request import parse

    aws = Aws(after=lambda records: records.update({"dogs-1": {**RECORD, "state": "queued"}}))
    options = ["--data", "s3://bucket/m.json", "--hosts", "4", "--min-hosts", "2", "--budget", "25"]
    options += ["--wandb", "zoo"]
    options += ["--max-hours", "2.5"]
    told = ["-s", "epochs=3", "-s", "backbone=resnet18", "-s", "ema=true", "-s", "note=a=b"]
    result = call(aws, "submit", "dogs-1", *options, *told, "--detach", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["state"] == "queued"
    (message,) = aws.sent
    asked = parse(json.dumps(message))
    assert (asked.hosts, asked.min_hosts, asked.elastic, asked.budget_usd) == (4, 2, True, 25)
    assert asked.wandb == "zoo"
    assert asked.max_hours == 2.5
    assert asked.settings == {"epochs": 3, "backbone": "resnet18", "ema": True, "note": "a=b"}


def test_a_record_that_knows_nothing_of_hours_is_another_request(call: Any) -> None:
    options = ["--data", "s3://bucket/m.json", "--hosts", "4", "--min-hosts", "2", "--max-hours", "2"]
    result = call(Aws(RECORD), "submit", "dogs-1", *options)
    assert "job dogs-1 exists and asks for something else" in str(result.exception or result.output)


def test_submit_follows_the_job_and_tells_its_outcome(call: Any) -> None:
    for state, code in (("completed", 0), ("failed", FAILED)):
        aws = Aws(
            after=lambda records, state=state: records.update(  # type: ignore[misc]
                {"dogs-1": {**RECORD, "state": state, "reason": "why"}}
            )
        )
        result = call(aws, "submit", "dogs-1", "--data", "s3://bucket/m.json")
        assert result.exit_code == code
        assert f"{state}: attempt 1, 3 of 4 hosts, step 130, saved at 100, 1.25 USD. why" in result.stdout


def test_submit_refuses_a_name_that_is_taken(call: Any) -> None:
    aws = Aws(RECORD)
    result = call(aws, "submit", "dogs-1", "--data", "s3://bucket/other.json", "--hosts", "4")
    assert isinstance(result.exception, CliError)
    assert "asks for something else" in str(result.exception)
    assert aws.sent == []


@pytest.mark.parametrize(
    ("settings", "words"), [(["epochs"], "expected NAME=VALUE"), (["a=1", "a=2"], "a is given twice")]
)
def test_wrong_settings_are_refused(settings: list[str], words: str) -> None:
    with pytest.raises(CliError, match=words):
        request("dogs-1", "s3://bucket/m.json", settings)


def test_watch_shows_changes_and_the_end(call: Any) -> None:
    aws = Aws(RECORD)
    seen = iter(["running", "running", "completed"])
    get_item = aws.get_item

    def changing(**options: Any) -> Any:
        answer = get_item(**options)
        aws.records["dogs-1"]["state"] = next(seen, "completed")
        return answer

    aws.get_item = changing  # type: ignore[method-assign]
    result = call(aws, "watch", "dogs-1", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["cost"] == 1.25
    assert result.stderr.count("running") == 1
    assert result.stderr.count("completed") == 1


def test_list_has_those_that_go_on_first(call: Any) -> None:
    other = {**RECORD, "state": "completed", "request": {**RECORD["request"], "job": "cats"}}
    aws = Aws(other, RECORD)
    listed = json.loads(call(aws, "list", "--json").stdout)
    assert [job["job"] for job in listed] == ["dogs-1", "cats"]
    assert len(json.loads(call(aws, "list", "--json", "-n", "1").stdout)) == 1
    assert "dogs-1" in call(aws, "list").stdout


def test_cancel_and_resume_wait_until_they_are_taken_up(call: Any) -> None:
    aws = Aws(RECORD, after=moved(state="cancelling"))
    assert "cancelling" in call(aws, "cancel", "dogs-1").stdout
    assert aws.sent == [{"cancel": "dogs-1"}]
    aws = Aws({**RECORD, "state": "cancelled"}, after=moved(state="queued"))
    assert "queued" in call(aws, "resume", "dogs-1").stdout
    assert aws.sent == [{"resume": "dogs-1"}]


@pytest.mark.parametrize(
    ("arguments", "state", "words"),
    [
        (("cancel", "dogs-1"), "completed", "has completed already"),
        (("resume", "dogs-1"), "running", "job dogs-1 is running; only one that failed or was cancelled"),
        (("cancel", "cats"), "running", "there is no job cats"),
        (("watch", "Dogs 1"), "running", "'Dogs 1' is no name of a job"),
    ],
)
def test_orders_that_make_no_sense_are_not_sent(
    call: Any, arguments: tuple[str, ...], state: str, words: str
) -> None:
    aws = Aws({**RECORD, "state": state})
    result = call(aws, *arguments)
    assert isinstance(result.exception, CliError)
    assert words in str(result.exception)
    assert aws.sent == []


def test_a_message_that_is_not_served_is_told_of() -> None:
    aws = Aws()
    place = Cluster(aws, aws, "url", "table")
    with pytest.raises(CliError, match="dead-letter queue, with the reason"):
        place.until("dogs-1", lambda _: True, seconds=0, pause=lambda _: None)
