"""What tuning jobs on the local cloud find, with real processes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.local.workloads.tuning_jobs import (
    METRIC,
    QUADRATIC,
    SCORE,
    config,
    ended_fixture,
    jobs,
    ranges,
    start,
    training,
    value,
)

__all__ = ["ended_fixture"]


def test_the_best_job_is_found(workplace: Any, ended: Any) -> None:
    tags = [{"Key": "team", "Value": "credit"}]
    name = start(workplace, config(jobs=4), TrainingJobDefinition=training(workplace, QUADRATIC), Tags=tags)
    answer = ended(name)
    assert answer["HyperParameterTuningJobStatus"] == "Completed", answer
    assert answer["TrainingJobStatusCounters"] == {
        "Completed": 4,
        "InProgress": 0,
        "RetryableError": 0,
        "NonRetryableError": 0,
        "Stopped": 0,
    }
    assert answer["ObjectiveStatusCounters"] == {"Succeeded": 4, "Pending": 0, "Failed": 0}
    assert "OverallBestTrainingJob" not in answer
    assert answer["HyperParameterTuningEndTime"] >= answer["CreationTime"]

    found = jobs(workplace, name, SortBy="FinalObjectiveMetricValue", SortOrder="Descending")
    assert [value(item) for item in found] == sorted((value(item) for item in found), reverse=True)
    best = answer["BestTrainingJob"]
    assert best == found[0]
    assert best["ObjectiveStatus"] == "Succeeded"
    assert set(best["TunedHyperParameters"]) == {"x", "c"}
    assert value(best) == pytest.approx(
        -((float(best["TunedHyperParameters"]["x"]) - 3) ** 2) + (best["TunedHyperParameters"]["c"] == "b")
    )

    job = workplace.sagemaker.describe_training_job(TrainingJobName=best["TrainingJobName"])
    assert job["TrainingJobName"].startswith(f"{name}-00")
    assert job["TuningJobArn"] == answer["HyperParameterTuningJobArn"]
    assert job["HyperParameters"] == {
        "code": json.dumps(QUADRATIC),
        "_tuning_objective_metric": "score",
        **best["TunedHyperParameters"],
    }
    static = answer["TrainingJobDefinition"]["StaticHyperParameters"]
    assert static["_tuning_objective_metric"] == "score"
    for arn in (job["TrainingJobArn"], answer["HyperParameterTuningJobArn"]):
        assert workplace.sagemaker.list_tags(ResourceArn=arn)["Tags"] == tags


@pytest.mark.parametrize("strategy", ["Random", "Bayesian"])
def test_a_seed_gives_the_same_configurations(workplace: Any, ended: Any, strategy: str) -> None:
    definition = training(workplace, QUADRATIC)
    names = [start(workplace, config(strategy, parallel=1), TrainingJobDefinition=definition) for _ in "ab"]
    for name in names:
        assert ended(name)["HyperParameterTuningJobStatus"] == "Completed"
    first, second = ([item["TunedHyperParameters"] for item in jobs(workplace, name)] for name in names)
    assert first == second


def test_a_grid_is_tried_whole(workplace: Any, ended: Any) -> None:
    code = SCORE + 'print("score=%d;" % (10 * (h["c"] == "b") + int(h["d"])))'
    grid = {
        "CategoricalParameterRanges": [
            {"Name": "c", "Values": ["a", "b"]},
            {"Name": "d", "Values": ["1", "2", "3"]},
        ]
    }
    name = start(
        workplace,
        config("Grid", jobs=None, parallel=3, ParameterRanges=grid),
        TrainingJobDefinition=training(workplace, code),
    )
    answer = ended(name)
    assert answer["TrainingJobStatusCounters"]["Completed"] == 6
    assert answer["BestTrainingJob"]["TunedHyperParameters"] == {"c": "b", "d": "3"}
    tried = {tuple(sorted(item["TunedHyperParameters"].items())) for item in jobs(workplace, name)}
    assert len(tried) == 6


def test_several_algorithms_take_turns(workplace: Any, ended: Any) -> None:
    def definition(name: str, code: str, metric: str) -> dict[str, Any]:
        made = training(workplace, code, DefinitionName=name, HyperParameterRanges=ranges())
        made["AlgorithmSpecification"]["MetricDefinitions"] = [{**METRIC, "Name": metric}]
        made["TuningObjective"] = {"Type": "Maximize", "MetricName": metric}
        return made

    configuration = config(jobs=4)
    del configuration["ParameterRanges"], configuration["HyperParameterTuningJobObjective"]
    name = start(
        workplace,
        configuration,
        TrainingJobDefinitions=[
            definition("steady", 'print("score=1;")', "one"),
            definition("better", 'print("score=2;")', "two"),
        ],
    )
    answer = ended(name)
    assert answer["HyperParameterTuningJobStatus"] == "Completed", answer
    assert answer["BestTrainingJob"]["TrainingJobDefinitionName"] == "better"
    assert answer["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"] == {
        "Type": "Maximize",
        "MetricName": "two",
        "Value": 2.0,
    }
    of = sorted(item["TrainingJobDefinitionName"] for item in jobs(workplace, name))
    assert of == ["better", "better", "steady", "steady"]


# Whatever is to be stopped is still there when the stop comes, however late.
EPOCHS = (
    SCORE
    + """
