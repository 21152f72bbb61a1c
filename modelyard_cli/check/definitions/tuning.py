"""Tuning steps.

https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-limits.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelyard_cli.check.definitions.jobs import items, training_parts
from modelyard_cli.check.definitions.metrics import better
from modelyard_cli.check.definitions.model import Definition, Step
from modelyard_cli.check.registry import Hits, definition_rule

_KINDS = ("Integer", "Continuous", "Categorical")
_KIND_OF = {"large": "Maximize", "small": "Minimize", "": ""}


def _config(step: Step) -> dict[str, Any]:
    found = step.arguments.get("HyperParameterTuningJobConfig")
    return found if isinstance(found, dict) else {}


def _searches(definition: Definition) -> Iterator[tuple[Step, str, dict[str, Any], dict[str, Any], str]]:
    """(step, path, job, ranges, path of the ranges) of every search."""
    for step, at, job in training_parts(definition):
        if step.type != "Tuning":
            continue
        own = job.get("HyperParameterRanges")
        if isinstance(own, dict):
            yield step, at, job, own, f"{at}.HyperParameterRanges"
        else:
            shared = _config(step).get("ParameterRanges")
            where = "Arguments.HyperParameterTuningJobConfig.ParameterRanges"
            yield step, at, job, shared if isinstance(shared, dict) else {}, where


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, str | int | float) else None
    except ValueError:
        return None


@definition_rule(
    "MYP601",
    "An objective that no metric definition finds, or that seeks the worst",
    "Name the objective as in MetricDefinitions; each algorithm of a tuning job has an objective of its own; "
    "maximise scores, minimise errors.",
)
def _objective(definition: Definition) -> Hits:
    agreed: dict[tuple[str, str], tuple[str, str]] = {}
    for step, at, job, _, _ in _searches(definition):
        objective = job.get("TuningObjective") or _config(step).get("HyperParameterTuningJobObjective")
        algorithm = job.get("AlgorithmSpecification")
        algorithm = algorithm if isinstance(algorithm, dict) else {}
        names = [str(item.get("Name")) for item in items(algorithm, "MetricDefinitions")]
        if not isinstance(objective, dict):
            yield step.at(at), "has no objective"
            continue
        metric = objective.get("MetricName")
        built_in = "AlgorithmName" in algorithm or (
            not names and "sagemaker-" in str(algorithm.get("TrainingImage", ""))
        )
        if isinstance(metric, str) and metric not in names and not built_in:
            yield (
                step.at(at),
                f"the objective {metric!r} is not among the metrics: {', '.join(names) or 'none'}",
            )
        kind, wanted = objective.get("Type"), _KIND_OF[better(str(metric))]
        if wanted and kind != wanted and kind in _KIND_OF.values():
            what = (
                "an error, and the objective maximises"
                if kind == "Maximize"
                else "a score, and the objective minimises"
            )
            yield step.at(at), f"{metric} is {what} it"
        agreed.setdefault((step.name, str(metric)), (str(kind), at))
        first, where = agreed[step.name, str(metric)]
        if first != kind and not wanted:
            yield (
                step.at(at),
                f"{metric} has the objective {kind} here, and {first} in {where.rpartition('.')[2]}",
            )


@definition_rule(
    "MYP602",
    "A range that holds nothing",
    "MinValue below MaxValue, at least one value in a categorical range.",
)
def _bounds(definition: Definition) -> Hits:
    for step, at, index, kind, item in _each(definition):
        low, high = _number(item.get("MinValue")), _number(item.get("MaxValue"))
        path = f"{at}.{kind}ParameterRanges[{index}]"
        if kind == "Categorical":
            values = item.get("Values")
            if values == [] or (isinstance(values, list) and len(set(map(str, values))) < len(values)):
                yield step.at(path), f"{item.get('Name')}: no values, or one twice"
        elif low is not None and high is not None and low >= high:
            yield step.at(path), f"{item.get('Name')}: MinValue {low:g} is not below MaxValue {high:g}"
        elif kind == "Integer" and any(v is not None and v != int(v) for v in (low, high)):
            yield step.at(path), f"{item.get('Name')}: an integer range with fractions"


@definition_rule(
    "MYP603",
    "A scale that a range does not allow",
    "Logarithmic: above 0; ReverseLogarithmic: continuous, from 0 to below 1.",
)
def _scales(definition: Definition) -> Hits:
    for step, at, index, kind, item in _each(definition):
        low, high, scale = (
            _number(item.get("MinValue")),
            _number(item.get("MaxValue")),
            item.get("ScalingType"),
        )
        path = f"{at}.{kind}ParameterRanges[{index}]"
        if scale == "Logarithmic" and low is not None and low <= 0:
            yield step.at(path), f"{item.get('Name')}: a logarithmic scale from {low:g}"
        if scale == "ReverseLogarithmic" and (
            kind == "Integer" or (low or 0) < 0 or (high is not None and high >= 1)
        ):
            yield step.at(path), f"{item.get('Name')}: a reverse logarithmic scale outside 0 to 1"


def _each(definition: Definition) -> Iterator[tuple[Step, str, int, str, dict[str, Any]]]:
    seen: set[tuple[str, str]] = set()
    for step, _, _, ranges, at in _searches(definition):
        if (step.name, at) in seen:
            continue
        seen.add((step.name, at))
        for kind in _KINDS:
            for index, item in enumerate(items(ranges, f"{kind}ParameterRanges")):
                yield step, at, index, kind, item


@definition_rule(
    "MYP604",
    "A tuning job's limits that do not fit",
    "MaxParallelTrainingJobs at most MaxNumberOfTrainingJobs, at most 100 and 750 by default.",
)
def _limits(definition: Definition) -> Hits:
    for step in definition.of("Tuning"):
        limits = _config(step).get("ResourceLimits")
        limits = limits if isinstance(limits, dict) else {}
        at = step.at("Arguments.HyperParameterTuningJobConfig.ResourceLimits")
        jobs, parallel = (
            definition.value(limits.get(m)) for m in ("MaxNumberOfTrainingJobs", "MaxParallelTrainingJobs")
        )
        if isinstance(jobs, int) and isinstance(parallel, int) and parallel > jobs:
            yield at, f"{parallel} jobs at a time of {jobs} in all"
        if (
            _config(step).get("Strategy") == "Grid"
            and "MaxNumberOfTrainingJobs" in limits
            and _points(step) not in (None, jobs)
        ):
            yield at, f"a grid search of {_points(step)} points with MaxNumberOfTrainingJobs {jobs}"


def _points(step: Step) -> int | None:
    ranges = _config(step).get("ParameterRanges")
    points = 1
    for item in items(ranges, "CategoricalParameterRanges"):
        points *= len(item["Values"]) if isinstance(item.get("Values"), list) else 1
    return points if isinstance(ranges, dict) else None


@definition_rule(
    "MYP605", "A hyperparameter that is both fixed and tuned, or tuned twice", "Keep it in one place."
)
def _overlap(definition: Definition) -> Hits:
    for step, at, job, ranges, where in _searches(definition):
        names = [str(i.get("Name")) for kind in _KINDS for i in items(ranges, f"{kind}ParameterRanges")]
        static = job.get("StaticHyperParameters")
        for name in sorted(set(names)):
            if isinstance(static, dict) and name in static:
                yield step.at(f"{at}.StaticHyperParameters"), f"{name} is tuned too"
            if names.count(name) > 1:
                yield step.at(where), f"{name} has two ranges"


@definition_rule(
    "MYP606",
    "A tuning job that its strategy cannot run",
    "Grid takes categorical ranges only; several algorithms take TrainingJobDefinitions with "
    "ranges and objectives of their own; something must be tuned.",
)
def _strategy(definition: Definition) -> Hits:
    for step in definition.of("Tuning"):
        config, arguments = _config(step), step.arguments
        one, many = "TrainingJobDefinition" in arguments, "TrainingJobDefinitions" in arguments
        if one == many:
            yield step.at("Arguments"), "needs either TrainingJobDefinition or TrainingJobDefinitions"
        if many and ("ParameterRanges" in config or "HyperParameterTuningJobObjective" in config):
            yield (
                step.at("Arguments.HyperParameterTuningJobConfig"),
                "ranges and objective belong into each of TrainingJobDefinitions",
            )
        for _, at, _, ranges, where in (s for s in _searches(definition) if s[0] is step):
            counts = {kind: len(items(ranges, f"{kind}ParameterRanges")) for kind in _KINDS}
            if not any(counts.values()) and "Autotune" not in arguments:
                yield step.at(at), "nothing is tuned: there are no ranges"
            if config.get("Strategy") == "Grid" and (counts["Integer"] or counts["Continuous"]):
                yield step.at(where), "a grid search takes categorical ranges only"
            if sum(counts.values()) > 30:
                yield step.at(where), f"{sum(counts.values())} hyperparameters are tuned, the limit is 30"
        if config.get("Strategy") == "Hyperband" and config.get("TrainingJobEarlyStoppingType") == "Auto":
            yield (
                step.at("Arguments.HyperParameterTuningJobConfig"),
                "Hyperband stops early by itself: TrainingJobEarlyStoppingType must be Off",
            )
