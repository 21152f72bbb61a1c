"""Hyperparameter tuning jobs on the local cloud, with real processes."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud import lifecycle
from localcloud.connect import connect

SCORE = 'import json; h = json.load(open("/opt/ml/input/config/hyperparameters.json"))\n'
# The best x is 3, and the best c is b.
QUADRATIC = SCORE + 'print("score=%r;" % (-(float(h["x"]) - 3) ** 2 + (h["c"] == "b")))'
METRIC = {"Name": "score", "Regex": "score=([-0-9.e]+);"}


def training(workplace: Any, code: str, **changes: Any) -> dict[str, Any]:
    """A training job definition."""
    return {
        "RoleArn": workplace.role,
        "AlgorithmSpecification": {
            "TrainingImage": workplace.image,
            "TrainingInputMode": "File",
            "MetricDefinitions": [METRIC],
        },
        "StaticHyperParameters": {"code": json.dumps(code)},
        "OutputDataConfig": {"S3OutputPath": workplace.uri("tuning/")},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        **changes,
    }


def ranges() -> dict[str, Any]:
    return {
        "ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "10"}],
        "CategoricalParameterRanges": [{"Name": "c", "Values": ["a", "b"]}],
    }


def config(
    strategy: str = "Random", jobs: int | None = 3, parallel: int = 2, **changes: Any
) -> dict[str, Any]:
    limits = {
        "MaxParallelTrainingJobs": parallel,
        **({} if jobs is None else {"MaxNumberOfTrainingJobs": jobs}),
    }
    return {
        "Strategy": strategy,
        "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "score"},
        "ResourceLimits": limits,
        "ParameterRanges": ranges(),
        "RandomSeed": 7,
        **changes,
    }


def start(workplace: Any, configuration: dict[str, Any], **members: Any) -> str:
    name = f"tune-{uuid.uuid4().hex[:8]}"
    workplace.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name, HyperParameterTuningJobConfig=configuration, **members
    )
    return name


def describe(workplace: Any, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = workplace.sagemaker.describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name
    )
    return answer


@pytest.fixture
def ended(workplace: Any, settle: Any) -> Callable[[str], dict[str, Any]]:
    def wait(name: str) -> dict[str, Any]:
        answer: dict[str, Any] = settle(lambda: describe(workplace, name), "HyperParameterTuningJobStatus")
        return answer

    return wait


def jobs(workplace: Any, name: str, **request: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = workplace.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name, MaxResults=100, **request
    )["TrainingJobSummaries"]
    return found


def value(summary: dict[str, Any]) -> float:
    return float(summary["FinalHyperParameterTuningJobObjectiveMetric"]["Value"])


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


def test_some_jobs_fail(workplace: Any, ended: Any) -> None:
    code = SCORE + 'assert h["c"] == "b", "no a"\nprint("score=1;")'
    grid = {"CategoricalParameterRanges": [{"Name": "c", "Values": ["a", "b"]}]}
    name = start(
        workplace,
        config("Grid", jobs=None, ParameterRanges=grid),
        TrainingJobDefinition=training(workplace, code),
    )
    answer = ended(name)
    assert answer["HyperParameterTuningJobStatus"] == "Completed"
    assert answer["TrainingJobStatusCounters"]["NonRetryableError"] == 1
    assert answer["ObjectiveStatusCounters"] == {"Succeeded": 1, "Pending": 0, "Failed": 1}
    failed = jobs(workplace, name, StatusEquals="Failed")
    assert [item["FailureReason"] for item in failed] == [
        "AlgorithmError: AssertionError: no a, exit code: 1"
    ]
    assert failed[0]["ObjectiveStatus"] == "Failed"


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        (2, "All training jobs failed. Please take a look at the training job failures to get more details."),
        (
            8,
            "No training job succeeded after 5 attempts. Please take a look at the training job failures to "
            "get more details.",
        ),
    ],
)
def test_every_job_fails(workplace: Any, ended: Any, limit: int, reason: str) -> None:
    name = start(
        workplace,
        config(jobs=limit, parallel=1),
        TrainingJobDefinition=training(workplace, "raise SystemExit(3)"),
    )
    answer = ended(name)
    assert answer["HyperParameterTuningJobStatus"] == "Failed"
    assert answer["FailureReason"] == reason
    assert answer["TrainingJobStatusCounters"]["NonRetryableError"] == min(limit, 5)
    assert "BestTrainingJob" not in answer


def test_a_regex_that_matches_nothing(workplace: Any, ended: Any) -> None:
    name = start(workplace, config(), TrainingJobDefinition=training(workplace, 'print("accuracy 0.9")'))
    answer = ended(name)
    assert answer["HyperParameterTuningJobStatus"] == "Failed"
    assert answer["FailureReason"] == (
        "No objective metrics found after running 3 training jobs. Please ensure that the custom algorithm "
        "is emitting the objective metric as defined by the regular expression provided."
    )
    assert answer["ObjectiveStatusCounters"] == {"Succeeded": 0, "Pending": 0, "Failed": 3}
    for item in jobs(workplace, name):
        assert item["FailureReason"].startswith("ObjectiveMetric not emitted")
        assert "FinalHyperParameterTuningJobObjectiveMetric" not in item


def test_a_stop_in_the_middle(workplace: Any, ended: Any) -> None:
    # The first finishes; the others would take a minute.
    code = SCORE + (
        'import os, time\nif "-001-" not in os.environ["TRAINING_JOB_NAME"]: time.sleep(60)\n'
        'print("score=1;")'
    )
    name = start(workplace, config(jobs=5), TrainingJobDefinition=training(workplace, code))
    deadline = time.monotonic() + 30
    while True:
        now = describe(workplace, name)
        if (
            now["ObjectiveStatusCounters"]["Succeeded"]
            and now["TrainingJobStatusCounters"]["InProgress"] == 2
        ):
            break
        assert time.monotonic() < deadline, now
        time.sleep(0.05)
    workplace.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    workplace.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    answer = ended(name)
    assert answer["HyperParameterTuningJobStatus"] == "Stopped"
    assert answer["TrainingJobStatusCounters"]["Completed"] == 1
    assert answer["TrainingJobStatusCounters"]["Stopped"] == 2
    assert answer["ObjectiveStatusCounters"] == {"Succeeded": 1, "Pending": 0, "Failed": 2}
    assert value(answer["BestTrainingJob"]) == 1
    with pytest.raises(ClientError, match="is in status Stopped"):
        workplace.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)


EPOCHS = SCORE + (
    'import time\nfor epoch in range(4):\n    print("score=%s;" % h["c"], flush=True)\n    time.sleep(0.15)'
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
    assert counters["Stopped"] >= 1
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


def test_deleting_keeps_the_training_jobs(workplace: Any, ended: Any) -> None:
    name = start(workplace, config(jobs=1, parallel=1), TrainingJobDefinition=training(workplace, QUADRATIC))
    best = ended(name)["BestTrainingJob"]["TrainingJobName"]
    workplace.sagemaker.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    with pytest.raises(ClientError, match=f"can't find a tuning job called {name}") as caught:
        describe(workplace, name)
    assert caught.value.response["Error"]["Code"] == "ResourceNotFound"
    assert workplace.sagemaker.describe_training_job(TrainingJobName=best)["TrainingJobStatus"] == "Completed"


def test_a_users_permission_is_the_tuning_jobs(workplace: Any, ended: Any, actor: Any) -> None:
    tuning_jobs = "arn:aws:sagemaker:*:*:hyper-parameter-tuning-job/tune-*"
    allowed = [
        {"Effect": "Allow", "Action": "sagemaker:CreateHyperParameterTuningJob", "Resource": tuning_jobs},
        {
            "Effect": "Deny",
            "Action": "sagemaker:CreateHyperParameterTuningJob",
            "Resource": "*",
            "Condition": {"ForAnyValue:StringNotEquals": {"sagemaker:InstanceTypes": "ml.m5.large"}},
        },
        {"Effect": "Allow", "Action": "iam:PassRole", "Resource": workplace.role},
    ]
    user = workplace.cloud.client("sagemaker", actor(allowed))
    name = f"tune-{uuid.uuid4().hex[:8]}"
    request: dict[str, Any] = {
        "HyperParameterTuningJobConfig": config(jobs=1, parallel=1),
        "TrainingJobDefinition": training(workplace, QUADRATIC),
    }
    # Training jobs are started by SageMaker, not by the user.
    user.create_hyper_parameter_tuning_job(HyperParameterTuningJobName=name, **request)
    assert ended(name)["HyperParameterTuningJobStatus"] == "Completed"
    with pytest.raises(ClientError, match="sagemaker:DescribeHyperParameterTuningJob"):
        user.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    with pytest.raises(ClientError, match="not authorized"):
        user.create_hyper_parameter_tuning_job(HyperParameterTuningJobName="other", **request)
    request["TrainingJobDefinition"]["ResourceConfig"]["InstanceType"] = "ml.m5.xlarge"
    with pytest.raises(ClientError, match="explicit deny"):
        user.create_hyper_parameter_tuning_job(HyperParameterTuningJobName="tune-large", **request)


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


def test_a_stop_of_the_cloud_in_the_middle(tmp_path: Path, make_workplace: Any) -> None:
    root, context = tmp_path / "state", tmp_path / "image"
    context.mkdir()
    lifecycle.up(root)
    try:
        place = make_workplace(*connect(root), context)
        code = SCORE + (
            'import os, time\nif "-001-" not in os.environ["TRAINING_JOB_NAME"]: time.sleep(60)\n'
            'print("score=1;")'
        )
        name = start(place, config(jobs=3), TrainingJobDefinition=training(place, code))
        deadline = time.monotonic() + 30
        while describe(place, name)["TrainingJobStatusCounters"] != {
            "Completed": 1,
            "InProgress": 2,
            "RetryableError": 0,
            "NonRetryableError": 0,
            "Stopped": 0,
        }:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert lifecycle.down(root) == {"was_running": True, "ended": 0, "state_kept": True}
        lifecycle.up(root)
        answer = describe(place, name)
        assert answer["HyperParameterTuningJobStatus"] == "Failed"
        assert "the local cloud was stopped while the tuning job ran" in answer["FailureReason"]
        assert answer["TrainingJobStatusCounters"]["InProgress"] == 0
        assert answer["TrainingJobStatusCounters"]["RetryableError"] == 2
        assert answer["ObjectiveStatusCounters"] == {"Succeeded": 1, "Pending": 0, "Failed": 2}
        # What was found is kept, and another tuning job may go on from there.
        assert value(answer["BestTrainingJob"]) == 1
        again = start(
            place,
            config(jobs=1, parallel=1),
            TrainingJobDefinition=training(place, code),
            WarmStartConfig={
                "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": name}],
                "WarmStartType": "IdenticalDataAndAlgorithm",
            },
        )
        while describe(place, again)["HyperParameterTuningJobStatus"] == "InProgress":
            assert time.monotonic() < deadline + 30
            time.sleep(0.05)
        assert "OverallBestTrainingJob" in describe(place, again)
    finally:
        lifecycle.down(root)
