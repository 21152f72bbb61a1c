"""What the tests of tuning jobs share."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

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
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
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


@pytest.fixture(name="ended")
def ended_fixture(workplace: Any, settle: Any) -> Callable[[str], dict[str, Any]]:
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
