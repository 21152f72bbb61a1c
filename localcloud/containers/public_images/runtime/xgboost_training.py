"""The XGBoost algorithm: channels `train` and `validation` in, `xgboost-model` out, on one host or several.

https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost.html
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from . import xgboost_data as data
from . import xgboost_metrics as metrics
from .environment import Surroundings, UserError
from .hosts import together
from .hyperparameters import MAXIMIZED, validate

MODEL = "xgboost-model"
_SUM = xgboost.collective.Op.SUM
# XGBoost's own words for what the request or the data got wrong.
_USERS_FAULT = (
    "label must be",
    "feature_names mismatch",
    "base_score must be in",
    "Check failed: valid",
    "label_correct",
    "should be greater equal",
)


def train(found: Surroundings) -> None:
    """Train, and leave the model in `/opt/ml/model`.

    Raises:
        UserError: hyperparameters, channels or data are wrong.
    """
    values = validate(found.given)
    channels = found.channels
    if "train" not in channels:
        raise UserError("Missing required channel: train")
    if extra := sorted(channels.keys() - {"train", "validation"}):
        raise UserError(f"Extraneous channel found: {extra[0]}; this algorithm takes train and validation")
    with together(found) if len(found.hosts) > 1 else nullcontext():
        booster = _fit(found, values, _load(found, weights=values.pop("csv_weights", 0) == 1))
    if found.host == found.hosts[0]:
        save(booster, found.base / "model" / MODEL)


def _load(found: Surroundings, *, weights: bool) -> dict[str, Any]:
    """The channels' matrices. Every host makes as many, in the same order: they compare their columns."""
    matrices: dict[str, Any] = {}
    for name in ("train", "validation"):
        if name not in found.channels:
            continue
        kind = data.kind_of(found.channels[name].get("ContentType"))
        matrix = data.load(found.folder(name), kind, weights=weights)
        if matrix is None and len(found.hosts) == 1:
            raise UserError(f"No data in {name} channel path {found.folder(name)}")
        if matrix is None:
            _say(f"{found.host} has no data in the channel {name}; divide the data over all hosts")
            matrix = xgboost.DMatrix(np.empty((0, 0), np.float32), label=np.empty(0))
        matrices[name] = matrix
    if len(found.hosts) > 1:
        _say(f"Distributed node training with {len(found.hosts)} hosts: {', '.join(found.hosts)}")
        rows = np.array([matrix.num_row() for matrix in matrices.values()], np.int64)
        for name, count in zip(matrices, xgboost.collective.allreduce(rows, _SUM), strict=True):
            if not count:
                raise UserError(f"No data in {name} channel on any host")
    return matrices


def save(booster: xgboost.Booster, path: Path) -> None:
    """Write the model as the image's version does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if os.environ.get("MODELYARD_MODEL_FORMAT") == "pickle":
        path.write_bytes(pickle.dumps(booster))
    else:
        path.write_bytes(bytes(booster.save_raw("ubj")))


def _fit(found: Surroundings, values: dict[str, Any], matrices: Mapping[str, Any]) -> xgboost.Booster:
    parameters = dict(values)
    # The hosts share one machine: as many threads each would wait for each other.
    parameters.setdefault("nthread", max(1, (os.cpu_count() or 1) // len(found.hosts)))
    rounds = int(parameters.pop("num_round"))
    tuned = parameters.pop("_tuning_objective_metric", None)
    names = list(parameters.pop("eval_metric", ()))
    objective = [str(tuned).rpartition(":")[2]] if tuned else []
    own, extra = metrics.split(sorted({*names, *objective}) if objective else names)
    if own:
        parameters["eval_metric"] = own
    if extra and not own:
        parameters["disable_default_eval_metric"] = 1
    callbacks: list[Any] = []
    if found.host == found.hosts[0]:
        callbacks.append(metrics.LogMetrics())
    if (patience := parameters.pop("early_stopping_rounds", None)) and "validation" in matrices:
        watched = (objective or names or [None])[-1]
        callbacks.append(
            xgboost.callback.EarlyStopping(
                rounds=int(patience),
                data_name="validation",
                metric_name=watched,
                maximize=watched.partition("@")[0] in MAXIMIZED if watched else None,
                save_best=True,
            )
        )
    rows = matrices["train"].num_row(), matrices["train"].num_col()
    _say(f"Train matrix has {rows[0]} rows and {rows[1]} columns")
    if "validation" in matrices:
        _say(f"Validation matrix has {matrices['validation'].num_row()} rows")
    _check_labels(values, matrices)
    try:
        return xgboost.train(
            _translated(parameters),
            matrices["train"],
            num_boost_round=rounds,
            evals=[(matrix, name) for name, matrix in matrices.items()],
            custom_metric=metrics.custom(extra),
            callbacks=callbacks,
            verbose_eval=False,
        )
    except (xgboost.core.XGBoostError, ValueError) as error:
        if any(words in str(error) for words in _USERS_FAULT):
            raise UserError(str(error).partition("\nStack trace:")[0].strip()) from error
        raise


def _check_labels(values: Mapping[str, Any], matrices: Mapping[str, Any]) -> None:
    """Say what XGBoost says in words of its own, or not at all."""
    objective = str(values.get("objective", ""))
    logistic = objective in {"binary:logistic", "binary:logitraw", "reg:logistic"}
    classes = values.get("num_class") if objective.startswith("multi:") else None
    for name, matrix in matrices.items():
        labels = matrix.get_label()
        if not labels.size:
            continue
        if not np.isfinite(labels).all():
            raise UserError(f"the channel {name} has labels that are missing or infinite")
        if logistic and not 0 <= labels.min() <= labels.max() <= 1:
            raise UserError(f"label must be in [0,1] for logistic regression (channel {name})")
        if classes is not None and not 0 <= labels.min() <= labels.max() < classes:
            raise UserError(f"label must be in [0, num_class) (channel {name})")


def _translated(parameters: dict[str, Any]) -> dict[str, Any]:
    """What XGBoost of today calls by other names, or has not any more."""
    for name in ("silent", "predictor", "dsplit", "save_model_on_termination", "use_dask_gpu_training"):
        parameters.pop(name, None)
    if parameters.get("tree_method") == "gpu_hist":
        _say("tree_method gpu_hist: there is no GPU here; hist is used")
        parameters["tree_method"] = "hist"
    if parameters.get("objective") == "reg:linear":
        parameters["objective"] = "reg:squarederror"
    if "updater" in parameters:
        parameters["updater"] = ",".join(parameters["updater"])
    return parameters


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
