"""Spot gives notice to the first of two hosts of a job: nothing is lost, and its figures are all there."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.local.support import fault, until
from tests.local.training.hosts import host_of, warned
from tests.local.training.stage import Stage
from tests.local.training.uploads import dataset_of, write_manifest
from tests.unit.vision.tracking_support import read_run

JOB, LOG = "digits-spot", "ClusterTrainerLogs"
EPOCHS, BATCH = 24, 32
SETTINGS = {"backbone": "test_resnet", "image_size": 32, "epochs": EPOCHS, "batch_size": BATCH}
# All stay, whatever the cadence.
SETTINGS |= {"checkpoint_steps": 10, "checkpoint_keep": 1000}


def said(stage: Stage, *events: str, task: str = "") -> list[dict[str, Any]]:
    """Lines of these kinds that the job's first processes wrote, on this host or on all, oldest first."""
    # Lines of metrics come from all processes: those of the first one know the step.
    return [
        one
        for one in stage.told(LOG, task)
        if one.get("Job") == JOB and one["event"] in events and (one["event"] != "training" or "Step" in one)
    ]


def test_a_warning_of_spot_costs_no_step(stage: Stage, train: Callable[..., Any], tmp_path: Path) -> None:
    since, address = time.time(), write_manifest(stage)
    settings = [part for name, value in SETTINGS.items() for part in ("-s", f"{name}={value}")]
    train("submit", JOB, "--data", address, "--hosts", "2", *settings, "--wandb", "digits", "--detach")
    stage.reached(JOB, "running")
    tasks = stage.tasks(startedBy=f"{JOB}/1")
    first = until(
        lambda: next((one for one in tasks if said(stage, "checkpoint", task=one["taskArn"])), None),
        lambda: stage.logs(LOG),
    )
    # The next epoch is not read before the warning has had its effect: the job does not end before.
    held = {"service": "s3", "operation": "GET", "path": "/datasets/digits/shards/", "when": "before"}
    with warned(stage, first):
        with fault(stage.cloud, **held, hold_s=30):
            until(
                lambda: described(stage, first)["desiredStatus"] == "STOPPED",
                lambda: described(stage, first),
            )
            host = host_of(stage, first)
        job = train("watch", JOB)

    # The rule's function stopped the task, on a host that takes no other; the trainer left in order.
    assert host["status"] == "DRAINING"
    stopped = described(stage, first)
    told = (stopped["stopCode"], stopped["stoppedReason"], stopped["containers"][0]["exitCode"])
    assert told == ("UserInitiated", "Spot takes the instance back", 143), stage.logs(LOG)
    assert (job["state"], job["attempt"]) == ("completed", 1), stage.logs(LOG)
    # A minute after they were asked for another host may have come.
    assert [(one["attempt"], one["hosts"]) for one in job["worlds"]][:2] == [(1, 2), (1, 1)]
    runs_are_there(stage, tmp_path, nothing_is_lost(stage))

    decisions = stage.decisions(since)
    assert [one for one in decisions if not one.allowed] == []
    used = {one.action for one in decisions if one.role == stage.role("JobsAttemptsRole")}
    assert used >= {"ecs:ListContainerInstances", "ecs:ListTasks", "ecs:StopTask"}


def nothing_is_lost(stage: Stage) -> list[int]:
    """From what was told and stored: whenever the job began again it did after the last step, and did none
    twice.

    Returns:
        The steps that it began after, and that of its end.
    """
    until(lambda: [one["reason"] for one in said(stage, "ended")][-1:] == ["done"], lambda: stage.logs(LOG))
    images = sum(len(shard["samples"]) for shard in dataset_of(stage)["splits"]["train"])
    steps = EPOCHS * (images // BATCH)
    # Where the rest takes long another host may come for the one that left: then all stop once more.
    ends = [one["reason"] for one in said(stage, "ended")]
    assert ends == ["stopped"] * (len(ends) - 1) + ["done"]
    began = [one["step"] for one in said(stage, "started", "resumed")]
    assert began[0] == 0 < began[1] < steps
    lasts, last = [], 0
    for one in said(stage, "training", "ended"):
        last = int(one.get("Step", last))
        if one["event"] == "ended":
            lasts.append(last)
    assert lasts == [*began[1:], steps]
    assert sum(one.get("steps", 0) for one in said(stage, "training")) == steps
    saved = {one["step"] for one in said(stage, "checkpoint")}
    stored = stage.keys(f"training-jobs/{JOB}/checkpoints/")
    for step in began[1:]:
        assert step in saved
        assert any(f"/step-{step:08d}-" in key for key in stored)
    assert stage.job(JOB)["step"] == steps
    return lasts


def runs_are_there(stage: Stage, folder: Path, lasts: list[int]) -> None:
    """A run of Weights & Biases of each time that the job began, also of the host that was stopped."""
    place = f"training-jobs/{JOB}/output/wandb/"
    runs = []
    for key in sorted(one for one in stage.keys(place) if one.endswith(".wandb")):
        file = folder / Path(key).name
        stage.client("s3").download_file(stage.bucket, key, str(file))
        runs.append(read_run(file))
    assert {one.run["name"] for one in runs} == {f"{JOB}-1"}
    assert all(one.ended and one.run["config"]["epochs"] == EPOCHS for one in runs)
    assert sorted(one.history[-1]["_step"] for one in runs) == lasts


def described(stage: Stage, task: dict[str, Any]) -> dict[str, Any]:
    (found,) = stage.client("ecs").describe_tasks(cluster=task["clusterArn"], tasks=[task["taskArn"]])[
        "tasks"
    ]
    return dict(found)
