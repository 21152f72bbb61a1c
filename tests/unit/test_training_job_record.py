"""What a trainer tells: in order, late, twice, and after another attempt has begun."""

from __future__ import annotations

import re
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from training_runtime.item import report_id, to_report
from training_runtime.job import Checkpoint
from training_runtime.ports import Outcome, Report

from training.common.failure import UserError
from training.vision.job_record import JobRecord, OutdatedError, Saved, UntoldError, from_environment


class Refused(Exception):
    pass


class Table:
    """One item, with the expressions that the record uses."""

    class exceptions:  # noqa: N801
        ConditionalCheckFailedException = Refused

    def __init__(self) -> None:
        self.item: dict[str, Any] = {}
        self.lost = 0
        self.error: Exception | None = None

    def get_item(self, TableName: str, Key: dict[str, Any], ConsistentRead: bool) -> dict[str, Any]:
        assert (TableName, Key, ConsistentRead) == ("jobs", {"id": {"S": report_id("dogs-1")}}, True)
        return {"Item": self.item} if self.item else {}

    def update_item(self, **request: Any) -> None:
        if self.error:
            raise self.error
        values, names = request["ExpressionAttributeValues"], request["ExpressionAttributeNames"]
        number = int(values[":attempt"]["N"])
        known = int(self.item["attempt"]["N"]) if self.item else None
        holds = {
            "attempt = :attempt AND attribute_not_exists(outcome)": known == number
            and "outcome" not in self.item,
            "attribute_not_exists(id) OR attempt < :attempt": known is None or known < number,
        }
        if not holds[request["ConditionExpression"]]:
            raise Refused
        changes, _, removed = request["UpdateExpression"].removeprefix("SET ").partition(" REMOVE ")
        for name, value in re.findall(r"(#\w+) = (:\w+)", changes):
            self.item[names[name]] = values[value]
        for name in filter(None, removed.split(", ")):
            self.item.pop(names[name], None)
        self.item["id"] = request["Key"]["id"]
        if self.lost:
            self.lost -= 1
            raise ConnectionError("the answer was lost")

    @property
    def report(self) -> Report:
        return to_report(self.item)


@pytest.fixture
def table() -> Table:
    return Table()


def record(table: Table, attempt: int = 1) -> JobRecord:
    return JobRecord("jobs", "dogs-1", attempt, client=table, clock=lambda: 7.5)


def test_progress_keeps_the_newest_checkpoint_that_was_told(table: Table) -> None:
    trainer = record(table)
    trainer.progress(10)
    assert table.report == Report(attempt=1, step=10)
    trainer.progress(20, Saved(step=20, key="k20"))
    trainer.progress(30)
    assert table.report == Report(attempt=1, step=30, checkpoint=Checkpoint(step=20, key="k20"))
    trainer.finished(40, Saved(step=40, key="k40"))
    ended = Report(attempt=1, step=40, checkpoint=Checkpoint(step=40, key="k40"), outcome=Outcome.FINISHED)
    assert table.report == ended


def test_figures_are_told_as_far_as_they_are_known(table: Table) -> None:
    trainer = record(table)
    trainer.progress(10, hosts=2, world=16, images_per_second=1234.5678, cost=0.00012)
    assert table.report.images_per_second == 1234.57
    trainer.progress(20, hosts=2, world=16, images_per_second=None, cost=0.5)
    told = {name: value["N"] for name, value in table.item.items() if "N" in value}
    assert told == {
        "attempt": "1", "step": "20", "at": "7.5", "hosts": "2", "world": "16",
        "images_per_second": "1234.57", "cost": "0.5",
    }  # fmt: skip
    record(table, 2).progress(0)
    assert table.report == Report(attempt=2)


def test_whoever_ends_a_job_may_not_know_its_step(table: Table) -> None:
    record(table).progress(10)
    record(table).failed(None, "why")
    assert (table.report.step, table.report.outcome) == (10, Outcome.FAILED)
    record(table, 2).failed(None, "why")
    assert (table.report.step, table.report.attempt) == (0, 2)


def test_a_failure_is_one_line(table: Table) -> None:
    record(table).failed(3, "the loss\nis no number " + "x" * 2000)
    assert table.report.outcome is Outcome.FAILED
    assert table.report.reason.startswith("the loss is no number x")
    assert len(table.report.reason) == 1000


def test_a_mistake_is_told_apart_from_a_failure(table: Table) -> None:
    record(table).failed(None, "unknown hyperparameter epoch", refused=True)
    # Each host of the job says so.
    record(table).failed(None, "unknown hyperparameter epoch", refused=True)
    assert (table.report.outcome, table.report.reason) == (Outcome.REFUSED, "unknown hyperparameter epoch")


def test_a_new_attempt_starts_with_a_clean_record(table: Table) -> None:
    record(table, 1).progress(9, Saved(step=9, key="k9"))
    record(table, 1).failed(9, "why")
    record(table, 2).progress(0)
    assert table.report == Report(attempt=2)


def test_whoever_is_outdated_is_told_to_stop(table: Table) -> None:
    old = record(table, 1)
    old.progress(9)
    record(table, 2).progress(1)
    for call in (lambda: old.progress(10), lambda: old.finished(10), lambda: old.failed(10, "why")):
        with pytest.raises(OutdatedError, match=r"attempt 1 of job dogs-1 is over: .* attempt 2$"):
            call()
    assert table.report == Report(attempt=2, step=1)


def test_nothing_follows_the_last_word(table: Table) -> None:
    trainer = record(table)
    trainer.finished(10)
    with pytest.raises(OutdatedError, match="which has ended"):
        trainer.progress(11)
    with pytest.raises(OutdatedError):
        trainer.failed(11, "why")
    assert table.report.outcome is Outcome.FINISHED


def test_the_last_word_may_be_said_again(table: Table) -> None:
    trainer = record(table)
    table.lost = 1
    with pytest.raises(ConnectionError):
        trainer.finished(10)
    trainer.finished(10)
    assert table.report == Report(attempt=1, step=10, outcome=Outcome.FINISHED)


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow\ndown"}}, "UpdateItem"),
        EndpointConnectionError(endpoint_url="https://dynamodb"),
    ],
)
def test_a_table_that_does_not_take_it_is_one_line(table: Table, error: Exception) -> None:
    table.error = error
    with pytest.raises(UntoldError, match=r"^the job's record could not be written: .*$"):
        record(table).progress(1)
    table.error = None
    record(table).progress(1)


def test_the_environment_says_which_record_it_is() -> None:
    assert from_environment({}) is None
    for wrong in ({}, {"JOB_NAME": "dogs-1"}, {"JOB_NAME": "dogs-1", "ATTEMPT": "0"}):
        with pytest.raises(UserError, match=r"JOB_TABLE is set, JOB_NAME is .*: give a name and a number"):
            from_environment({"JOB_TABLE": "jobs", **wrong})
