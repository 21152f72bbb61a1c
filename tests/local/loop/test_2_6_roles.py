"""Enforcement bites the role of every pipeline, and each of what only some of them do: tuning, images."""

from __future__ import annotations

import time

import pytest

from pipeline_defs.catalog import PIPELINES, PipelineSpec
from tests.local.loop.enforcement import (
    execution_role,
    failed_steps,
    refused,
    stop,
    stop_allowed,
    until_runs,
    until_stopped,
    waiting,
    was_refused,
)
from tests.local.loop.families import IMAGES, TUNED, begin, fresh_input, run
from tests.local.loop.grants import without
from tests.local.loop.story import Story, eventually

pytestmark = [pytest.mark.loop, pytest.mark.timeout(900)]

TUNING_ROLE = execution_role(TUNED)
# One trial of two parts, which the cache knows nothing of.
QUICK = {"MaxTuningJobs": "1", "MaxParallelTuningJobs": "1", "CrossValidationFolds": "2"}


@pytest.mark.parametrize("spec", PIPELINES, ids=lambda spec: spec.name)
def test_every_pipeline_runs_under_its_own_role(story: Story, spec: PipelineSpec) -> None:
    nothing = f"s3://{story.outputs['DataBucketName']}/{spec.family.raw}nothing/"

    def why_it_fails() -> str:
        sagemaker = story.scientist.client("sagemaker")
        arn = sagemaker.start_pipeline_execution(
            PipelineName=spec.name, PipelineParameters=[{"Name": "InputData", "Value": nothing}]
        )["PipelineExecutionArn"]
        (failed,) = failed_steps(story.watch(arn)).items()
        assert failed[0] == "ValidateData"
        return failed[1]

    with refused(story, execution_role(spec.name), "sagemaker:CreateProcessingJob"):
        assert "not authorized to perform: sagemaker:CreateProcessingJob" in why_it_fails()

    # It was the permission: now the job is made, and misses its data.
    assert "not authorized" not in why_it_fails()


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("sagemaker:CreateHyperParameterTuningJob", ""),
        ("sagemaker:AddTags", "hyper-parameter-tuning-job"),
        ("sagemaker:DescribeHyperParameterTuningJob", ""),
        ("sagemaker:ListTrainingJobsForHyperParameterTuningJob", ""),
    ],
)
def test_tuning(story: Story, action: str, resource: str) -> None:
    with refused(story, TUNING_ROLE, action, resource):
        execution = run(story, TUNED, **QUICK)

    assert execution["status"] == "Failed", execution
    failed = failed_steps(execution)
    assert list(failed) == ["TuneModels"]
    assert f"not authorized to perform: {action}" in failed["TuneModels"]


def test_tuning_goes_on_where_it_may_not_be_stopped(story: Story) -> None:
    since, action = time.time(), "sagemaker:StopHyperParameterTuningJob"
    with without(story.administrator, story.names.role(TUNING_ROLE), action):
        with waiting(story, TUNED, "TuneModels"):
            arn = begin(story, TUNED, **QUICK)
            until_runs(story, arn, "TuneModels")
            stop(story, arn)
            eventually(lambda: was_refused(story, since, TUNING_ROLE, action))
        until_stopped(story, arn)
    # Nobody stopped it: it came to its end.
    (tuned, *_) = story.administrator.client("sagemaker").list_hyper_parameter_tuning_jobs(
        SortBy="CreationTime", SortOrder="Descending"
    )["HyperParameterTuningJobSummaries"]
    assert tuned["HyperParameterTuningJobStatus"] == "Completed"


@pytest.mark.parametrize(
    ("model", "step", "job", "changed"),
    [
        (TUNED, "ValidateData", "ProcessingJob", {}),
        (TUNED, "TuneModels", "HyperParameterTuningJob", {**QUICK, "MaxTuningJobs": "2"}),
        (TUNED, "RefitModel", "TrainingJob", QUICK),
        (TUNED, "BatchTransform", "TransformJob", {}),
        pytest.param(IMAGES, "ValidateData", "ProcessingJob", {}, marks=pytest.mark.torch),
        pytest.param(IMAGES, "TrainModel", "TrainingJob", {"LearningRate": "0.001"}, marks=pytest.mark.torch),
        pytest.param(IMAGES, "BatchTransform", "TransformJob", {}, marks=pytest.mark.torch),
    ],
)
def test_each_family_stops_its_jobs(
    story: Story, model: str, step: str, job: str, changed: dict[str, str]
) -> None:
    if step == "ValidateData":
        changed = {**changed, "InputData": fresh_input(story, model)}
    with waiting(story, model, step):
        arn = begin(story, model, **changed)
        until_runs(story, arn, step)
        stop_allowed(story, arn, execution_role(model), f"sagemaker:Stop{job}")
    until_stopped(story, arn)
