"""Tuning steps: a hyperparameter tuning job, whose answers to Describe and List later steps refer to."""

import secrets
import string
from dataclasses import replace
from typing import Any

from localcloud.sagemaker.pipelines.steps.context import StepContext, StepResult
from localcloud.sagemaker.pipelines.steps.jobs import JobType, run_job

_RANDOM = string.ascii_letters + string.digits
_PART = 7  # of the step's name: a tuning job's has 32 characters at most
# https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html#step-type-tuning
_SUMMARIES = 50


def run_tuning(context: StepContext) -> StepResult:
    """Run a tuning job, see
    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateHyperParameterTuningJob.html.

    Its properties are those of Describe, and `TrainingJobSummaries`: the best 50 training jobs, best first.
    """
    result = run_job(_JOB, context)
    best = result.properties.get("BestTrainingJob", {})
    metric = best.get("FinalHyperParameterTuningJobObjectiveMetric", {})
    listed = context.call(
        "ListTrainingJobsForHyperParameterTuningJob",
        {
            "HyperParameterTuningJobName": result.properties["HyperParameterTuningJobName"],
            "SortBy": "FinalObjectiveMetricValue",
            "SortOrder": "Ascending" if metric.get("Type") == "Minimize" else "Descending",
            "MaxResults": _SUMMARIES,
        },
    )
    summaries = {"TrainingJobSummaries": listed["TrainingJobSummaries"]}
    return replace(result, properties={**result.properties, **summaries})


def _new_name(context: StepContext, prefix: Any) -> str:
    tail = "".join(secrets.choice(_RANDOM) for _ in range(10))
    if isinstance(prefix, str) and prefix:
        return f"{prefix[:_PART].rstrip('-')}-{context.execution.id}-{tail}"
    part = context.step.name.replace("_", "-")[:_PART].strip("-")
    return f"{context.execution.id}-{part}-{tail}" if part else f"{context.execution.id}-{tail}"


_JOB = JobType(
    noun="HyperParameterTuningJob",
    kind="hyper-parameter-tuning-job",
    label="TuningJob",
    new_name=_new_name,
)
