"""What a training tells the job's record: at a cadence, late, to a table that fails, and at its end."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from training_runtime.job import Checkpoint
from training_runtime.ports import Outcome

from tests.unit.test_training_job_record import Table
from training.common.failure import UserError
from training.vision import train, watch
from training.vision.elastic import agent
from training.vision.elastic.worker import REFUSED, code_of
from training.vision.job_record import JobRecord, OutdatedError
from training.vision.telemetry.recorder import Process
from training.vision.telemetry.settings import Settings
from training.vision.watch import Watch

THROTTLED = ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "UpdateItem")
SAVED = {"at": 1.0}


@pytest.fixture
def table():
    return Table()


def watching(table, rank=0, attempt=1):
    """Its thread does not wake by itself: each line is asked for."""
    record = JobRecord("jobs", "dogs-1", attempt, client=table)
    found = Watch(Settings(seconds=3600), Process(rank=rank, world=4, hosts=2), record=record)
    found.begin(total=100)
    return found


def step(told, number):
    told.step(number, epoch=1, loss=0.5, images=32.0, rate=0.001)


def test_the_record_follows_the_lines(table):
    told = watching(table)
    step(told, 7)
    assert not table.item
    told.emit()
    assert (table.report.step, table.report.checkpoint) == (7, None)
    assert table.report.images_per_second > 0
    assert {name: table.item[name]["N"] for name in ("hosts", "world")} == {"hosts": "2", "world": "4"}
    told.saved(SAVED, 6, key="dogs-1/checkpoints/step-6")
    step(told, 8)
    told.emit()
    assert table.report.checkpoint == Checkpoint(step=6, key="dogs-1/checkpoints/step-6")
    told.finished()
    assert (table.report.step, table.report.outcome) == (8, Outcome.FINISHED)
    told.emit()  # after the last word it says nothing more


def test_other_ranks_write_nothing(table):
    told = watching(table, rank=1)
    step(told, 7)
    told.emit()
    told.finished()
    assert not table.item


def test_a_table_that_is_throttled_stops_no_training(table, capsys):
    told = watching(table)
    table.error = THROTTLED
    told.saved(SAVED, 6, key="k6")
    for number in (7, 8):
        step(told, number)
        told.emit()
    assert capsys.readouterr().out.count("training goes on, the job's record could not be written") == 1
    table.error = None
    told.emit()
    assert (table.report.step, table.report.checkpoint) == (8, Checkpoint(step=6, key="k6"))


def test_whoever_is_outdated_ends(table):
    told = watching(table)
    JobRecord("jobs", "dogs-1", 2, client=table).progress(1)
    step(told, 7)
    told.emit()
    with pytest.raises(OutdatedError, match="attempt 1 of job dogs-1 is over") as ended:
        step(told, 8)
    assert code_of(ended.value) == REFUSED
    assert table.report.attempt == 2


def test_that_it_has_finished_is_told_again_and_again(table, monkeypatch):
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            table.error = None

    monkeypatch.setattr(watch.time, "sleep", sleep)
    table.error = THROTTLED
    watching(table).finished()
    assert table.report.outcome is Outcome.FINISHED
    assert len(pauses) == 3
    table.error, told = THROTTLED, watching(Table())
    told._record._client.error = THROTTLED
    with pytest.raises(
        UserError, match="the model is there, but nobody can be told: the job's record"
    ) as end:
        told.finished()
    assert code_of(end.value) == 1  # the next attempt of the rank only says it again


def test_an_agent_tells_why_its_ranks_ended(table, monkeypatch, capsys):
    monkeypatch.setattr(agent, "from_environment", lambda: JobRecord("jobs", "dogs-1", 1, client=table))
    watching(table).emit()
    agent._tell_record("no image of class 'owl'", refused=True)
    assert (table.report.outcome, table.report.reason) == (Outcome.REFUSED, "no image of class 'owl'")
    JobRecord("jobs", "dogs-1", 2, client=table).progress(1)
    agent._tell_record("late", refused=False)
    assert "attempt 1 of job dogs-1 is over" in capsys.readouterr().out
    table.error = THROTTLED
    agent._tell_record("throttled", refused=True)


def test_a_job_tells_its_steps_checkpoints_and_end(trained, other_container, monkeypatch, table):
    job = other_container("job")
    for name in ("train", "validation", "classes"):
        job.channel(name, trained.output(name))
    job.hyperparameters(epochs=2, checkpoint_seconds=0)
    (job.root / "checkpoints").mkdir()
    monkeypatch.setattr(train, "from_environment", lambda: JobRecord("jobs", "dogs-1", 1, client=table))
    train.main([])
    found = table.report
    assert (found.step, found.outcome) == (10, Outcome.FINISHED)
    assert found.checkpoint.step == 10
    assert (job.root / "checkpoints").as_posix() in found.checkpoint.key
