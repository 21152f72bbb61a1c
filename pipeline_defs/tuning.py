"""Builds tuning steps over several algorithms.

The SDK (`sagemaker-train` 1.27) takes several trainers (`HyperparameterTuner.create`) and then looks for the
image of a single one, which is none: no definition comes of it. So the request is put together here, from the
training steps that `StepBuilder` makes, and handed to the SDK's `TuningStep`.
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateHyperParameterTuningJob.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from sagemaker.core.workflow.functions import Join
from sagemaker.core.workflow.pipeline_context import runnable_by_pipeline
from sagemaker.mlops.workflow.steps import TuningStep

from pipeline_defs.session import BUCKET, OfflineSession
from pipeline_defs.steps import CACHE, JOB_RETRIES, StepBuilder

OBJECTIVE = "cv:score"
OBJECTIVE_REGEX = "cv-score=([-0-9.eE+]+);"


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A hyperparameter's bounds, both included; whole numbers make it an integer."""

    low: float
    high: float
    scaling: Literal["Linear", "Logarithmic"] = "Linear"

    def request(self, name: str) -> tuple[str, dict[str, str]]:
        """The member of ParameterRanges that it belongs in, and the range as that takes it."""
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        kind = "IntegerParameterRanges" if whole else "ContinuousParameterRanges"
        bounds = {"MinValue": _plain(self.low), "MaxValue": _plain(self.high)}
        return kind, {"Name": name, **bounds, "ScalingType": self.scaling}


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How a tuning job looks for the best: pipeline parameters, and what every trial gets.

    static: hyperparameters of all trials, text.
    """

    strategy: Any
    jobs: Any
    parallel_jobs: Any
    seed: Any
    static: Mapping[str, Any]


def tuning_step(
    steps: StepBuilder,
    name: str,
    *,
    algorithms: Mapping[str, Mapping[str, Range]],
    search: Search,
    module: str,
    code: str,
    channels: Mapping[str, Any],
    instance_type: Any,
) -> TuningStep:
    """One tuning job over `algorithms`: name, which the trial gets as `algorithm` -> its ranges."""
    definitions = []
    for algorithm, ranges in algorithms.items():
        training = steps.training(
            name,
            module=module,
            code=code,
            channels=channels,
            hyperparameters={},
            metrics={OBJECTIVE: OBJECTIVE_REGEX},
            instance_type=instance_type,
            instance_count=1,
            max_runtime_s=1800,
        )
        definition = dict(training.arguments)
        definition.pop("HyperParameters", None)
        output = {**definition["OutputDataConfig"], "S3OutputPath": _trials(steps)}
        definitions.append(
            {
                **definition,
                "DefinitionName": algorithm,
                "TuningObjective": {"Type": "Maximize", "MetricName": OBJECTIVE},
                "StaticHyperParameters": {"algorithm": algorithm, **search.static},
                "HyperParameterRanges": _ranges(ranges),
                "OutputDataConfig": output,
            }
        )
    config = {
        "Strategy": search.strategy,
        "ResourceLimits": {
            "MaxNumberOfTrainingJobs": search.jobs,
            "MaxParallelTrainingJobs": search.parallel_jobs,
        },
        # A trial says its score once, at its end: there is nothing to stop it by before.
        "TrainingJobEarlyStoppingType": "Off",
        "RandomSeed": search.seed,
    }
    request = {"HyperParameterTuningJobConfig": config, "TrainingJobDefinitions": definitions}
    tuner = _Tuner(steps.session, request)
    return TuningStep(name, step_args=tuner.tune(), cache_config=CACHE, retry_policies=JOB_RETRIES)


def best_archive(steps: StepBuilder, tuning: TuningStep) -> Join:
    """The S3 URI of the best trial's model archive."""
    return tuning.get_top_model_s3_uri(top_k=0, s3_bucket=BUCKET, prefix=_trials(steps).split("/", 3)[3])


def _trials(steps: StepBuilder) -> str:
    # Without the execution's id: where a tuning step is a cache hit, its best trial belongs to an execution
    # before. The names of the jobs are unique.
    return f"s3://{BUCKET}/pipelines/{steps.pipeline}/trials"


def _ranges(ranges: Mapping[str, Range]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, item in ranges.items():
        kind, request = item.request(name)
        found.setdefault(kind, []).append(request)
    return found


def _plain(number: float) -> str:
    """Without an exponent: the API's documentation shows none."""
    return format(Decimal(repr(number)), "f")


class _Tuner:
    """A tuner whose request is given. `TuningStep` takes what a tuner's `tune` returns, and knows a tuner by
    its attribute `model_trainer`."""

    model_trainer = None

    def __init__(self, session: OfflineSession, request: Mapping[str, Any]) -> None:
        self.sagemaker_session = session
        self._request = request

    @runnable_by_pipeline  # type: ignore[untyped-decorator]  # the SDK is not installed where mypy runs
    def tune(self) -> None:
        self.sagemaker_session._intercept_create_request(dict(self._request), None, "tune")
