"""XGBoost: arguments that moved or went between 0.90 and 3.

https://xgboost.readthedocs.io/en/stable/changes/index.html
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any

from . import say

_TRAIN = (
    *("params", "dtrain", "num_boost_round", "evals", "obj", "feval", "maximize", "early_stopping_rounds"),
    *("evals_result", "verbose_eval", "xgb_model", "callbacks"),
)
_CV = (
    *("params", "dtrain", "num_boost_round", "nfold", "stratified", "folds", "metrics", "obj", "feval"),
    *("maximize", "early_stopping_rounds", "fpreproc", "as_pandas", "verbose_eval", "show_stdv", "seed"),
    *("callbacks", "shuffle"),
)
_OF_FIT = ("eval_metric", "early_stopping_rounds", "callbacks")


def patch(xgb: ModuleType) -> None:
    """Put them back."""
    xgb.train = _positional(xgb.train, _TRAIN)  # type: ignore[attr-defined]
    xgb.cv = _positional(xgb.cv, _CV)  # type: ignore[attr-defined]
    xgb.DMatrix.__init__ = _from_files(xgb.DMatrix.__init__)
    xgb.Booster.predict = _limited(xgb.Booster.predict)
    xgb.Booster.best_ntree_limit = property(lambda self: self.best_iteration + 1)
    names = ("XGBModel", "XGBClassifier", "XGBRegressor", "XGBRanker", "XGBRFClassifier", "XGBRFRegressor")
    for kind in (getattr(xgb, name) for name in names):
        for method, wrap in (("fit", _fitting), ("predict", _limited), ("predict_proba", _limited)):
            if method in vars(kind):
                setattr(kind, method, wrap(vars(kind)[method]))
    xgb.XGBModel.best_ntree_limit = property(lambda self: self.best_iteration + 1)
    xgb.XGBModel.get_xgb_params = _without_gpu(xgb.XGBModel.get_xgb_params)


def _no_gpu(parameters: dict[str, Any]) -> dict[str, Any]:
    if parameters.get("tree_method") != "gpu_hist":
        return parameters
    say("tree_method gpu_hist: there is no GPU here; hist is used")
    kept = {name: value for name, value in parameters.items() if name not in {"gpu_id", "predictor"}}
    return {**kept, "tree_method": "hist"}


def _without_gpu(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    @wraps(original)
    def get_xgb_params(self: Any) -> dict[str, Any]:
        return _no_gpu(original(self))

    return get_xgb_params


def _positional(original: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    @wraps(original)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        given = dict(zip(names, arguments, strict=False)) | options
        metric = given.pop("feval", None)
        if metric is not None:
            given.setdefault("custom_metric", metric)
        if isinstance(given.get("params"), dict):
            given["params"] = _no_gpu(given["params"])
        return original(**given)

    return wrapped


def _from_files(original: Callable[..., None]) -> Callable[..., None]:
    """A path without a format is a libsvm file, as it was."""

    @wraps(original)
    def initialize(self: Any, data: Any, *arguments: Any, **options: Any) -> None:
        if isinstance(data, str | os.PathLike) and "format=" not in os.fspath(data):
            data = f"{os.fspath(data)}?format=libsvm"
        original(self, data, *arguments, **options)

    return initialize


def _limited(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def wrapped(self: Any, *arguments: Any, **options: Any) -> Any:
        if limit := options.pop("ntree_limit", None):
            options["iteration_range"] = (0, int(limit))
        return original(self, *arguments, **options)

    return wrapped


def _fitting(original: Callable[..., Any]) -> Callable[..., Any]:
    """What `fit` took is the model's own parameter now."""

    @wraps(original)
    def fit(self: Any, *arguments: Any, **options: Any) -> Any:
        moved = {name: options.pop(name) for name in _OF_FIT if name in options}
        if moved := {name: value for name, value in moved.items() if value is not None}:
            say(f"fit({', '.join(moved)}=...) belongs to the model in this XGBoost, and is set there")
            self.set_params(**moved)
        return original(self, *arguments, **options)

    return fit
