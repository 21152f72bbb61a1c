"""The documents of tuning jobs: what Describe and List show, made of the records of their training jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.sagemaker.jobs.tuning.definitions import Definition
from localcloud.sagemaker.store import Document, Store, now

KIND = "hyper-parameter-tuning-job"
TRAINING = "training-job"
STATUS = "HyperParameterTuningJobStatus"
_RETRYABLE = "InternalServerError"
_COPIED = (
    "TrainingJobName",
    "TrainingJobArn",
    "CreationTime",
    "TrainingStartTime",
    "TrainingEndTime",
    "TrainingJobStatus",
    "FailureReason",
)


def trial_members(
    tuning_job: Mapping[str, Any], definition: Definition, values: Mapping[str, str]
) -> Document:
    """What the record of a training job has beside its request when a tuning job starts it."""
    return {
        "TuningJobArn": tuning_job["HyperParameterTuningJobArn"],
        "_TuningJobName": tuning_job["HyperParameterTuningJobName"],
        "_DefinitionName": definition.name,
        "_TunedHyperParameters": dict(values),
        "_ObjectiveMetric": definition.metric,
        "_ObjectiveType": "Maximize" if definition.maximize else "Minimize",
        "_ObjectiveStatus": "Pending",
    }


def training_jobs(store: Store, tuning_job: str) -> list[Document]:
    """The training jobs that a tuning job has started, oldest first."""
    return store.query(
        TRAINING, prefix=f"{tuning_job}-", where=lambda record: record.get("_TuningJobName") == tuning_job
    )


def objective_of(record: Mapping[str, Any]) -> float | None:
    """The last value of the objective that a training job has emitted."""
    for metric in record.get("FinalMetricDataList", []):
        if metric["MetricName"] == record["_ObjectiveMetric"]:
            return float(metric["Value"])
    return None


def summary(record: Mapping[str, Any], *, with_tuning_job: bool = False) -> Document:
    """A `HyperParameterTrainingJobSummary`."""
    made: Document = {member: record[member] for member in _COPIED if member in record}
    made["TrainingJobDefinitionName"] = record.get("_DefinitionName")
    made["TunedHyperParameters"] = record["_TunedHyperParameters"]
    made["ObjectiveStatus"] = record["_ObjectiveStatus"]
    value = objective_of(record)
    if value is not None and record["_ObjectiveStatus"] == "Succeeded":
        made["FinalHyperParameterTuningJobObjectiveMetric"] = {
            "Type": record["_ObjectiveType"],
            "MetricName": record["_ObjectiveMetric"],
            "Value": value,
        }
    elif record["TrainingJobStatus"] == "Completed" and record["_ObjectiveStatus"] == "Failed":
        made["FailureReason"] = (
            f"ObjectiveMetric not emitted: no line of the log has a number where the Regex of "
            f"{record['_ObjectiveMetric']} expects one."
        )
    if with_tuning_job:
        made["TuningJobName"] = record["_TuningJobName"]
    return {member: content for member, content in made.items() if content is not None}


def best_of(records: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The training job with the best objective, the earliest of equal ones; None without any."""
    counting = [record for record in records if record["_ObjectiveStatus"] == "Succeeded"]
    if not counting:
        return None
    sign = -1 if counting[0]["_ObjectiveType"] == "Maximize" else 1
    return min(counting, key=lambda record: sign * (objective_of(record) or 0.0))


def counters(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """`TrainingJobStatusCounters` and `ObjectiveStatusCounters`."""
    jobs = dict.fromkeys(("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped"), 0)
    objectives = dict.fromkeys(("Succeeded", "Pending", "Failed"), 0)
    for record in records:
        objectives[record["_ObjectiveStatus"]] += 1
        status = record["TrainingJobStatus"]
        if status == "Failed":
            retryable = str(record.get("FailureReason", "")).startswith(_RETRYABLE)
            jobs["RetryableError" if retryable else "NonRetryableError"] += 1
        else:
            jobs[status if status in ("Completed", "Stopped") else "InProgress"] += 1
    return {"TrainingJobStatusCounters": jobs, "ObjectiveStatusCounters": objectives}


def parents_jobs(store: Store, job: Mapping[str, Any]) -> list[Document]:
    """The training jobs of the tuning jobs that a warm start begins with; they have all ended."""
    parents = job.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", [])
    return [
        record for parent in parents for record in training_jobs(store, parent["HyperParameterTuningJobName"])
    ]


def has_overall_best(job: Mapping[str, Any]) -> bool:
    """Whether `OverallBestTrainingJob` is reported: for a warm start with identical data only."""
    return bool(job.get("WarmStartConfig", {}).get("WarmStartType") == "IdenticalDataAndAlgorithm")


def settle(store: Store, name: str, reason: str) -> None:
    """End a tuning job that nobody runs any more: Stopped if that was asked for, else Failed.

    Training jobs that have ended before keep their objectives; those of the others count no more.
    """
    records = training_jobs(store, name)
    for record in records:
        if record["_ObjectiveStatus"] == "Pending":
            record["_ObjectiveStatus"] = "Failed"
            store.update(TRAINING, record["_Name"], lambda found: found.update(_ObjectiveStatus="Failed"))

    def change(job: Document) -> None:
        stopping = job[STATUS] == "Stopping"
        job.update(counters(records))
        job[STATUS] = "Stopped" if stopping else "Failed"
        if not stopping:
            job["FailureReason"] = reason
        job["HyperParameterTuningEndTime"] = job["LastModifiedTime"] = now()

    store.update(KIND, name, change)
