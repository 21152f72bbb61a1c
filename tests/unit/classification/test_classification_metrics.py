"""Metrics against scikit-learn's, folds, and what a trial refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from tests.unit.classification.conftest import ARGUMENTS, read_json
from training.classification import preprocess, refit, trial
from training.classification.metrics import METRICS, SCORERS, measure, roc
from training.classification.rows import Labels
from training.classification.validation import fold_of


def cases(classes: int, seed: int, rows: int, digits: int):
    source = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(classes), source.integers(classes, size=rows)])
    raw = source.dirichlet(np.ones(classes), size=len(truth)) + 0.3 * np.eye(classes)[truth]
    scores = np.round(raw, digits) + 1e-6  # few digits: many ties
    return truth, scores / scores.sum(axis=1, keepdims=True)


@settings(max_examples=60, deadline=None)
@given(
    classes=st.integers(2, 5),
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 60),
    digits=st.sampled_from([1, 2, 9]),
)
def test_metrics_are_those_of_scikit_learn(classes, seed, rows, digits):
    truth, scores = cases(classes, seed, rows, digits)
    guess = scores.argmax(axis=1)
    average = {"average": "binary" if classes == 2 else "macro", "zero_division": 0}
    expected = {
        "accuracy": reference.accuracy_score(truth, guess),
        "precision": reference.precision_score(truth, guess, labels=labels(classes), **average),
        "recall": reference.recall_score(truth, guess, labels=labels(classes), **average),
        "f1": reference.f1_score(truth, guess, labels=labels(classes), **average),
        "auc": reference.roc_auc_score(truth, scores[:, 1])
        if classes == 2
        else reference.roc_auc_score(truth, scores, multi_class="ovr", average="macro"),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, guess),
        "negative_log_loss": -reference.log_loss(truth, scores, labels=np.arange(classes)),
    }
    for name, metric in SCORERS.items():
        assert metric(truth, scores) == pytest.approx(expected[name], abs=1e-9), name


def labels(classes):
    return None if classes == 2 else list(range(classes))


def test_roc_is_that_of_scikit_learn():
    truth, scores = cases(2, 3, 80, 1)
    false, true, _ = reference.roc_curve(truth, scores[:, 1], drop_intermediate=False)
    np.testing.assert_allclose(roc(truth == 1, scores[:, 1])[0], false)
    np.testing.assert_allclose(roc(truth == 1, scores[:, 1])[1], true)


def test_a_missing_class_leaves_auc_undefined_and_the_rest_defined():
    report = measure(np.zeros(5, dtype=np.int64), np.full((5, 2), 0.5))
    assert report["auc"]["value"] == "NaN"
    assert report["accuracy"]["value"] == 1.0
    assert set(report) == set(METRICS)


def test_the_standard_error_is_that_of_a_share():
    truth, scores = cases(2, 1, 400, 9)
    found = measure(truth, scores)["accuracy"]
    share = found["value"]
    assert found["standard_deviation"] == pytest.approx(math.sqrt(share * (1 - share) / len(truth)), rel=0.25)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(5, 40), min_size=2, max_size=4),
    folds=st.integers(2, 5),
    seed=st.integers(0, 999),
)
def test_folds_are_even_and_have_every_class(counts, folds, seed):
    codes = np.repeat(np.arange(len(counts)), counts)
    names = Labels("t", tuple(map(str, range(len(counts)))), None)
    places = fold_of(codes, folds, seed, names)
    assert (fold_of(codes, folds, seed, names) == places).all()
    sizes = np.bincount(places, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    for code in range(len(counts)):
        of_class = np.bincount(places[codes == code], minlength=folds)
        assert of_class.max() - of_class.min() <= 1


@pytest.fixture
def prepared(container, flowers):
    container.write_input("data", flowers(60), "rows.csv")
    preprocess.main(ARGUMENTS)
    for name in ("train", "encoder"):
        container.channel(name, container.output(name))
    return container


def test_a_trial_says_its_score_as_the_tuning_job_reads_it(prepared, capsys):
    values = {"algorithm": "naive-bayes", "scorer": "f1", "folds": "4", "var_smoothing": "0.01"}
    prepared.config("hyperparameters.json", values)
    trial.main([])
    found = read_json(prepared.root / "model" / "trial.json")
    assert found["hyperparameters"] == {"var_smoothing": 0.01}
    assert len(found["fold_scores"]) == 4
    assert f"cv-score={found['score']:.6f};" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "hyperparameter algorithm is missing; it is one of xgboost, lightgbm"),
        ({"algorithm": "oracle"}, "hyperparameter algorithm must be one of xgboost"),
        ({"algorithm": "xgboost", "depth": "3"}, "unknown hyperparameter 'depth'; known: colsample_bytree"),
        ({"algorithm": "xgboost", "max_depth": "deep"}, "hyperparameter max_depth needs a value of type int"),
        ({"algorithm": "xgboost", "scorer": "mse"}, "hyperparameter scorer must be one of accuracy"),
        ({"algorithm": "xgboost", "folds": "1"}, "hyperparameter folds must be 2 to 20, got 1"),
        ({"algorithm": "naive-bayes", "folds": "20"}, "class 'aster' has 16 training rows, 20 folds need as"),
    ],
)
def test_what_a_trial_refuses(prepared, refused, values, message):
    prepared.config("hyperparameters.json", values)
    assert refused(trial.main, []).startswith(message)


def test_a_score_that_is_undefined_fails_the_trial(prepared, refused, monkeypatch):
    monkeypatch.setitem(trial.SCORERS, "auc", lambda *_: math.nan)
    prepared.config("hyperparameters.json", {"algorithm": "naive-bayes"})
    assert refused(trial.main, []) == "auc is undefined on fold 1: use fewer folds or more rows"


@pytest.mark.parametrize("step", [trial, refit])
def test_one_host_only(prepared, refused, step):
    prepared.config("resourceconfig.json", {"current_host": "algo-1", "hosts": ["algo-1", "algo-2"]})
    assert "one host" in refused(step.main, [])


@pytest.mark.parametrize("content", [b"", b"not an archive"])
def test_the_refit_refuses_what_is_no_trial(prepared, refused, content):
    folder = prepared.root / "input" / "data" / "trial"
    folder.mkdir()
    (folder / "model.tar.gz").write_bytes(content)
    assert "model.tar.gz is not the archive of a trial" in refused(refit.main, [])


def test_large_tables_are_encoded_in_pieces(prepared, monkeypatch):
    from training.classification import rows

    encoder = rows.read_encoder(prepared.output("encoder"))
    labels = rows.read_labels(prepared.output("encoder"))
    whole = rows.encode(rows.read_rows(prepared.output("train"), encoder.features), encoder, labels)
    monkeypatch.setattr(rows, "CHUNK_ROWS", 7)
    monkeypatch.setattr(rows, "SAMPLES", 10)
    pieces = rows.encode(rows.read_rows(prepared.output("train"), encoder.features), encoder, labels)
    np.testing.assert_array_equal(pieces.matrix, whole.matrix)
    np.testing.assert_array_equal(pieces.codes, whole.codes)
    assert [row.id for row in pieces.samples] == [row.id for row in whole.samples][:10]
