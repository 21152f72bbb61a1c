"""The operations of tuning jobs: what they refuse, ask, list, and what an end of the cloud leaves."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import pytest

from localcloud.sagemaker.events import event_of
from localcloud.sagemaker.jobs.tuning.definitions import definitions_of
from localcloud.sagemaker.jobs.tuning.records import KIND, summary
from localcloud.sagemaker.jobs.tuning.runner import TuningRunner
from localcloud.sagemaker.service import SageMaker
from tests.unit.sagemaker_support import ARN, Iam, call, iam_fixture, post, sagemaker_fixture

__all__ = ["iam_fixture", "sagemaker_fixture"]

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
