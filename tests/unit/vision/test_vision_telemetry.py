"""What a training tells while it runs: its lines of metrics, its events, and what it tells by default."""

from __future__ import annotations

import json
import os
import signal
import socket

import pytest

from tests.unit.vision.test_telemetry_weights_and_biases import PACKAGE
from tests.unit.vision.vision_support import HYPERPARAMETERS
from training.common.failure import UserError
from training.vision import train

STEPS = 15
OF_STEPS = {"StepTime", "DataWait", "Loss", "LearningRate", "ImagesPerSecond", "NonFiniteSteps"}
OF_THE_JOB = {"StepAge", "Goodput", "RecentGoodput", "Cost", "CheckpointAge", "Hosts", "Step"}


@pytest.fixture
def job(trained, other_container):
    """A training job on the data of `trained`, with a folder of checkpoints."""
    container = other_container("job")
    for name in ("train", "validation", "classes"):
        container.channel(name, trained.output(name))
    container.hyperparameters(epochs=3, checkpoint_seconds=0)
    (container.root / "checkpoints").mkdir()
    return container


@pytest.fixture
def lines(job, monkeypatch):
    """Where lines are told, and what they were."""
    for name, value in {
        "TELEMETRY": str(job.root / "lines"),
        "TELEMETRY_SECONDS": "0.05",
        "JOB_NAME": "dogs",
        "PRICE_PER_HOST_HOUR": "3600",
    }.items():
        monkeypatch.setenv(name, value)

    def read(event=None, attempt=1):
        path = job.root / "lines" / "dogs" / f"attempt-{attempt:03d}-rank-00000.jsonl"
        found = [json.loads(line) for line in path.read_text().splitlines()]
        return [line for line in found if event in (None, line["event"])]

    return read


def test_every_step_is_told(job, lines):
    train.main([])
    told = lines("training")
    assert sum(line.get("steps", 0) for line in told) == STEPS
    assert sum(len(line.get("StepTime", ())) for line in told) == STEPS
    assert any(OF_STEPS | OF_THE_JOB | {"GradientNorm"} <= line.keys() for line in told)
    assert told[-1]["Step"] == STEPS
    assert all(line["GradientNorm"] > 0 for line in told if "GradientNorm" in line)
    assert 0 < told[-1]["Goodput"] < 100
    # A host costs 1 a second here.
    assert told[-1]["Cost"] > sum(sum(line.get("StepTime", ())) for line in told) / 1000
    assert max(line.get("LearningRate", 0) for line in told) <= HYPERPARAMETERS["learning_rate"]


def test_its_history_is_told(job, lines):
    train.main([])
    events = [line["event"] for line in lines() if line["event"] not in ("training", "checkpoint")]
    assert events == ["started", "evaluated", "evaluated", "evaluated", "ended"]
    assert {line["step"] for line in lines("checkpoint")} >= {STEPS}
    assert lines("evaluated")[-1]["step"] == STEPS
    assert 0 <= lines("evaluated")[-1]["top1"] <= 1
    assert lines("ended")[0]["reason"] == "done"


def test_a_job_that_goes_on_is_paid_for_all_its_time(job, lines, monkeypatch):
    loss_of, calls = train.loss_of, []

    def stopped(*arguments):
        calls.append(1)
        if len(calls) == 7:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss_of(*arguments)

    monkeypatch.setattr(train, "loss_of", stopped)
    with pytest.raises(SystemExit):
        train.main([])
    assert lines("ended")[0]["reason"] == "stopped"
    monkeypatch.setenv("ATTEMPT", "2")
    monkeypatch.setenv("PAID_NODE_SECONDS", "1000")
    train.main([])
    assert [line["step"] for line in lines("resumed", 2)] == [7]
    assert lines("training", 2)[-1]["Cost"] > 1000


def test_a_loss_that_is_no_number_is_told_before_the_job_ends(job, lines):
    job.hyperparameters(learning_rate=1e30)
    with pytest.raises(UserError, match="the loss is not a number"):
        train.main([])
    assert sum(line.get("NonFiniteSteps", 0) for line in lines("training")) >= 1
    assert lines("ended")[0]["reason"].startswith("UserError: the loss is not a number")


def test_by_default_only_people_are_told(job, capfd):
    train.main([])
    out = capfd.readouterr().out
    assert "_aws" not in out
    assert "step 15 of 15: loss " in out
    assert "goodput" in out


def test_with_an_unreachable_weights_and_biases_training_goes_on(job, monkeypatch, tmp_path):
    """Its figures are in a folder then, for `wandb sync`."""
    (tmp_path / "wandb.py").write_text(PACKAGE)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # free again when this ends: nobody listens
    for name, value in {
        "PYTHONPATH": str(tmp_path),
        "WANDB_PROJECT": "dogs",
        "WANDB_MODE": "online",
        "WANDB_BASE_URL": f"http://127.0.0.1:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    train.main([])
    assert (job.root / "model" / "model.safetensors").is_file()
    told = [json.loads(line) for line in (job.root / "output/data/offline.jsonl").read_text().splitlines()]
    assert told[0]["config"]["backbone"] == "test_resnet"
    assert [line["epoch"] for line in told if "top1" in line] == [1, 2, 3]
    assert told[-1] == {"finished": True}


def test_without_its_package_training_goes_on(job, monkeypatch, tmp_path):
    (tmp_path / "wandb.py").write_text("raise ImportError('no such package')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("WANDB_PROJECT", "dogs")
    train.main([])
    assert (job.root / "model" / "model.safetensors").is_file()
