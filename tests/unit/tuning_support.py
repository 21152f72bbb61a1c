"""What the tests of tuning jobs' operations share: requests, trials, and a runner that only takes notes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from localcloud.sagemaker.service import SageMaker
from tests.unit.sagemaker_support import ARN, Iam, post

ROLE = "arn:aws:iam::000000000000:role/train"
XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
Change = Callable[[dict[str, Any]], Any]


class Runner:
    """Notes what is started and stopped."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.stopped: list[str] = []

    def start(self, sagemaker: Any, name: str) -> None:
        self.started.append(name)

    def stop(self, name: str) -> None:
        self.stopped.append(name)


@pytest.fixture(name="runner")
def runner_fixture(sagemaker: SageMaker, iam: Iam) -> Runner:
    iam.roles.add(ROLE)
    made = Runner()
    sagemaker.tuning = cast(Any, made)
    return made


def body(**changes: Any) -> dict[str, Any]:
    return {
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": "000000000000.dkr.ecr.us-east-1.amazonaws.com/tools:1",
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "auc", "Regex": "auc=(.*)"}],
        },
        "StaticHyperParameters": {"epochs": "9"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        **changes,
    }


def request(name: str = "Search-1") -> dict[str, Any]:
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "auc"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {
                "IntegerParameterRanges": [{"Name": "depth", "MinValue": "1", "MaxValue": "9"}]
            },
        },
        "TrainingJobDefinition": body(),
    }


def several(*bodies: dict[str, Any]) -> dict[str, Any]:
    made = request()
    config = made["HyperParameterTuningJobConfig"]
    del made["TrainingJobDefinition"]
    made["TrainingJobDefinitions"] = [
        {
            "DefinitionName": f"d{number}",
            "TuningObjective": config["HyperParameterTuningJobObjective"],
            "HyperParameterRanges": config["ParameterRanges"],
            **item,
        }
        for number, item in enumerate(bodies, 1)
    ]
    del config["HyperParameterTuningJobObjective"], config["ParameterRanges"]
    return made


def create(sagemaker: SageMaker, made: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return post(sagemaker, "SageMaker.CreateHyperParameterTuningJob", made)


def config(made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = made["HyperParameterTuningJobConfig"]
    return found


def grid(made: dict[str, Any], **limits: int) -> None:
    config(made).update(
        Strategy="Grid",
        ResourceLimits={"MaxParallelTrainingJobs": 1, **limits},
        ParameterRanges={"CategoricalParameterRanges": [{"Name": "c", "Values": ["a", "b"]}]},
    )


def trial(sagemaker: SageMaker, number: int, value: float | None, status: str = "Completed") -> None:
    name = f"Search-1-{number:03d}-00000000"
    record: dict[str, Any] = {
        "TrainingJobName": name,
        "TrainingJobArn": f"{ARN}training-job/{name.lower()}",
        "TrainingJobStatus": status,
        "CreationTime": 100.0 + number,
        "HyperParameters": {"depth": str(number), "_tuning_objective_metric": "auc"},
        "_Name": name,
        "_TuningJobName": "Search-1",
        "_DefinitionName": None,
        "_TunedHyperParameters": {"depth": str(number)},
        "_ObjectiveMetric": "auc",
        "_ObjectiveType": "Maximize",
        "_ObjectiveStatus": "Pending"
        if status == "InProgress"
        else "Failed"
        if value is None
        else "Succeeded",
    }
    if value is not None:
        record["FinalMetricDataList"] = [{"MetricName": "auc", "Value": value, "Timestamp": 1.0}]
    sagemaker.store.create("training-job", name, record)
