"""The built-in XGBoost: channels, hyperparameters, and the metrics that it reports.

https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost_hyperparameters.html
https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost-tuning.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from modelyard_cli.check.definitions.jobs import items, training_parts
from modelyard_cli.check.definitions.model import Definition, Step, literal
from modelyard_cli.check.registry import Hits, definition_rule
from modelyard_cli.check.templates.model import number

_IMAGE = re.compile(r"sagemaker-xgboost:\d")
_VERSIONS = ("0.90-1", "0.90-2", "1.0-1", "1.2-1", "1.2-2", "1.3-1", "1.5-1", "1.7-1")
_CONTENT = {
    **dict.fromkeys(("text/csv", "csv"), "csv"),
    **dict.fromkeys(("text/libsvm", "text/x-libsvm", "libsvm"), "libsvm"),
    **dict.fromkeys(("application/x-parquet", "parquet"), "parquet"),
    "application/x-recordio-protobuf": "recordio-protobuf",
}
_WITHOUT_LIMIT = float("inf")
# hyperparameter -> lowest and highest value
_BOUNDS: dict[str, tuple[float, float]] = {
    "alpha": (-_WITHOUT_LIMIT, _WITHOUT_LIMIT),
    "base_score": (-_WITHOUT_LIMIT, _WITHOUT_LIMIT),
    "colsample_bylevel": (0, 1),
    "colsample_bynode": (0, 1),
    "colsample_bytree": (0, 1),
    "early_stopping_rounds": (1, _WITHOUT_LIMIT),
    "eta": (0, 1),
    "gamma": (0, _WITHOUT_LIMIT),
    "lambda": (-_WITHOUT_LIMIT, _WITHOUT_LIMIT),
    "max_bin": (2, _WITHOUT_LIMIT),
    "max_delta_step": (0, _WITHOUT_LIMIT),
    "max_depth": (0, _WITHOUT_LIMIT),
    "max_leaves": (0, _WITHOUT_LIMIT),
    "min_child_weight": (0, _WITHOUT_LIMIT),
    "num_class": (2, _WITHOUT_LIMIT),
    "num_parallel_tree": (1, _WITHOUT_LIMIT),
    "num_round": (1, _WITHOUT_LIMIT),
    "rate_drop": (0, 1),
    "scale_pos_weight": (0, _WITHOUT_LIMIT),
    "skip_drop": (0, 1),
    "subsample": (0, 1),
    "tweedie_variance_power": (1, 2),
}
_WHOLE = {"early_stopping_rounds", "max_bin", "max_depth", "max_leaves", "num_class", "num_round"}
_CHOICES = {
    "booster": {"gbtree", "gblinear", "dart"},
    "tree_method": {"auto", "exact", "approx", "hist", "gpu_hist"},
    "grow_policy": {"depthwise", "lossguide"},
    "sample_type": {"uniform", "weighted"},
    "normalize_type": {"tree", "forest"},
    "process_type": {"default", "update"},
    "verbosity": {"0", "1", "2", "3"},
}
_OBJECTIVE = re.compile(
    r"reg:(linear|squarederror|squaredlogerror|logistic|pseudohubererror|absoluteerror|quantileerror|gamma|tweedie)"
    r"|binary:(logistic|logitraw|hinge)|count:poisson|survival:(cox|aft)|multi:(softmax|softprob)"
    r"|rank:(pairwise|ndcg|map)"
)
_OTHERS = {
    "aft_loss_distribution",
    "csv_weights",
    "deterministic_histogram",
    "dsplit",
    "eval_metric",
    "interaction_constraints",
    "lambda_bias",
    "monotone_constraints",
    "nthread",
    "objective",
    "one_drop",
    "prob_buffer_row",
    "refresh_leaf",
    "save_model_on_termination",
    "seed",
    "seed_per_iteration",
    "silent",
    "sketch_eps",
    "tweedie_variance_power",
    "updater",
    "use_dask_gpu_training",
}
_NAMES = sorted({*_BOUNDS, *_CHOICES, *_OTHERS})
_METRIC = re.compile(
    r"(train|validation):(accuracy|aft-nloglik|auc|aucpr|balanced_accuracy|cox-nloglik|error|f1|f1_binary|f1_macro"
    r"|gamma-deviance|gamma-nloglik|interval-regression-accuracy|logloss|mae|map|mape|merror|mlogloss|mphe|mse|ndcg"
    r"|poisson-nloglik|precision|precision_macro|precision_micro|pre|r2|recall|recall_macro|recall_micro|rmse|rmsle"
    r"|tweedie-nloglik|dispersion)(@.*)?"
)


def _jobs(definition: Definition) -> Iterator[tuple[Step, str, dict[str, Any], dict[str, Any]]]:
    """(step, path, job, fixed hyperparameters) of every job in built-in mode, not with a script."""
    for step, at, job in training_parts(definition):
        algorithm = job.get("AlgorithmSpecification")
        image = algorithm.get("TrainingImage") if isinstance(algorithm, dict) else None
        if not isinstance(image, str) or not _IMAGE.search(image):
            continue
        fixed: dict[str, Any] = {}
        for member in ("HyperParameters", "StaticHyperParameters"):
            if isinstance(job.get(member), dict):
                fixed |= job[member]
        if "sagemaker_program" not in fixed and "SAGEMAKER_PROGRAM" not in (job.get("Environment") or {}):
            yield step, at, job, fixed


def _ranges(step: Step, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    config = step.arguments.get("HyperParameterTuningJobConfig")
    shared = config.get("ParameterRanges") if isinstance(config, dict) else None
    own = job.get("HyperParameterRanges")
    for kind in ("Integer", "Continuous", "Categorical"):
        yield from items(own if isinstance(own, dict) else shared, f"{kind}ParameterRanges")


@definition_rule(
    "MYP525",
    "A built-in algorithm without what it needs",
    "XGBoost: a train channel with ContentType, num_round, and an objective of its list; csv has no header.",
)
def _needs(definition: Definition) -> Hits:
    for step, at, job, fixed in _jobs(definition):
        if "num_round" not in fixed and "num_round" not in {r.get("Name") for r in _ranges(step, job)}:
            yield step.at(at), "the built-in XGBoost requires the hyperparameter num_round"
        channels = items(job, "InputDataConfig")
        if channels and "train" not in [c.get("ChannelName") for c in channels]:
            yield (
                step.at(f"{at}.InputDataConfig"),
                "the built-in XGBoost reads the channel train, which is missing",
            )
        names = [c.get("ChannelName") for c in channels]
        if "early_stopping_rounds" in fixed and channels and "validation" not in names:
            yield step.at(f"{at}.InputDataConfig"), "early_stopping_rounds needs a channel validation"
        kinds = {
            _family(c["ContentType"])
            for c in channels
            if c.get("ChannelName") in ("train", "validation") and literal(c.get("ContentType"))
        }
        for kind in sorted(kinds - set(_CONTENT.values())):
            yield step.at(f"{at}.InputDataConfig"), f"the built-in XGBoost reads no {kind}"
        if len(kinds) > 1:
            yield step.at(f"{at}.InputDataConfig"), f"mixes content types: {', '.join(sorted(kinds))}"
        image = str(job["AlgorithmSpecification"]["TrainingImage"])
        version = image.rpartition(":")[2].split("-cpu")[0]
        if re.fullmatch(r"[01]\.\d+-\d+", version) and version not in _VERSIONS:
            yield (
                step.at(f"{at}.AlgorithmSpecification.TrainingImage"),
                f"there is no version {version}, but: {', '.join(_VERSIONS)}",
            )
        for index, channel in enumerate(channels):
            if "ContentType" not in channel:
                yield (
                    step.at(f"{at}.InputDataConfig[{index}]"),
                    "has no ContentType: the built-in XGBoost then expects libsvm",
                )


def _family(content_type: str) -> str:
    name = content_type.split(";", maxsplit=1)[0].strip()
    return _CONTENT.get(name, name)


@definition_rule(
    "MYP526",
    "A hyperparameter that the built-in algorithm refuses",
    "Names and ranges are those of the algorithm's documentation; what it does not know ends the job.",
)
def _hyperparameters(definition: Definition) -> Hits:
    for step, at, job, fixed in _jobs(definition):
        member = "StaticHyperParameters" if step.type == "Tuning" else "HyperParameters"
        for name, value in fixed.items():
            given = definition.value(value)
            if problem := _problem(name, given):
                yield step.at(f"{at}.{member}.{name}"), problem
        if str(fixed.get("objective", "")).startswith("multi:") and "num_class" not in fixed:
            yield step.at(f"{at}.{member}"), f"{fixed['objective']} requires num_class"
        for item in _ranges(step, job):
            name = str(item.get("Name"))
            for limit in ("MinValue", "MaxValue"):
                if problem := _problem(name, item.get(limit)):
                    yield step.at(at), f"the range of {name}: {problem}"


def _problem(name: str, value: Any) -> str:
    if name not in _NAMES:
        near = get_close_matches(name, _NAMES, n=1, cutoff=0.8)
        return f"there is no {name}: {near[0]} is meant" if near else ""
    if not isinstance(value, str | int | float) or "${" in str(value):
        return ""
    if name == "objective" and not _OBJECTIVE.fullmatch(str(value)):
        return f"there is no objective {value}"
    if str(value) not in _CHOICES.get(name, {str(value)}):
        return f"{value} is none of {', '.join(sorted(_CHOICES[name]))}"
    return _bounds(name, str(value)) if name in _BOUNDS else ""


def _bounds(name: str, text: str) -> str:
    found = number(text)
    if found is None:
        return f"{text!r} is no number"
    low, high = _BOUNDS[name]
    if not low <= found <= high:
        return (
            f"{text} is not {f'within {low:g} to {high:g}' if high < _WITHOUT_LIMIT else f'at least {low:g}'}"
        )
    return f"{text} is no whole number" if name in _WHOLE and found != int(found) else ""


@definition_rule(
    "MYP607",
    "An objective that the built-in algorithm does not report",
    "Name a metric of the algorithm's list, such as validation:rmse; validation: wants a validation channel.",
)
def _objectives(definition: Definition) -> Hits:
    for step, at, job, _ in _jobs(definition):
        config = step.arguments.get("HyperParameterTuningJobConfig")
        shared = config.get("HyperParameterTuningJobObjective") if isinstance(config, dict) else None
        objective = job.get("TuningObjective") or shared
        name = objective.get("MetricName") if isinstance(objective, dict) else None
        # Metric definitions of one's own may name anything.
        if not isinstance(name, str) or items(job, "AlgorithmSpecification", "MetricDefinitions"):
            continue
        channels = [c.get("ChannelName") for c in items(job, "InputDataConfig")]
        if not _METRIC.fullmatch(name):
            yield step.at(at), f"XGBoost reports no {name}"
        elif name.startswith("validation:") and channels and "validation" not in channels:
            yield step.at(at), f"{name} without a channel validation is never reported"
