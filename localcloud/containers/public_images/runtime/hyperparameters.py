"""The XGBoost algorithm's hyperparameters: which there are, and what they may be.

https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost_hyperparameters.html
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .environment import UserError

_MAXIMIZED = """
    accuracy auc aucpr balanced_accuracy f1 f1_binary f1_macro map ndcg precision precision_macro
    precision_micro r2 recall recall_macro recall_micro
"""
_MINIMIZED = """
    aft-nloglik cox-nloglik error gamma-deviance gamma-nloglik interval-regression-accuracy logloss mae
    mape merror mlogloss mphe mse poisson-nloglik rmse rmsle tweedie-nloglik
"""
MAXIMIZED, MINIMIZED = frozenset(_MAXIMIZED.split()), frozenset(_MINIMIZED.split())
_THRESHOLD = frozenset({"error", "ndcg", "map"})  # metrics that take `@`
ALIASES = {"learning_rate": "eta", "min_split_loss": "gamma", "reg_lambda": "lambda", "reg_alpha": "alpha"}


@dataclass(frozen=True, slots=True)
class Number:
    """A number and its bounds; `whole` for integers, `open_` for bounds that are not allowed themselves."""

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    open_low: bool = False
    open_high: bool = False

    def parse(self, text: str) -> float:
        """The value; ValueError if the text is no such number or out of bounds."""
        value = int(text) if self.whole else float(text)
        below = value <= self.low if self.open_low else value < self.low
        above = value >= self.high if self.open_high else value > self.high
        if below or above or not math.isfinite(value):
            brackets = "(" if self.open_low else "[", ")" if self.open_high else "]"
            raise ValueError(f"not in {brackets[0]}{self.low:g}, {self.high:g}{brackets[1]}")
        return value


@dataclass(frozen=True, slots=True)
class Choice:
    """One word of several."""

    words: tuple[str, ...]

    def parse(self, text: str) -> str:
        """The word; ValueError if it is another."""
        if text not in self.words:
            raise ValueError(f"not one of {', '.join(self.words)}")
        return text


@dataclass(frozen=True, slots=True)
class Words:
    """Words with commas between."""

    def parse(self, text: str) -> list[str]:
        """The words; ValueError if there is none."""
        words = [word.strip() for word in text.strip("[]").replace('"', "").replace("'", "").split(",")]
        if not all(words):
            raise ValueError("an empty name")
        return words


@dataclass(frozen=True, slots=True)
class Plain:
    """Text for XGBoost itself to read."""

    def parse(self, text: str) -> str:
        """The text."""
        return text


_OBJECTIVES = """
    binary:logistic binary:logitraw binary:hinge count:poisson multi:softmax multi:softprob rank:pairwise
    rank:ndcg rank:map reg:linear reg:squarederror reg:logistic reg:gamma reg:pseudohubererror
    reg:squaredlogerror reg:absoluteerror reg:tweedie survival:aft survival:cox
