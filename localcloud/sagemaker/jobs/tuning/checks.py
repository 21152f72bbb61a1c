"""What AWS refuses of a CreateHyperParameterTuningJob request, beyond its shape.

https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-limits.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.sagemaker import shapes
from localcloud.sagemaker.errors import limit_exceeded, validation
from localcloud.sagemaker.jobs.requests import check_training
from localcloud.sagemaker.jobs.tuning.definitions import EPOCH_NAMES, Definition
from localcloud.sagemaker.jobs.tuning.ranges import Category, combinations, not_enough
from localcloud.sagemaker.jobs.tuning.search import Resource

MOST_JOBS = 750
_MOST_RANDOM_JOBS = 10_000
_MOST_PARALLEL = 100
_MOST_RESOURCE = (
    20_000  # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_HyperbandStrategyConfig.html
)
_LONGEST_SUFFIX = "-001-00000000"  # of a training job's name


def check(request: Mapping[str, Any], definitions: Sequence[Definition]) -> None:
    """Raise ValidationException or ResourceLimitExceeded for a tuning job that cannot run."""
    config = request["HyperParameterTuningJobConfig"]
    if "Autotune" in request:
        raise validation(
            "Autotune: the local SageMaker does not support it; give ranges, limits and a strategy."
        )
    for definition in definitions:
        _check_definition(request["HyperParameterTuningJobName"], definition)
    strategy = config["Strategy"]
    if strategy == "Hyperband":
        if config.get("TrainingJobEarlyStoppingType", "Off") != "Off":
            raise validation("TrainingJobEarlyStoppingType must be Off to use the Hyperband strategy.")
        for definition in definitions:
            resource_of(config, definition)
    elif "HyperbandStrategyConfig" in config.get("StrategyConfig", {}):
        raise validation("HyperbandStrategyConfig can only be provided with the Hyperband strategy.")
    _check_limits(config, definitions)
    if "WarmStartConfig" in request and strategy not in ("Bayesian", "Random"):
        raise validation(f"WarmStartConfig is for the Bayesian and Random strategies, not for {strategy}.")


def most_jobs(config: Mapping[str, Any], definitions: Sequence[Definition]) -> int:
    """MaxNumberOfTrainingJobs, or what it is without one."""
    if config["Strategy"] == "Grid":
        return int(sum(combinations(definition.ranges) for definition in definitions))
    return int(config["ResourceLimits"].get("MaxNumberOfTrainingJobs", MOST_JOBS))


def resource_of(config: Mapping[str, Any], definition: Definition) -> Resource:
    """What Hyperband rations for a definition; MaxResource may stand among its static hyperparameters."""
    given = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    high, low = given.get("MaxResource"), given.get("MinResource", 1)
    if high is None:
        epochs = [definition.static[name] for name in EPOCH_NAMES if name in definition.static]
        if not epochs or not epochs[0].strip('"').isdecimal():
            raise validation(
                "MaxResource parameter is not provided and could not be inferred from provided static "
                f"hyperparameters of TrainingJobDefinition. (It would be from: {', '.join(EPOCH_NAMES)}.)"
            )
        high = int(epochs[0].strip('"'))
    if high > _MOST_RESOURCE:
        raise validation(
            f"HyperbandStrategyConfig: MaxResource {high} exceeds the limit of {_MOST_RESOURCE}."
        )
    if low > high:
        raise validation(
            f"HyperbandStrategyConfig: MinResource {low} must be less than or equal to MaxResource {high}."
        )
    return Resource(low=low, high=high)


def _check_definition(tuning_job: str, definition: Definition) -> None:
    static = definition.body.get("StaticHyperParameters", {})
    for item in definition.ranges:
        if item.name in static:
            raise validation(
                f"The hyperparameter {item.name} is both static and tunable: it must be either in "
                "StaticHyperParameters or in a range, not in both."
            )
    if definition.metric not in definition.metrics:
        defined = ", ".join(definition.metrics) or "none"
        raise validation(
            "A metric is required for this hyperparameter tuning job objective. Provide a metric in the "
            f"metric definitions. (Objective: {definition.metric}; defined: {defined})"
        )
    places = [m for m in ("ResourceConfig", "HyperParameterTuningResourceConfig") if m in definition.body]
    if len(places) != 1:
        raise validation("Provide either ResourceConfig or HyperParameterTuningResourceConfig.")
    # What the training jobs would be refused for, the tuning job is refused for.
    values = {
        item.name: item.values[0] if isinstance(item, Category) else item.write(item.low)
        for item in definition.ranges
    }
    sample = definition.training_request(tuning_job + _LONGEST_SUFFIX, values)
    check_training(shapes.check(sample, shapes.input_shape("CreateTrainingJob")))


def _check_limits(config: Mapping[str, Any], definitions: Sequence[Definition]) -> None:
    limits, strategy = config["ResourceLimits"], config["Strategy"]
    given = limits.get("MaxNumberOfTrainingJobs")
    parallel = limits["MaxParallelTrainingJobs"]
    total = sum(combinations(definition.ranges) for definition in definitions)
    if strategy == "Grid":
        if not all(isinstance(item, Category) for definition in definitions for item in definition.ranges):
            raise validation("The Grid strategy supports categorical hyperparameter ranges only.")
        if given is not None and given != total:
            raise validation(
                f"MaxNumberOfTrainingJobs {given} must be the number of combinations of the grid, "
                f"{total:.0f}; or leave it out."
            )
    elif (
        given is None
        and "MaxRuntimeInSeconds" not in limits
        and not config.get("TuningJobCompletionCriteria")
    ):
        raise validation(
            "ResourceLimits: MaxNumberOfTrainingJobs is required without MaxRuntimeInSeconds or "
            "TuningJobCompletionCriteria."
        )
    elif given is not None and total < given:
        raise not_enough(total, given)
    jobs = total if strategy == "Grid" else given or MOST_JOBS
    most = _MOST_RANDOM_JOBS if strategy == "Random" else MOST_JOBS
    if jobs > most:
        raise limit_exceeded(
            "The account-level service limit 'Maximum number of training jobs per hyperparameter tuning job' "
            f"is {most}; {jobs:.0f} were requested."
        )
    if parallel > _MOST_PARALLEL:
        raise limit_exceeded(
            "The account-level service limit 'Maximum number of parallel training jobs per hyperparameter "
            f"tuning job' is {_MOST_PARALLEL}; {parallel} were requested."
        )
    if parallel > jobs:
        raise validation(
            f"MaxParallelTrainingJobs {parallel} must be less than or equal to MaxNumberOfTrainingJobs "
            f"{jobs:.0f}."
        )
