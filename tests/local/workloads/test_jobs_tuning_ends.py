"""Tuning jobs on the local cloud that fail, are stopped, deleted or forbidden, with real processes."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud import lifecycle
from localcloud.connect import connect
from tests.local.workloads.conftest import Gate, until
from tests.local.workloads.tuning_jobs import (
    QUADRATIC,
    SCORE,
    config,
    describe,
    ended_fixture,
    jobs,
    start,
    training,
    value,
)

__all__ = ["ended_fixture"]


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
    # The first finishes; the others do not, and end no sooner than the second stop has been answered.
    code = SCORE + (
        "import os, signal, time\n"
        "def end(*_):\n    while shut(0.05):\n        pass\n    os._exit(1)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        'if "-001-" not in os.environ["TRAINING_JOB_NAME"]: time.sleep(3600)\n'
        'print("score=1;")'
    )
    with Gate() as gate:
        name = start(workplace, config(jobs=5), TrainingJobDefinition=training(workplace, gate.code + code))

        def waits() -> bool:
            now = describe(workplace, name)
            return bool(
                now["ObjectiveStatusCounters"]["Succeeded"]
                and now["TrainingJobStatusCounters"]["InProgress"] == 2
            )

        until(waits)
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


def test_a_stop_of_the_cloud_in_the_middle(tmp_path: Path, make_workplace: Any) -> None:
    root, context = tmp_path / "state", tmp_path / "image"
    context.mkdir()
    lifecycle.up(root)
    try:
        place = make_workplace(*connect(root), context)
        code = SCORE + (
            'import os, time\nif "-001-" not in os.environ["TRAINING_JOB_NAME"]: time.sleep(3600)\n'
            'print("score=1;")'
        )
        name = start(place, config(jobs=3), TrainingJobDefinition=training(place, code))
        expected = {
            "Completed": 1,
            "InProgress": 2,
            "RetryableError": 0,
            "NonRetryableError": 0,
            "Stopped": 0,
        }
        until(lambda: describe(place, name)["TrainingJobStatusCounters"] == expected)
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
        until(lambda: describe(place, again)["HyperParameterTuningJobStatus"] != "InProgress")
        assert "OverallBestTrainingJob" in describe(place, again)
    finally:
        lifecycle.down(root)
