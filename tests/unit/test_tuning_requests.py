"""The requests for tuning jobs: what they may say, and what they refuse."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from localcloud.sagemaker.jobs.tuning.definitions import definitions_of
from localcloud.sagemaker.jobs.tuning.records import KIND
from localcloud.sagemaker.service import SageMaker
from tests.unit.sagemaker_support import call, iam_fixture, sagemaker_fixture
from tests.unit.tuning_support import (
    ROLE,
    XGBOOST,
    Change,
    Runner,
    body,
    config,
    create,
    grid,
    request,
    runner_fixture,
    several,
)

__all__ = ["iam_fixture", "runner_fixture", "sagemaker_fixture"]


REFUSED: list[tuple[Change, str]] = [
    (lambda r: r.pop("TrainingJobDefinition"), "Either TrainingJobDefinition or"),
    (lambda r: r.update(TrainingJobDefinitions=[body()]), "not both"),
    (
        lambda r: config(r).pop("HyperParameterTuningJobObjective"),
        "HyperParameterTuningJobObjective is required",
    ),
    (lambda r: config(r).pop("ParameterRanges"), "ParameterRanges is required"),
    (lambda r: config(r)["ParameterRanges"].clear(), "at least one hyperparameter range"),
    (lambda r: config(r).update(Strategy="Guess"), "enum value set"),
    (lambda r: config(r)["HyperParameterTuningJobObjective"].update(MetricName="f1"), "A metric is required"),
    (
        lambda r: r["TrainingJobDefinition"]["StaticHyperParameters"].update(depth="3"),
        "both static and tunable",
    ),
    (lambda r: config(r)["ResourceLimits"].update(MaxParallelTrainingJobs=5), "less than or equal to"),
    (
        lambda r: config(r)["ResourceLimits"].update(MaxNumberOfTrainingJobs=10),
        "[9.0] must be equal or greater",
    ),
    (
        lambda r: config(r)["ResourceLimits"].pop("MaxNumberOfTrainingJobs"),
        "MaxNumberOfTrainingJobs is required",
    ),
    (lambda r: config(r)["ResourceLimits"].update(MaxRuntimeInSeconds=5), "greater than or equal to 120"),
    (lambda r: r["TrainingJobDefinition"].pop("ResourceConfig"), "Provide either ResourceConfig"),
    (
        lambda r: r["TrainingJobDefinition"]["ResourceConfig"].pop("InstanceType"),
        "InstanceType is missing",
    ),
    (
        lambda r: r["TrainingJobDefinition"]["AlgorithmSpecification"].pop("TrainingImage"),
        "jobs without a TrainingImage",
    ),
    (lambda r: r["TrainingJobDefinition"].update(EnableManagedSpotTraining=True), "MaxWaitTimeInSeconds"),
    (lambda r: r.update(Autotune={"Mode": "Enabled"}), "Autotune"),
    (lambda r: config(r).update(Strategy="Grid"), "categorical hyperparameter ranges only"),
    (lambda r: grid(r, MaxNumberOfTrainingJobs=3), "must be the number of combinations of the grid, 2"),
    (
        lambda r: config(r).update(Strategy="Hyperband", TrainingJobEarlyStoppingType="Auto"),
        "must be Off to use the Hyperband strategy",
    ),
    (
        lambda r: (
            config(r).update(Strategy="Hyperband"),
            r["TrainingJobDefinition"].pop("StaticHyperParameters"),
        ),
        "MaxResource parameter is not provided",
    ),
    (
        lambda r: config(r).update(
            Strategy="Hyperband",
            StrategyConfig={"HyperbandStrategyConfig": {"MinResource": 10, "MaxResource": 9}},
        ),
        "MinResource 10 must be less",
    ),
    (
        lambda r: config(r).update(StrategyConfig={"HyperbandStrategyConfig": {"MaxResource": 9}}),
        "only be provided with the Hyperband strategy",
    ),
    (lambda r: r["TrainingJobDefinition"].update(RoleArn=ROLE + "-gone"), "role"),
]


@pytest.mark.parametrize(("change", "words"), REFUSED)
def test_what_is_refused(sagemaker: SageMaker, runner: Runner, change: Change, words: str) -> None:
    made = request()
    change(made)
    status, answer = create(sagemaker, made)
    assert (status, answer["__type"]) == (400, "ValidationException"), answer
    assert words in answer["message"]
    assert runner.started == []


def test_quotas(sagemaker: SageMaker, runner: Runner) -> None:
    made = request()
    config(made)["ParameterRanges"]["IntegerParameterRanges"][0]["MaxValue"] = "90000"
    for limit in ({"MaxNumberOfTrainingJobs": 10_001}, {"MaxParallelTrainingJobs": 101}):
        again = copy.deepcopy(made)
        config(again)["ResourceLimits"].update({"MaxNumberOfTrainingJobs": 500, **limit})
        assert create(sagemaker, again)[1]["__type"] == "ResourceLimitExceeded"


@pytest.mark.parametrize(
    ("bodies", "words"),
    [
        ([body(), body(DefinitionName="d1")], "each DefinitionName may be given once: d1, d1"),
        (
            [body(), body(TuningObjective={"Type": "Minimize", "MetricName": "auc"})],
            "must have the same Type",
        ),
        ([body(TuningObjective=None)], "TuningObjective is required"),
        ([body(DefinitionName=None)], "definition 1 has no DefinitionName"),
        ([body(HyperParameterRanges=None)], "at least one hyperparameter range"),
        ([body(), body(StaticHyperParameters={"depth": "1"})], "both static and tunable"),
    ],
)
def test_what_is_refused_of_several_definitions(
    sagemaker: SageMaker, runner: Runner, bodies: list[dict[str, Any]], words: str
) -> None:
    status, answer = create(sagemaker, several(*bodies))
    assert (status, answer["__type"]) == (400, "ValidationException"), answer
    assert words in answer["message"]


def test_ranges_for_all_are_refused_with_several_definitions(sagemaker: SageMaker, runner: Runner) -> None:
    made = several(body())
    config(made)["ParameterRanges"] = config(request())["ParameterRanges"]
    assert "give each definition its HyperParameterRanges" in create(sagemaker, made)[1]["message"]


def test_what_is_accepted_without_being_spelled_out(sagemaker: SageMaker, runner: Runner) -> None:
    hyperband = request("a")
    config(hyperband).update(Strategy="Hyperband")
    whole = request("b")
    grid(whole)
    own = request("c")
    definition = own["TrainingJobDefinition"]
    definition["TuningObjective"] = config(own).pop("HyperParameterTuningJobObjective")
    definition["HyperParameterRanges"] = config(own).pop("ParameterRanges")
    flexible = request("d")
    del flexible["TrainingJobDefinition"]["ResourceConfig"]
    flexible["TrainingJobDefinition"]["HyperParameterTuningResourceConfig"] = {
        "InstanceConfigs": [{"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 3}]
    }
    built_in = request("e")
    config(built_in)["HyperParameterTuningJobObjective"]["MetricName"] = "validation:auc"
    built_in["TrainingJobDefinition"]["AlgorithmSpecification"] = {
        "TrainingImage": XGBOOST,
        "TrainingInputMode": "File",
    }
    for made in (hyperband, whole, own, flexible, built_in):
        assert create(sagemaker, made)[0] == 200
    record = sagemaker.store.get(KIND, "d")
    made_of = definitions_of(record)[0].training_request("d-001-00000000", {"depth": "3"})
    assert made_of["ResourceConfig"] == {
        "InstanceType": "ml.m5.large",
        "InstanceCount": 2,
        "VolumeSizeInGB": 3,
    }


def test_a_training_job_has_checkpoints_of_its_own() -> None:
    made = request()
    made["TrainingJobDefinition"]["CheckpointConfig"] = {"S3Uri": "s3://bucket/checkpoints/"}
    found = definitions_of(made)[0].training_request("job-1", {"depth": "3"})
    assert found["CheckpointConfig"]["S3Uri"] == "s3://bucket/checkpoints/job-1"
    assert found["HyperParameters"] == {"epochs": "9", "_tuning_objective_metric": "auc", "depth": "3"}


def warm(kind: str = "IdenticalDataAndAlgorithm", parent: str = "search-1") -> dict[str, Any]:
    made = request("again")
    made["WarmStartConfig"] = {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": parent}],
        "WarmStartType": kind,
    }
    return made


WARM_REFUSED: list[tuple[Change, str]] = [
    (grid, "not for Grid"),
    (lambda r: config(r)["HyperParameterTuningJobObjective"].update(Type="Minimize"), "its objective is auc"),
    (lambda r: r["TrainingJobDefinition"]["StaticHyperParameters"].update(more="1"), "its hyperparameters"),
    (
        lambda r: r["TrainingJobDefinition"].update(
            InputDataConfig=[
                {
                    "ChannelName": "train",
                    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/in"}},
                }
            ]
        ),
        "its input data are others",
    ),
]


@pytest.mark.parametrize(("change", "words"), WARM_REFUSED)
def test_a_warm_start_with_identical_data(
    sagemaker: SageMaker, runner: Runner, change: Change, words: str
) -> None:
    call(sagemaker, "CreateHyperParameterTuningJob", **request())
    made = warm()
    assert "must have ended" in create(sagemaker, made)[1]["message"]
    sagemaker.store.update(KIND, "Search-1", lambda r: r.update(HyperParameterTuningJobStatus="Completed"))
    changed = copy.deepcopy(made)
    change(changed)
    status, answer = create(sagemaker, changed)
    assert status == 400
    assert words in answer["message"]
    assert create(sagemaker, made)[0] == 200
    status, answer = create(sagemaker, warm(parent="ghost"))
    assert answer["__type"] == "ResourceNotFound"