"""
_WHOLE_FROM_0, _WHOLE_FROM_1 = Number(0, whole=True), Number(1, whole=True)
_SWITCH = Number(0, 1, whole=True)
_FROM_0, _SHARE, _SHARE_ABOVE_0 = Number(0), Number(0, 1), Number(0, 1, open_low=True)
_TRUTH = Choice(("true", "false"))
Kind = Number | Choice | Words | Plain
KNOWN: Mapping[str, Kind] = {
    "num_round": _WHOLE_FROM_1,
    "csv_weights": _SWITCH,
    "early_stopping_rounds": _WHOLE_FROM_1,
    "booster": Choice(("gbtree", "gblinear", "dart")),
    "verbosity": Number(0, 3, whole=True),
    "silent": _SWITCH,  # of the older images
    "nthread": _WHOLE_FROM_1,
    "eta": _SHARE,
    "gamma": _FROM_0,
    "max_depth": _WHOLE_FROM_0,
    "min_child_weight": _FROM_0,
    "max_delta_step": _FROM_0,
    "subsample": _SHARE_ABOVE_0,
    "colsample_bytree": _SHARE_ABOVE_0,
    "colsample_bylevel": _SHARE_ABOVE_0,
    "colsample_bynode": _SHARE_ABOVE_0,
    "lambda": _FROM_0,
    "alpha": _FROM_0,
    "tree_method": Choice(("auto", "exact", "approx", "hist", "gpu_hist")),
    "sketch_eps": Number(0, 1, open_low=True, open_high=True),
    "scale_pos_weight": Number(0, open_low=True),
    "updater": Words(),
    "dsplit": Choice(("row", "col")),
    "refresh_leaf": _SWITCH,
    "process_type": Choice(("default", "update")),
    "grow_policy": Choice(("depthwise", "lossguide")),
    "max_leaves": _WHOLE_FROM_0,
    "max_bin": _WHOLE_FROM_0,
    "predictor": Choice(("auto", "cpu_predictor", "gpu_predictor")),
    "monotone_constraints": Plain(),
    "interaction_constraints": Plain(),
    "sample_type": Choice(("uniform", "weighted")),
    "normalize_type": Choice(("tree", "forest")),
    "rate_drop": _SHARE,
    "one_drop": _SWITCH,
    "skip_drop": _SHARE,
    "lambda_bias": _SHARE,
    "tweedie_variance_power": Number(1, 2, open_low=True, open_high=True),
    "objective": Choice(tuple(_OBJECTIVES.split())),
    "num_class": Number(2, whole=True),
    "base_score": _FROM_0,
    "_tuning_objective_metric": Plain(),
    "eval_metric": Words(),
    "seed": Number(-(2**31), 2**31 - 1, whole=True, open_low=True, open_high=True),
    "num_parallel_tree": _WHOLE_FROM_1,
    "save_model_on_termination": _TRUTH,
    "aft_loss_distribution": Choice(("normal", "logistic", "extreme")),
    "aft_loss_distribution_scale": _FROM_0,
    "deterministic_histogram": _TRUTH,
    "sampling_method": Choice(("uniform", "gradient_based")),
    "prob_buffer_row": Number(1, open_low=True),
    "use_dask_gpu_training": Choice(("false",)),
}


def validate(given: Mapping[str, str]) -> dict[str, Any]:
    """Parse and check hyperparameters.

    Args:
        given: names and values as text, as SageMaker hands them over.

    Raises:
        UserError: unknown, missing, unreadable, out of range, or at odds with another.

    Example:
        >>> validate({"num_round": "10", "eta": "0.2"})
        {'num_round': 10, 'eta': 0.2}
    """
    values: dict[str, Any] = {}
    for written, text in given.items():
        name = ALIASES.get(written, written)
        if name not in KNOWN:
            raise UserError(f"Extraneous hyperparameter found: {written}")
        try:
            values[name] = KNOWN[name].parse(text.strip('"') if isinstance(text, str) else json.dumps(text))
        except ValueError as error:
            raise UserError(f"Hyperparameter {written}: could not use value {text!r}: {error}") from error
    if "num_round" not in values:
        raise UserError("Missing required hyperparameter: num_round")
    _check_together(values)
    return values


def _check_together(values: Mapping[str, Any]) -> None:
    objective = values.get("objective", "reg:squarederror")
    if objective in {"multi:softmax", "multi:softprob"} and "num_class" not in values:
        raise UserError("Require input for parameter 'num_class' for multi-classification")
    for metric in values.get("eval_metric", ()):
        name, at, threshold = metric.partition("@")
        if name not in MAXIMIZED | MINIMIZED or (at and name not in _THRESHOLD):
            raise UserError(f"Hyperparameter eval_metric: {metric} is not a metric of this algorithm")
        if at:
            try:
                float(threshold.rstrip("-"))
            except ValueError as error:
                raise UserError(f"Threshold value 't' in '{name}@t' expects float input.") from error
        if name == "auc" and not objective.startswith(("binary:", "rank:", "multi:")):
            raise UserError("Metric 'auc' can only be applied for classification and ranking problems.")
        if name == "aft-nloglik" and objective != "survival:aft":
            raise UserError("Metric 'aft-nloglik' can only be applied for 'survival:aft' objective.")
    if "monotone_constraints" in values and values.get("tree_method") not in {"exact", "hist"}:
        raise UserError(
            "monotone_constraints can be used only when the tree_method parameter is set to either 'exact' "
            "or 'hist'."
        )
