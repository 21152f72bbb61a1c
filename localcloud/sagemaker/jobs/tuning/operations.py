"""CreateHyperParameterTuningJob and the operations that follow it.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateHyperParameterTuningJob.html
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from localcloud.sagemaker import authorization
from localcloud.sagemaker.errors import limit_exceeded, resource_in_use, resource_not_found, validation
from localcloud.sagemaker.image_uri import require_image
from localcloud.sagemaker.jobs.tuning.checks import MOST_JOBS, check, most_jobs
from localcloud.sagemaker.jobs.tuning.definitions import Definition, definitions_of
from localcloud.sagemaker.jobs.tuning.records import (
    KIND,
    STATUS,
    counters,
    objective_of,
    summary,
    training_jobs,
)
from localcloud.sagemaker.jobs.tuning.runner import ACTIVE
from localcloud.sagemaker.pagination import arrange, page
from localcloud.sagemaker.service import Call, operation
from localcloud.sagemaker.store import Document, now
from localcloud.sagemaker.tags import add_tags

_NAME = "HyperParameterTuningJobName"
_ARN = "HyperParameterTuningJobArn"
_FLAGS = ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining")


@operation("CreateHyperParameterTuningJob")
def create_tuning_job(call: Call) -> dict[str, Any]:
    """Store and start a tuning job."""
    request = call.request
    definitions = definitions_of(request)
    for body in request.get("TrainingJobDefinitions", [])[1:]:
        # Condition keys have one value: what a policy says of them has to hold for each definition.
        one = replace(call, request={**request, "TrainingJobDefinitions": [body]})
        call.require(
            f"sagemaker:{call.operation}", call.arn(KIND, request[_NAME]), authorization.conditions(one)
        )
    check(request, definitions)
    for definition in definitions:
        require_image(call.cloud, "TrainingImage", definition.body["AlgorithmSpecification"]["TrainingImage"])
        call.pass_role(definition.body["RoleArn"])
    _check_parents(call, definitions)
    name, moment = request[_NAME], now()
    arn = call.arn(KIND, name)
    record: Document = {
        **copy.deepcopy({member: value for member, value in request.items() if member != "Tags"}),
        _ARN: arn,
        STATUS: "InProgress",
        "CreationTime": moment,
        "LastModifiedTime": moment,
        **counters([]),
        "_Strategy": request["HyperParameterTuningJobConfig"]["Strategy"],
    }
    for item in record.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", []):
        item[_NAME] = _find(call, item[_NAME])[_NAME]
    bodies = record.get("TrainingJobDefinitions") or [record["TrainingJobDefinition"]]
    for body, definition in zip(bodies, definitions, strict=True):
        body["StaticHyperParameters"] = definition.static
        for flag in _FLAGS:
            body.setdefault(flag, False)
    with call.store.transaction():
        if _found(call, name) is not None:
            raise resource_in_use(
                f"A hyperparameter tuning job with the name, {name}, already exists. Choose a different name."
            )
        call.store.create(KIND, name, record)
        _inherit_tags(call, arn)
    call.sagemaker.tuning.start(call.sagemaker, name)
    return {_ARN: arn}


@operation("DescribeHyperParameterTuningJob")
def describe_tuning_job(call: Call) -> dict[str, Any]:
    """The record, kept up to date while the tuning job runs."""
    return _find(call)


@operation("ListHyperParameterTuningJobs")
def list_tuning_jobs(call: Call) -> dict[str, Any]:
    """Summaries, by name and ascending unless asked otherwise."""
    found = arrange(
        call.store.query(KIND),
        call.request,
        name=_NAME,
        status=STATUS,
        default_sort="Name",
        default_order="Ascending",
    )
    chosen, token = page(found, call.request, key=lambda record: str(record[_ARN]))
    shown = [
        {
            **record,
            "Strategy": record["_Strategy"],
            "ResourceLimits": record["HyperParameterTuningJobConfig"]["ResourceLimits"],
        }
        for record in chosen
    ]
    return {"HyperParameterTuningJobSummaries": shown, "NextToken": token}


@operation("StopHyperParameterTuningJob")
def stop_tuning_job(call: Call) -> None:
    """Stop a tuning job and the training jobs that it runs; again while it stops, there is nothing to do."""

    def change(record: Document) -> None:
        if record[STATUS] not in ACTIVE:
            raise validation(
                "The request was rejected because the hyperparameter tuning job is in status "
                f"{record[STATUS]}."
            )
        record.update({STATUS: "Stopping", "LastModifiedTime": now()})

    name = _find(call)[_NAME]
    call.store.update(KIND, name, change)
    call.sagemaker.tuning.stop(name)


@operation("DeleteHyperParameterTuningJob")
def delete_tuning_job(call: Call) -> None:
    """Delete the entry of a tuning job that has ended; its training jobs and what they made stay."""
    record = _found(call, call.request[_NAME])
    # The model of this operation names no error for a job that is missing.
    if record is None:
        return
    if record[STATUS] in ACTIVE:
        raise validation(
            f"The hyperparameter tuning job {record[_NAME]} is in status {record[STATUS]}; stop it before "
            "it is deleted."
        )
    call.store.delete(KIND, record[_NAME])


@operation("ListTrainingJobsForHyperParameterTuningJob")
def list_training_jobs(call: Call) -> dict[str, Any]:
    """The training jobs, by name and ascending unless asked otherwise."""
    request, job = call.request, _find(call)
    records = training_jobs(call.store, job[_NAME])
    by_value = request.get("SortBy") == "FinalObjectiveMetricValue"
    if by_value:
        records = [
            {**record, "FinalObjectiveMetricValue": objective_of(record)}
            for record in records
            if record["_ObjectiveStatus"] == "Succeeded"
        ]
    found = arrange(
        records,
        request,
        name="TrainingJobName",
        status="TrainingJobStatus",
        default_sort="Name",
        default_order="Ascending",
    )
    chosen, token = page(found, request, key=lambda record: str(record["TrainingJobArn"]))
    warm = "WarmStartConfig" in job
    return {
        "TrainingJobSummaries": [summary(record, with_tuning_job=warm) for record in chosen],
        "NextToken": token,
    }


def _find(call: Call, name: str | None = None) -> Document:
    """A tuning job by its name, in whatever case: ARNs have it in lower case."""
    wanted = call.request[_NAME] if name is None else name
    record = _found(call, wanted)
    if record is None:
        raise resource_not_found(
            f"Amazon SageMaker can't find a tuning job called {wanted}. Type another name."
        )
    return record


def _found(call: Call, name: str) -> Document | None:
    arn = call.arn(KIND, name)
    return call.store.find(KIND, name) or next(
        iter(call.store.query(KIND, where=lambda record: record[_ARN] == arn)), None
    )


def _inherit_tags(call: Call, arn: str) -> None:
    """Tags are kept now, and not after the operation as elsewhere: the first training jobs take them over."""
    if tags := call.request.get("Tags"):
        add_tags(call.store, arn, tags)


def _check_parents(call: Call, definitions: Sequence[Definition]) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-warm-start.html"""
    start = call.request.get("WarmStartConfig")
    if start is None:
        return
    total = most_jobs(call.request["HyperParameterTuningJobConfig"], definitions)
    for item in start["ParentHyperParameterTuningJobs"]:
        parent = _find(call, item.get(_NAME, ""))
        name = parent[_NAME]
        if parent[STATUS] in ACTIVE:
            raise validation(
                f"The parent tuning job {name} is in status {parent[STATUS]}; it must have ended before a "
                "warm start."
            )
        total += len(training_jobs(call.store, parent[_NAME]))
        if start["WarmStartType"] == "IdenticalDataAndAlgorithm":
            _check_identical(name, definitions, definitions_of(parent))
    if total > MOST_JOBS:
        raise limit_exceeded(
            f"The training jobs of a tuning job and of its parents may be {MOST_JOBS} at most, not {total}."
        )


def _check_identical(name: str, own: Sequence[Definition], parents: Sequence[Definition]) -> None:
    known = {definition.name: definition for definition in parents}
    for definition in own:
        parent = known.get(definition.name)
        problem = None
        if parent is None:
            problem = f"it has no training job definition {definition.name}"
        elif (parent.metric, parent.maximize) != (definition.metric, definition.maximize):
            problem = f"its objective is {parent.metric}, not {definition.metric}"
        elif (
            parent.body["AlgorithmSpecification"]["TrainingImage"]
            != (definition.body["AlgorithmSpecification"]["TrainingImage"])
        ):
            problem = "its training image is another one"
        elif parent.body.get("InputDataConfig") != definition.body.get("InputDataConfig"):
            problem = "its input data are others"
        elif _parameters(parent) != _parameters(definition):
            problem = "its hyperparameters, static and tunable together, are others"
        if problem:
            raise validation(
                f"The parent tuning job {name} does not fit WarmStartType IdenticalDataAndAlgorithm: "
                f"{problem}; use TransferLearning."
            )


def _parameters(definition: Definition) -> int:
    return len(definition.static) + len(definition.ranges)
