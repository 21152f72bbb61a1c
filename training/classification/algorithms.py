"""The six algorithms: the hyperparameters of each, and how it is trained.

A hyperparameter's default is used where the tuning job does not set it. Ranges are the pipeline's business.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from training.classification import forests, networks
from training.classification.rows import Table
from training.common.array_models import ArrayModel, Preparation
from training.common.classifier import LightgbmPredictor, Predictor, XgboostPredictor
from training.common.encoder import Encoder
from training.common.hosts import usable_cpus

LARGE = 1_000_000  # values


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What an algorithm is trained on. `classes`: how many; `threads`: how many it may use."""

    encoder: Encoder
    table: Table
    classes: int
    seed: int
    threads: int = 1


def threads_for(table: Table) -> int:
    """Trials run side by side: only on a large table is it worth that one takes all processors."""
    return usable_cpus() if table.matrix.size > LARGE else 1


class Algorithm(Protocol):
    """A frozen dataclass of hyperparameters. `file`: name of the model in the archive."""

    framework: str
    file: str

    def fit(self, task: Task) -> Predictor: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Xgboost:
    """Gradient boosted trees, https://xgboost.readthedocs.io/en/stable/parameter.html"""

    num_round: int = 100
    max_depth: int = 4
    eta: float = 0.1
    subsample: float = 0.8
    colsample_bytree: float = 0.8
    min_child_weight: float = 1.0
    reg_lambda: float = 1.0

    framework = "xgboost"
    file = "model.ubj"

    def fit(self, task: Task) -> Predictor:
        from training.common.boosting import xgboost

        given = asdict(self)
        rounds = given.pop("num_round")
        given["lambda"] = given.pop("reg_lambda")
        several = {"objective": "multi:softprob", "num_class": task.classes}
        fixed = {"tree_method": "hist", "nthread": task.threads, "seed": task.seed}
        matrix = xgboost.DMatrix(
            task.table.matrix,
            task.table.codes,
            feature_types=task.encoder.feature_types,
            enable_categorical=True,
            nthread=task.threads,
        )
        objective = several if task.classes > 2 else {"objective": "binary:logistic"}
        booster = xgboost.train(fixed | objective | given, matrix, num_boost_round=rounds)
        return XgboostPredictor(booster)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lightgbm:
    """Gradient boosted trees, https://lightgbm.readthedocs.io/en/stable/Parameters.html"""

    num_round: int = 100
    num_leaves: int = 15
    learning_rate: float = 0.1
    min_data_in_leaf: int = 10
    feature_fraction: float = 0.8
    bagging_fraction: float = 0.8
    lambda_l2: float = 1.0

    framework = "lightgbm"
    file = "model.txt"

    def fit(self, task: Task) -> Predictor:
        import lightgbm

        given = asdict(self)
        rounds = given.pop("num_round")
        fixed: dict[str, Any] = {
            "objective": "multiclass" if task.classes > 2 else "binary",
            "num_threads": task.threads,
            "seed": task.seed,
            "deterministic": True,
            "force_row_wise": True,
            "bagging_freq": 1,
            "verbosity": -1,
        }
        if task.classes > 2:
            fixed["num_class"] = task.classes
        categorical = [i for i, kind in enumerate(task.encoder.feature_types) if kind == "c"]
        data = lightgbm.Dataset(task.table.matrix, task.table.codes, categorical_feature=categorical)
        return LightgbmPredictor(lightgbm.train(fixed | given, data, num_boost_round=rounds), task.threads)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomForest:
    """https://scikit-learn.org/stable/modules/generated/sklearn.ensemble.RandomForestClassifier.html

    `min_samples_leaf` is at least that: more where the table is so large that the model could take more than
    `forests.LARGEST_BYTES`.
    """

    n_estimators: int = 100
    max_depth: int = 8
    min_samples_leaf: int = 2
    max_features: float = 0.3

    framework = "scikit-learn"
    file = "model.npz"

    def fit(self, task: Task) -> Predictor:
        from sklearn.ensemble import RandomForestClassifier

        preparation = Preparation.fit(task.encoder, task.table.matrix)
        given = asdict(self)
        given["min_samples_leaf"] = max(
            self.min_samples_leaf,
            forests.smallest_leaf(len(task.table.codes), self.n_estimators, self.max_depth, task.classes),
        )
        forest = RandomForestClassifier(**given, random_state=task.seed, n_jobs=task.threads)
        forest.fit(preparation.apply(task.table.matrix), task.table.codes)
        return ArrayModel("random-forest", preparation, forests.arrays_of(forest))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticRegression:
    """https://scikit-learn.org/stable/modules/generated/sklearn.linear_model.LogisticRegression.html"""

    c: float = 1.0

    framework = "scikit-learn"
    file = "model.npz"

    def fit(self, task: Task) -> Predictor:
        from sklearn import linear_model

        preparation = Preparation.fit(task.encoder, task.table.matrix)
        found = linear_model.LogisticRegression(C=self.c, max_iter=2000, random_state=task.seed)
        found.fit(preparation.apply(task.table.matrix), task.table.codes)
        weights, bias = networks.for_softmax(found.coef_.T, found.intercept_)
        return ArrayModel("logistic-regression", preparation, {"weights": weights, "bias": bias})


@dataclass(frozen=True, slots=True, kw_only=True)
class NaiveBayes:
    """https://scikit-learn.org/stable/modules/generated/sklearn.naive_bayes.GaussianNB.html"""

    var_smoothing: float = 1e-9

    framework = "scikit-learn"
    file = "model.npz"

    def fit(self, task: Task) -> Predictor:
        from sklearn.naive_bayes import GaussianNB

        preparation = Preparation.fit(task.encoder, task.table.matrix)
        found = GaussianNB(var_smoothing=self.var_smoothing)
        found.fit(preparation.apply(task.table.matrix), task.table.codes)
        arrays = {"centers": found.theta_, "variances": found.var_, "priors": found.class_prior_}
        return ArrayModel("naive-bayes", preparation, arrays)


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuralNet:
    """https://scikit-learn.org/stable/modules/generated/sklearn.neural_network.MLPClassifier.html"""

    hidden_units: int = 32
    hidden_layers: int = 1
    alpha: float = 1e-3
    learning_rate_init: float = 1e-3
    max_iter: int = 300

    framework = "scikit-learn"
    file = "model.npz"

    def fit(self, task: Task) -> Predictor:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier

        preparation = Preparation.fit(task.encoder, task.table.matrix)
        found = MLPClassifier(
            hidden_layer_sizes=(self.hidden_units,) * self.hidden_layers,
            alpha=self.alpha,
            learning_rate_init=self.learning_rate_init,
            max_iter=self.max_iter,
            random_state=task.seed,
        )
        with warnings.catch_warnings():
            # A trial that has not converged is judged by its score, like any other.
            warnings.simplefilter("ignore", ConvergenceWarning)
            found.fit(preparation.apply(task.table.matrix), task.table.codes)
        return ArrayModel("neural-net", preparation, networks.arrays_of(found))


ALGORITHMS: Mapping[str, type[Any]] = {
    "xgboost": Xgboost,
    "lightgbm": Lightgbm,
    "random-forest": RandomForest,
    "logistic-regression": LogisticRegression,
    "naive-bayes": NaiveBayes,
    "neural-net": NeuralNet,
}
