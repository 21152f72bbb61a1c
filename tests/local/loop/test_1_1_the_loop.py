"""The whole loop, once, on a cloud of its own, with the clients that people use.

The stock CDK CLI deploys, the AWS CLI and boto3 act as the deployed roles for people, plain HTTPS
with SigV4 asks for predictions. The tests are the chapters of one story and run in the order of this file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelyard_cli.demo import commands, phases
from modelyard_cli.errors import CliError
from tests.local.loop import canaries, families
from tests.local.loop.story import MODEL, Story, eventually

pytestmark = [pytest.mark.loop, pytest.mark.timeout(900)]


def steps(execution: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["status"] for step in execution["steps"]}


NOT_TAKEN = (
    "CheckOnGateFailure",
    "TrainModelWider",
    "EvaluateModelWider",
    "CheckMseWider",
    "RegisterModelWider",
    "CreateModelWider",
    "BatchTransformWider",
    "MseTooHighWider",
    "MseTooHigh",
)


@pytest.mark.parametrize("model", families.OTHERS)
def test_pipelines_of_other_data_begin_beside_it(story: Story, model: str) -> None:
    families.begin(story, model)  # how they end is the next chapter


def test_the_pipeline_trains_registers_and_scores_the_batch(story: Story) -> None:
    execution = story.run()

    assert execution["status"] == "Succeeded", execution
    assert steps(execution) == {
        "ValidateData": "Succeeded",
        "PreprocessData": "Succeeded",
        "TrainModel": "Succeeded",
        "EvaluateModel": "Succeeded",
        "CheckMse": "Succeeded",
        "RegisterModel": "Succeeded",
        "CreateModel": "Succeeded",
        "BatchTransform": "Succeeded",
        **dict.fromkeys(NOT_TAKEN, "Skipped"),
    }
    s3 = story.administrator.client("s3")
    bucket = story.outputs["DataBucketName"]
    keys = [
        item["Key"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"pipelines/{MODEL}/")
        for item in page.get("Contents", [])
    ]
    (scored,) = [key for key in keys if key.endswith("batch.jsonl.out")]
    answers = s3.get_object(Bucket=bucket, Key=scored)["Body"].read().decode().splitlines()
    asked = story.data.batch.read_text().splitlines()
    assert [json.loads(line)["loan_id"] for line in answers] == [
        json.loads(line)["loan_id"] for line in asked
    ]


def test_a_second_run_is_answered_from_the_cache(story: Story) -> None:
    execution = story.run()

    cached = [step["name"] for step in execution["steps"] if step["detail"] == "from cache"]
    assert cached == ["ValidateData", "PreprocessData", "TrainModel", "EvaluateModel"]


def test_nothing_is_served_before_a_person_approves(story: Story) -> None:
    with pytest.raises(CliError, match=f"404.*{MODEL}"):
        story.predict(story.data.examples)


def test_approval_deploys_and_the_prediction_is_near_the_truth(story: Story) -> None:
    packages = story.aws(
        story.approver, "sagemaker", "list-model-packages", "--model-package-group-name", MODEL
    )
    first = next(p for p in packages["ModelPackageSummaryList"] if p["ModelPackageVersion"] == 1)
    story.aws(
        story.approver, "sagemaker", "update-model-package", "--model-package-arn", first["ModelPackageArn"],
        "--model-approval-status", "Approved",
    )  # fmt: skip

    answer = eventually(lambda: story.predict(story.data.examples))

    assert (answer["model"], answer["version"]) == (MODEL, 1)
    rmse = phases.metrics(story.scientist)["rmse"]
    for predicted, true in zip(answer["predictions"], story.data.truth, strict=True):
        assert abs(predicted - true) < 3 * rmse


def test_a_canary_is_approved_for_a_share_of_the_requests(story: Story) -> None:
    done = story.modelyard(story.approver, "approve", MODEL, "2", "--canary", "40")

    assert (done["status"], done["canary"], done["alone"]) == ("Approved", 40, False)
    canary = eventually(lambda: canaries.canary_of(story))
    assert (canary["version"], canary["percent"]) == (2, 40)


def test_the_report_beats_a_constant_and_the_gate_read_it(story: Story) -> None:
    metrics = phases.metrics(story.approver)

    assert metrics["mse"] < metrics["baseline"]
    assert metrics["mse"] <= metrics["threshold"]
    assert 0.3 < metrics["r2"] < 0.6


def test_the_gate_refuses_with_both_numbers(story: Story) -> None:
    execution = story.run(MseThreshold="1.5")

    assert execution["status"] == "Failed"
    assert steps(execution)["MseTooHigh"] == "Failed"
    assert steps(execution)["RegisterModel"] == "Skipped"
    (reason,) = [step["detail"] for step in execution["steps"] if step["name"] == "MseTooHigh"]
    mse = phases.metrics(story.scientist)["mse"]
    assert "1.5" in reason
    assert f"{mse:.6f}"[:6] in reason


def test_a_failed_gate_may_train_wider_once(story: Story) -> None:
    execution = story.run(MseThreshold="1.5", OnGateFailure="Retrain")

    assert execution["status"] == "Failed"
    taken = steps(execution)
    assert taken["TrainModelWider"] == taken["EvaluateModelWider"] == "Succeeded"
    assert taken["MseTooHighWider"] == "Failed"
    assert taken["MseTooHigh"] == taken["RegisterModelWider"] == "Skipped"


def test_a_model_is_trained_over_two_hosts(story: Story) -> None:
    execution = story.run(TrainingInstanceCount="2", ModelApprovalStatus="Rejected")

    assert execution["status"] == "Succeeded", execution
    metrics = phases.metrics(story.scientist)
    assert 0.3 < metrics["r2"] < 0.6


def test_cdk_diff_shows_nothing(story: Story, tmp_path: Path) -> None:
    log = tmp_path / "diff.log"
    commands.cdk(
        "diff", "--app", str(phases.ASSEMBLY), "--fail", environment=story.environment, log=log
    )  # fmt: skip

    assert "no differences" in log.read_text()


def test_nobody_was_refused_anything(story: Story) -> None:
    assert [decision for decision in story.decisions() if not decision.allowed] == []