import time
for epoch in range(4):
    print("score=%s;" % h["c"], flush=True)
    time.sleep(0.15)
if h["c"] in "123":
    time.sleep(3600)
"""
)


def test_a_job_below_the_median_is_stopped(workplace: Any, ended: Any) -> None:
    grid = {"CategoricalParameterRanges": [{"Name": "c", "Values": ["5", "1"]}]}
    name = start(
        workplace,
        config("Grid", jobs=None, parallel=1, ParameterRanges=grid, TrainingJobEarlyStoppingType="Auto"),
        TrainingJobDefinition=training(workplace, EPOCHS),
    )
    answer = ended(name)
    assert answer["HyperParameterTuningJobStatus"] == "Completed"
    assert answer["TrainingJobStatusCounters"]["Stopped"] == 1
    assert answer["BestTrainingJob"]["TunedHyperParameters"] == {"c": "5"}
    stopped = jobs(workplace, name, StatusEquals="Stopped")
    assert [(item["ObjectiveStatus"], value(item)) for item in stopped] == [("Succeeded", 1.0)]


def test_hyperband_stops_what_falls_behind(workplace: Any, ended: Any) -> None:
    values = [str(number) for number in range(1, 10)]
    grid = {"CategoricalParameterRanges": [{"Name": "c", "Values": values}]}
    resource = {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 4}}
    name = start(
        workplace,
        config("Hyperband", jobs=8, parallel=1, ParameterRanges=grid, StrategyConfig=resource),
        TrainingJobDefinition=training(workplace, EPOCHS),
    )
    answer = ended(name)
    assert answer["HyperParameterTuningJobStatus"] == "Completed"
    counters = answer["TrainingJobStatusCounters"]
    assert counters["Completed"] + counters["Stopped"] == 8
    # Of the three lowest values the seed tries each after better ones of its bracket.
    assert counters["Stopped"] == 3
    assert answer["ObjectiveStatusCounters"]["Succeeded"] == 8


def test_the_target_ends_the_search(workplace: Any, ended: Any) -> None:
    criteria = {"TargetObjectiveMetricValue": 0.5}
    name = start(
        workplace,
        config(jobs=9, parallel=1, TuningJobCompletionCriteria=criteria),
        TrainingJobDefinition=training(workplace, 'print("score=1;")'),
    )
    answer = ended(name)
    assert answer["HyperParameterTuningJobStatus"] == "Completed"
    assert answer["TrainingJobStatusCounters"]["Completed"] == 1


def test_a_warm_start_knows_its_parents_best(workplace: Any, ended: Any) -> None:
    definition = training(workplace, QUADRATIC)
    parent = start(workplace, config(jobs=4), TrainingJobDefinition=definition)
    best = ended(parent)["BestTrainingJob"]
    worse = config("Bayesian", jobs=2)
    worse["ParameterRanges"]["ContinuousParameterRanges"][0]["MinValue"] = "9"
    name = start(
        workplace,
        worse,
        TrainingJobDefinition=definition,
        WarmStartConfig={
            "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": parent}],
            "WarmStartType": "IdenticalDataAndAlgorithm",
        },
    )
    answer = ended(name)
    assert answer["HyperParameterTuningJobStatus"] == "Completed", answer
    overall = answer["OverallBestTrainingJob"]
    assert overall["TuningJobName"] == parent
    assert overall["TrainingJobName"] == best["TrainingJobName"]
    assert answer["BestTrainingJob"]["TrainingJobName"].startswith(f"{name}-")


def test_the_built_in_xgboost_needs_no_metric_definition(workplace: Any, ended: Any) -> None:
    rows = "\n".join(f"{x * x},{x}" for x in range(60))
    channels = [
        {
            "ChannelName": name,
            "ContentType": "text/csv",
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    "S3Uri": workplace.put(f"xgb-{name}/{name}.csv", rows).rsplit("/", 1)[0],
                }
            },
        }
        for name in ("train", "validation")
    ]
    definition = training(
        workplace,
        "",
        AlgorithmSpecification={
            "TrainingImage": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1",
            "TrainingInputMode": "File",
        },
        InputDataConfig=channels,
        StaticHyperParameters={"objective": "reg:squarederror", "num_round": "8"},
    )
    name = start(
        workplace,
        config(
            jobs=2,
            HyperParameterTuningJobObjective={"Type": "Minimize", "MetricName": "validation:rmse"},
            ParameterRanges={
                "ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0.01", "MaxValue": "1"}]
            },
        ),
        TrainingJobDefinition=definition,
    )
    answer = ended(name)
    assert answer["HyperParameterTuningJobStatus"] == "Completed", (answer, jobs(workplace, name))
    found = jobs(workplace, name, SortBy="FinalObjectiveMetricValue")
    assert [item["ObjectiveStatus"] for item in found] == ["Succeeded", "Succeeded"]
    # The faster learner of the two is the better one after eight rounds.
    etas = [float(item["TunedHyperParameters"]["eta"]) for item in found]
    assert etas == sorted(etas, reverse=True)
