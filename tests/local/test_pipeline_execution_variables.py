"""Execution variables as jobs get to see them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.local.pipeline_support import Bench
from tests.local.test_pipeline_training_faults import training

NAMES = ("StartDateTime", "CurrentDateTime", "PipelineArn")


def variables(*names: str) -> dict[str, Any]:
    return {name: {"Get": f"Execution.{name}"} for name in names}


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def test_jobs_see_the_execution_and_their_own_names(bench: Bench) -> None:
    prepare = bench.processing("Prepare", "sleep", "0.2")
    prepare["Arguments"]["Environment"] = variables(*NAMES, "ProcessingJobName")
    train = training(bench, "sleep", "0")
    train["DependsOn"] = ["Prepare"]
    train["Arguments"]["HyperParameters"] = variables(*NAMES, "TrainingJobName")
    name = bench.create(prepare, train)
    arn = bench.start(name)
    execution = bench.wait(arn)
    steps = bench.steps(arn)
    assert execution["PipelineExecutionStatus"] == "Succeeded", steps

    processed, trained = (bench.job(steps[name]) for name in ("Prepare", "Train"))
    first, second = processed["Environment"], trained["HyperParameters"]
    assert first["ProcessingJobName"] == processed["ProcessingJobName"]
    assert second["TrainingJobName"] == trained["TrainingJobName"]
    pipeline = bench.client.describe_pipeline(PipelineName=name)["PipelineArn"]
    assert first["PipelineArn"] == second["PipelineArn"] == pipeline
    # The start is the execution's, the same for all; the current time is each step's own.
    assert first["StartDateTime"] == second["StartDateTime"]
    started = moment(first["StartDateTime"])
    assert abs((started - execution["CreationTime"]).total_seconds()) < 0.01
    assert started <= moment(first["CurrentDateTime"]) <= processed["ProcessingEndTime"]
    assert (
        processed["ProcessingEndTime"] <= moment(second["CurrentDateTime"]) <= execution["LastModifiedTime"]
    )
