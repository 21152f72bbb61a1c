"""What a training loop's telemetry tells, and that it never stands in the loop's way."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from localcloud.aws.differences.embedded_metrics import parse
from tests.unit.vision.telemetry_support import BEGAN, Clock, Job
from training.vision.telemetry import names
from training.vision.telemetry.lines import Output
from training.vision.telemetry.recorder import Process, Telemetry
from training.vision.telemetry.settings import Settings


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path, job="dogs", price=3.6)


def test_the_figures_of_a_line(job: Job, capfd: pytest.CaptureFixture[str]) -> None:
    job.telemetry.begin(total=100)
    for number in range(1, 21):
        job.step(number, norm=1.5 if number == 1 else None)
    job.telemetry.emit()
    (line,) = job.lines()
    assert line[names.STEP_TIME] == pytest.approx([50.0] * 20)
    assert line[names.DATA_WAIT] == pytest.approx(20.0)
    assert line[names.IMAGES] == pytest.approx(640.0)
    assert (line[names.LOSS], line[names.RATE], line[names.NORM]) == (0.5, 0.001, 1.5)
    assert (line[names.NON_FINITE], line[names.HOSTS], line[names.STEP]) == (0, 2, 20)
    # 20 steps of 50 ms, 40 of which computed, on two hosts at 3.6 an hour each.
    assert line[names.GOODPUT] == pytest.approx(80.0)
    assert line[names.RECENT_GOODPUT] == pytest.approx(80.0)
    assert line[names.COST] == pytest.approx(1.0 * 2 * 0.001)
    assert line[names.CHECKPOINT_AGE] == pytest.approx(1.0)
    assert line[names.STEP_AGE] == 0
    assert (line["Cluster"], line["Job"], line["Rank"], line["epoch"]) == ("default", "dogs", "0", 1)
    assert line["_aws"]["Timestamp"] == round((BEGAN + 1) * 1000)
    told = capfd.readouterr().out
    assert "epoch 1, step 20 of 100: loss 0.5, rate 0.001, gradient 1.5, 640 images/s, step 50 ms" in told
    assert "data wait 20 %, goodput 80 %, cost 0.00, checkpoint 1 s old, ends in about 4 s" in told


def test_other_ranks_tell_of_themselves_only(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    job = Job(tmp_path, rank=1)
    job.telemetry.begin(total=100)
    job.step(1)
    job.telemetry.emit()
    (line,) = job.lines()
    told = {datum.name for datum in parse(json.dumps(line), BEGAN)}
    assert told <= names.OF_RANK
    assert {names.STEP_TIME, names.STEP_AGE, names.CPU} <= told
    assert capfd.readouterr().out == ""
    assert job.lines("started") == []


def test_a_loop_that_hangs_is_told(job: Job) -> None:
    job.telemetry.begin(total=100)
    job.step(1)
    job.passes(700.0)
    job.telemetry.emit()
    (line,) = job.lines()
    assert line[names.STEP_AGE] == pytest.approx(700.0)
    job.passes(60.0)
    job.telemetry.emit()
    line = job.lines()[-1]
    assert line[names.STEP_AGE] == pytest.approx(760.0)
    assert names.STEP_TIME not in line
    assert names.LOSS not in line
    assert line[names.RECENT_GOODPUT] < 0.01


def test_a_loss_that_is_no_number_is_told_at_once_and_only_so_often(job: Job) -> None:
    job.telemetry.begin(total=100)
    job.step(1)
    job.step(2, loss=math.nan)
    (line,) = job.lines()
    assert line[names.NON_FINITE] == 1
    assert line[names.LOSS] == 0.5
    job.step(3, loss=math.inf)
    job.step(4, norm=math.nan)
    assert len(job.lines()) == 1
    job.telemetry.emit()
    last = job.lines()[-1]
    assert last[names.NON_FINITE] == 2
    assert last[names.LOSS] == 0.5
    assert names.NORM not in last


def test_a_checkpoint_that_is_written_is_as_old_as_its_state(job: Job) -> None:
    job.telemetry.begin(total=100)
    job.step(1)
    record = job.telemetry.record()
    job.passes(30.0)
    job.telemetry.emit()
    assert job.lines()[-1][names.CHECKPOINT_AGE] == pytest.approx(30.05)
    job.telemetry.saved(record, step=1, seconds=29.0)
    job.telemetry.emit()
    assert job.lines()[-1][names.CHECKPOINT_AGE] == pytest.approx(30.0)
    (event,) = job.lines("checkpoint")
    assert (event["step"], event["seconds"], event["attempt"]) == (1, 29.0, 1)


def test_a_job_goes_on_from_its_record(tmp_path: Path) -> None:
    """Through the checkpoint, where the record is a dictionary of plain values."""
    clock = Clock()
    first = Job(tmp_path / "first", clock=clock, began=BEGAN)
    first.telemetry.begin(total=100)
    for number in range(1, 11):
        first.step(number, wait=0.0, computes=1.0)
    record = json.loads(json.dumps(first.telemetry.record()))
    first.step(11, wait=0.0, computes=5.0)  # lost
    clock.passed += 5.0  # until another process is there
    second = Job(tmp_path / "second", clock=clock, began=BEGAN)
    second.telemetry.begin(total=100, done=10, record=record)
    second.step(11, wait=0.0, computes=5.0)
    second.telemetry.emit()
    (line,) = second.lines()
    assert line[names.GOODPUT] == pytest.approx(100 * 15 / 25)
    assert line[names.RECENT_GOODPUT] == pytest.approx(100 * 15 / 25)
    assert line[names.CHECKPOINT_AGE] == pytest.approx(5.0)
    assert [event["step"] for event in second.lines("resumed")] == [10]


def test_before_the_loop_begins_nothing_is_told_of_the_whole_job(job: Job) -> None:
    job.passes(20.0)
    job.telemetry.emit()
    (line,) = job.lines()
    assert names.COST not in line
    assert names.GOODPUT not in line
    assert line[names.STEP_AGE] == pytest.approx(20.0)


def test_without_checkpoints_none_is_old(job: Job, capfd: pytest.CaptureFixture[str]) -> None:
    job.telemetry.begin(total=100, checkpoints=False)
    job.step(1)
    job.telemetry.emit()
    job.telemetry.emit()
    assert all(names.CHECKPOINT_AGE not in line for line in job.lines())
    told = capfd.readouterr().out
    assert "no step for 0 s\n" in told
    assert "checkpoint" not in told


def test_an_end_says_whether_the_job_was_stopped(job: Job) -> None:
    with job.telemetry as telemetry:
        telemetry.begin(total=100)
        telemetry.record()
        telemetry.record(closed=True)
    assert [line["reason"] for line in job.lines("ended")] == ["stopped"]


def test_an_evaluation_is_a_sign_of_life_and_no_step(job: Job) -> None:
    job.telemetry.begin(total=100)
    job.step(1, wait=0.0, computes=10.0)
    job.passes(90.0)
    job.telemetry.evaluated(1, loss=0.25, top1=0.9)
    job.step(2, wait=0.0, computes=10.0)
    job.telemetry.emit()
    (line,) = job.lines()
    assert line[names.STEP_TIME] == pytest.approx([10_000.0] * 2)
    assert line[names.GOODPUT] == pytest.approx(100 * 20 / 110, rel=1e-4)
    (event,) = job.lines("evaluated")
    assert (event["epoch"], event["step"], event["top1"]) == (1, 1, 0.9)


def test_what_happens_between_two_steps_is_paid_and_no_work(job: Job) -> None:
    job.telemetry.begin(total=100)
    job.step(1, wait=0.0, computes=1.0)
    job.passes(3.0)  # a copy of the state for a checkpoint
    job.step(2, wait=0.0, computes=1.0)
    job.telemetry.emit()
    (line,) = job.lines()
    assert line[names.STEP_TIME] == pytest.approx([1000.0, 4000.0])
    assert line[names.GOODPUT] == pytest.approx(40.0)


def test_waiting_in_a_step_for_another_host_is_no_work(job: Job) -> None:
    job.telemetry.begin(total=100)
    for number in range(1, 11):
        job.step(number, wait=0.0, computes=1.0)
    job.step(11, wait=0.0, computes=90.0)
    job.telemetry.emit()
    (line,) = job.lines()
    assert max(line[names.STEP_TIME]) == 90_000.0
    assert line[names.GOODPUT] == pytest.approx(15.0)


def test_the_norm_of_the_gradient_is_wanted_once_a_line(job: Job) -> None:
    job.telemetry.begin(total=100)
    assert job.telemetry.wants_norm
    job.step(1, norm=2.0)
    assert not job.telemetry.wants_norm
    job.telemetry.emit()
    assert job.telemetry.wants_norm


def test_lines_come_by_themselves_and_the_last_one_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "0.jsonl"
    told = threading.Event()

    class Told(Output):
        def write(self, line: str) -> None:
            super().write(line)
            if '"event":"training"' in line:
                told.set()

    def train() -> None:
        with Telemetry(Settings(seconds=0.01), Process(), output=Told(path)) as telemetry:
            telemetry.begin(total=3)
            assert told.wait(30)
            telemetry.step(1, epoch=1, loss=0.1, images=1, rate=0.1)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        train()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    steps = [line for line in lines if line.get(names.STEP) == 1]
    assert steps
    assert (lines[-1]["event"], lines[-1]["reason"]) == ("ended", "ValueError: broken")


def test_each_rank_and_attempt_has_a_file_of_its_own(tmp_path: Path) -> None:
    for attempt, rank in ((1, 0), (1, 1), (2, 0)):
        settings = Settings(job="../dogs", attempt=attempt, target=str(tmp_path / "lines"))
        with Telemetry(settings, Process(rank=rank, world=2, hosts=2)):
            pass
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.jsonl"))
    assert found == [
        "lines/___dogs/attempt-001-rank-00000.jsonl",
        "lines/___dogs/attempt-001-rank-00001.jsonl",
        "lines/___dogs/attempt-002-rank-00000.jsonl",
    ]


def test_a_folder_that_cannot_be_written_does_not_end_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with Telemetry(Settings(target=str(tmp_path / "file")), Process()) as telemetry:
        telemetry.begin(total=1)
        telemetry.step(1, epoch=1, loss=math.nan, images=1, rate=0.1)
    assert "training goes on without them" in capsys.readouterr().out


SCRIPT = """
import os, signal
from training.vision.telemetry.recorder import Process, Telemetry
from training.vision.telemetry.settings import read_settings

with Telemetry(read_settings({"TELEMETRY": "stdout"}), Process()) as telemetry:
    telemetry.begin(total=3)
    telemetry.step(1, epoch=1, loss=float("nan"), images=1, rate=0.1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_has_told_what_it_knew_and_an_unreadable_output_ends_nothing() -> None:
    killed = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert killed.returncode < 0
    lines = killed.stdout.splitlines()
    metrics = [json.loads(line) for line in lines if line.startswith('{"_aws"')]
    assert [line[names.NON_FINITE] for line in metrics] == [1]
    assert any("loss is not a number" in line for line in lines)
    reading, writing = os.pipe()
    os.close(reading)
    without = SCRIPT.replace("os.kill(os.getpid(), signal.SIGKILL)", "telemetry.emit()")
    gone = subprocess.run(
        [sys.executable, "-c", without + "os._exit(7)"], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert gone.returncode == 7
