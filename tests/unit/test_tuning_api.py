"""The operations of tuning jobs: what they ask, list, and what an end of the cloud leaves."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.sagemaker.events import event_of
from localcloud.sagemaker.jobs.tuning.records import KIND, summary
from localcloud.sagemaker.jobs.tuning.runner import TuningRunner
from localcloud.sagemaker.service import SageMaker
from tests.unit.sagemaker_support import ARN, Iam, call, iam_fixture, post, sagemaker_fixture
from tests.unit.tuning_support import (
    ROLE,
    Runner,
    body,
    config,
    create,
    request,
    runner_fixture,
    several,
    trial,
)

__all__ = ["iam_fixture", "runner_fixture", "sagemaker_fixture"]


def test_a_tuning_job_is_created_and_described(sagemaker: SageMaker, runner: Runner) -> None:
    arn = call(sagemaker, "CreateHyperParameterTuningJob", **request())["HyperParameterTuningJobArn"]
    assert arn == f"{ARN}hyper-parameter-tuning-job/search-1"
    assert runner.started == ["Search-1"]
    # Names are not case sensitive, and an ARN has them in lower case.
    for name in ("Search-1", "search-1"):
        found = call(sagemaker, "DescribeHyperParameterTuningJob", HyperParameterTuningJobName=name)
        assert found["HyperParameterTuningJobName"] == "Search-1"
    assert found["HyperParameterTuningJobStatus"] == "InProgress"
    assert found["HyperParameterTuningJobConfig"] == config(request())
    assert found["ObjectiveStatusCounters"] == {"Succeeded": 0, "Pending": 0, "Failed": 0}
    assert found["TrainingJobDefinition"]["StaticHyperParameters"] == {
        "epochs": "9",
        "_tuning_objective_metric": "auc",
    }
    status, answer = create(sagemaker, request("SEARCH-1"))
    assert (status, answer["__type"]) == (400, "ResourceInUse")


def test_each_definition_is_held_to_the_policies(sagemaker: SageMaker, runner: Runner, iam: Iam) -> None:
    made = several(
        body(EnableNetworkIsolation=True),
        body(ResourceConfig={"InstanceType": "ml.c5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1}),
    )
    config(made)["ResourceLimits"]["MaxRuntimeInSeconds"] = 500
    status, answer = create(sagemaker, made)
    assert status == 200, answer
    asked = [(resource, found) for action, resource, found in iam.asked if action.endswith("TuningJob")]
    assert {resource for resource, _ in asked} == {f"{ARN}hyper-parameter-tuning-job/search-1"}
    assert [found for _, found in asked] == [
        {
            "sagemaker:InstanceTypes": ["ml.m5.large"],
            "sagemaker:MaxRuntimeInSeconds": "60",
            "sagemaker:NetworkIsolation": "true",
        },
        {"sagemaker:InstanceTypes": ["ml.c5.xlarge"], "sagemaker:MaxRuntimeInSeconds": "60"},
    ]
    passed = [resource for action, resource, _ in iam.asked if action == "iam:PassRole"]
    assert passed == [ROLE, ROLE]


@pytest.mark.parametrize(
    "operation",
    [
        "CreateHyperParameterTuningJob",
        "DescribeHyperParameterTuningJob",
        "ListHyperParameterTuningJobs",
        "ListTrainingJobsForHyperParameterTuningJob",
        "StopHyperParameterTuningJob",
        "DeleteHyperParameterTuningJob",
    ],
)
def test_every_operation_asks(sagemaker: SageMaker, runner: Runner, iam: Iam, operation: str) -> None:
    iam.denied.add(f"sagemaker:{operation}")
    given: dict[str, Any] = {"HyperParameterTuningJobName": "Search-1"}
    if operation.startswith("Create"):
        given = request()
    status, answer = post(
        sagemaker, f"SageMaker.{operation}", {} if operation.startswith("ListHyper") else given
    )
    assert (status, answer["__type"]) == (400, "AccessDeniedException")
    resource = "*" if operation.startswith("ListHyper") else f"{ARN}hyper-parameter-tuning-job/search-1"
    assert iam.asked[-1][:2] == (f"sagemaker:{operation}", resource)


def test_training_jobs_are_listed(sagemaker: SageMaker, runner: Runner) -> None:
    call(sagemaker, "CreateHyperParameterTuningJob", **request())
    for number, value in enumerate([0.5, None, 0.9, -0.1], 1):
        trial(sagemaker, number, value)
    trial(sagemaker, 5, None, "Failed")

    def listed(**filters: Any) -> list[str]:
        found, given = [], {"HyperParameterTuningJobName": "search-1", **filters}
        while True:
            answer = call(sagemaker, "ListTrainingJobsForHyperParameterTuningJob", MaxResults=2, **given)
            found += [item["TunedHyperParameters"]["depth"] for item in answer["TrainingJobSummaries"]]
            if "NextToken" not in answer:
                return found
            given["NextToken"] = answer["NextToken"]

    assert listed() == ["1", "2", "3", "4", "5"]
    assert listed(SortOrder="Descending") == ["5", "4", "3", "2", "1"]
    assert listed(SortBy="FinalObjectiveMetricValue") == ["4", "1", "3"]
    assert listed(SortBy="FinalObjectiveMetricValue", SortOrder="Descending") == ["3", "1", "4"]
    assert listed(StatusEquals="Failed") == ["5"]
    silent = summary(sagemaker.store.get("training-job", "Search-1-002-00000000"))
    assert silent["FailureReason"].startswith("ObjectiveMetric not emitted")
    assert silent["TrainingJobStatus"] == "Completed"


def test_tuning_jobs_are_listed(sagemaker: SageMaker, runner: Runner) -> None:
    for name in ("b-1", "a-1", "c-2"):
        call(sagemaker, "CreateHyperParameterTuningJob", **request(name))
    found = call(sagemaker, "ListHyperParameterTuningJobs", NameContains="-1")
    shown = found["HyperParameterTuningJobSummaries"]
    assert [item["HyperParameterTuningJobName"] for item in shown] == ["a-1", "b-1"]
    assert shown[0]["Strategy"] == "Random"
    assert shown[0]["ResourceLimits"] == {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2}


def test_what_may_be_deleted(sagemaker: SageMaker, runner: Runner) -> None:
    tags = [{"Key": "team", "Value": "credit"}]
    arn = call(sagemaker, "CreateHyperParameterTuningJob", **request(), Tags=tags)[
        "HyperParameterTuningJobArn"
    ]
    name = {"HyperParameterTuningJobName": "Search-1"}
    status, answer = post(sagemaker, "SageMaker.DeleteHyperParameterTuningJob", name)
    assert (status, answer["__type"]) == (400, "ValidationException")
    assert call(sagemaker, "ListTags", ResourceArn=arn)["Tags"] == tags
    sagemaker.store.update(KIND, "Search-1", lambda r: r.update(HyperParameterTuningJobStatus="Completed"))
    call(sagemaker, "DeleteHyperParameterTuningJob", **name)
    call(sagemaker, "DeleteHyperParameterTuningJob", **name)
    assert sagemaker.store.find("tags", arn) is None


def test_a_stop_waits_for_the_training_jobs(sagemaker: SageMaker, runner: Runner) -> None:
    call(sagemaker, "CreateHyperParameterTuningJob", **request())
    call(sagemaker, "StopHyperParameterTuningJob", HyperParameterTuningJobName="search-1")
    found = call(sagemaker, "DescribeHyperParameterTuningJob", HyperParameterTuningJobName="Search-1")
    assert found["HyperParameterTuningJobStatus"] == "Stopping"
    assert runner.stopped == ["Search-1"]


@pytest.mark.parametrize(("before", "after"), [("InProgress", "Failed"), ("Stopping", "Stopped")])
def test_what_an_end_of_the_cloud_leaves(
    sagemaker: SageMaker, runner: Runner, before: str, after: str
) -> None:
    call(sagemaker, "CreateHyperParameterTuningJob", **request())
    sagemaker.store.update(KIND, "Search-1", lambda r: r.update(HyperParameterTuningJobStatus=before))
    trial(sagemaker, 1, 0.5)
    trial(sagemaker, 2, None, "InProgress")
    # The runner of jobs comes first, and ends what ran.
    sagemaker.store.update(
        "training-job",
        "Search-1-002-00000000",
        lambda r: r.update(TrainingJobStatus="Failed", FailureReason="InternalServerError: the cloud"),
    )
    TuningRunner(sagemaker.store)
    found = call(sagemaker, "DescribeHyperParameterTuningJob", HyperParameterTuningJobName="Search-1")
    assert found["HyperParameterTuningJobStatus"] == after
    assert ("the tuning job" in found.get("FailureReason", "")) is (after == "Failed")
    assert found["TrainingJobStatusCounters"]["RetryableError"] == 1
    assert found["ObjectiveStatusCounters"] == {"Succeeded": 1, "Pending": 0, "Failed": 1}


def test_the_event_has_the_documented_shape(sagemaker: SageMaker, runner: Runner) -> None:
    call(sagemaker, "CreateHyperParameterTuningJob", **request())
    record = sagemaker.store.get(KIND, "Search-1")
    event = event_of(KIND, None, record, lambda arn: {"of": arn})
    assert event is not None
    assert event.detail_type == "SageMaker HyperParameter Tuning Job State Change"
    assert event.resources == [record["HyperParameterTuningJobArn"]]
    assert set(event.detail) == {
        "HyperParameterTuningJobName",
        "HyperParameterTuningJobArn",
        "TrainingJobDefinition",
        "HyperParameterTuningJobStatus",
        "CreationTime",
        "LastModifiedTime",
        "TrainingJobStatusCounters",
        "ObjectiveStatusCounters",
        "Tags",
    }
    assert isinstance(event.detail["CreationTime"], int)
    counted = {**record, "TrainingJobStatusCounters": {"Completed": 1}}
    assert event_of(KIND, record, counted, lambda _: {}) is None
