"""scikit-learn: arguments and values that were renamed or removed since 0.20.

https://scikit-learn.org/stable/whats_new.html
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from types import ModuleType
from typing import Any

from . import say

# Arguments of constructors: today's name, or None for those without an effect any more.
_ARGUMENTS: Mapping[str, Mapping[str, str | None]] = {
    "AdaBoostClassifier": {"base_estimator": "estimator", "algorithm": None},
    "AdaBoostRegressor": {"base_estimator": "estimator"},
    "AgglomerativeClustering": {"affinity": "metric"},
    "BaggingClassifier": {"base_estimator": "estimator"},
    "BaggingRegressor": {"base_estimator": "estimator"},
    "CalibratedClassifierCV": {"base_estimator": "estimator"},
    "GradientBoostingClassifier": {"min_impurity_split": None, "presort": None},
    "GradientBoostingRegressor": {"min_impurity_split": None, "presort": None},
    "GridSearchCV": {"iid": None},
    "KMeans": {"n_jobs": None, "precompute_distances": None},
    "LogisticRegression": {"multi_class": None},
    "LogisticRegressionCV": {"multi_class": None},
    "OneHotEncoder": {"sparse": "sparse_output", "n_values": None, "categorical_features": None},
    "RandomForestClassifier": {"min_impurity_split": None},
    "RandomForestRegressor": {"min_impurity_split": None},
    "RandomizedSearchCV": {"iid": None},
    "SimpleImputer": {"verbose": None},
}
_AS_NOW = {
    ("algorithm", "full"): "lloyd",
    ("algorithm", "auto"): "lloyd",
    ("criterion", "mse"): "squared_error",
    ("criterion", "mae"): "absolute_error",
    ("loss", "binary_crossentropy"): "log_loss",
    ("loss", "categorical_crossentropy"): "log_loss",
    ("loss", "deviance"): "log_loss",
    ("loss", "lad"): "absolute_error",
    ("loss", "least_absolute_deviation"): "absolute_error",
    ("loss", "least_squares"): "squared_error",
    ("loss", "log"): "log_loss",
    ("loss", "ls"): "squared_error",
    ("loss", "squared_loss"): "squared_error",
    ("penalty", "none"): None,
}


def patch(module: ModuleType) -> None:
    """Put back what the module had."""
    if module.__name__ == "sklearn.base":
        module.BaseEstimator._validate_params = _with_former_values(module.BaseEstimator._validate_params)
    elif module.__name__ == "sklearn.externals":
        joblib = importlib.import_module("joblib")

        module.joblib = joblib  # type: ignore[attr-defined]
        sys.modules["sklearn.externals.joblib"] = joblib
    elif module.__name__ == "sklearn.metrics":
        for name in ("mean_squared_error", "mean_squared_log_error"):
            setattr(module, name, _with_squared(getattr(module, name)))
        for name, display in (("plot_confusion_matrix", "ConfusionMatrix"), ("plot_roc_curve", "RocCurve")):
            setattr(module, name, getattr(module, f"{display}Display").from_estimator)
    for name in _ARGUMENTS.keys() & vars(module).keys():
        kind = getattr(module, name)
        kind.__init__ = _with_former_arguments(name, kind.__init__)
        if hasattr(kind, "get_feature_names_out"):
            kind.get_feature_names = kind.get_feature_names_out


def _with_former_arguments(kind: str, original: Callable[..., None]) -> Callable[..., None]:
    names = _ARGUMENTS[kind]

    @wraps(original)  # scikit-learn reads an estimator's parameters from this signature
    def initialize(self: Any, *arguments: Any, **options: Any) -> None:
        for former in names.keys() & options.keys():
            now, value = names[former], options.pop(former)
            say(f"{kind}({former}=...) is {'now ' + now if now else 'without effect'} in this scikit-learn")
            if now:
                options[now] = value
        original(self, *arguments, **options)

    return initialize


def _with_former_values(original: Callable[[Any], None]) -> Callable[[Any], None]:
    @wraps(original)
    def _validate_params(self: Any) -> None:
        while True:
            try:
                return original(self)
            except ValueError as error:
                if not _translate(self, str(error)):
                    raise

    return _validate_params


def _translate(estimator: Any, refusal: str) -> bool:
    """Give an estimator today's value of the parameter that it is refused for; whether there is one."""
    for name, value in estimator.get_params(deep=False).items():
        former = isinstance(value, str) and f"The '{name}' parameter" in refusal
        if former and (name, value) in _AS_NOW:
            now = _AS_NOW[name, value]
        elif former and (name, value) == ("max_features", "auto"):
            now = "sqrt" if type(estimator).__name__.endswith("Classifier") else None
        else:
            continue
        say(f"{type(estimator).__name__}({name}={value!r}) is {now!r} in this scikit-learn")
        setattr(estimator, name, now)
        return True
    return False


def _with_squared(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def wrapped(*arguments: Any, squared: bool = True, **options: Any) -> Any:
        import numpy as np

        if squared:
            return original(*arguments, **options)
        kept = options.get("multioutput", "uniform_average")
        roots = np.sqrt(original(*arguments, **{**options, "multioutput": "raw_values"}))
        if isinstance(kept, str):
            return roots if kept == "raw_values" else float(np.average(roots))
        return float(np.average(roots, weights=kept))

    return wrapped
