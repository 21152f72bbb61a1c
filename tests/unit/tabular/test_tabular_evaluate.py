"""EvaluateModel: the numbers of the report, and archives that must not be evaluated."""

from __future__ import annotations

import io
import json
import math
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.tabular import evaluate
from training.tabular.metrics import regression_report

finite = st.floats(-1e6, 1e6)


def pack(container, folder, extra=()):
    path = container.root / "processing" / "input" / "model" / "model.tar.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for item in sorted(folder.iterdir()):
            tar.add(item, item.name)
        for name, content in extra:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.fixture
def ready(container, trained):
    test = container.root / "processing" / "input" / "test"
    test.parent.mkdir(parents=True)
    test.symlink_to(trained.output("test"))
    return container


def test_the_report_has_the_form_that_the_gate_reads(ready, model_folder):
    pack(ready, model_folder)
    evaluate.main([])
    report = json.loads((ready.output("evaluation") / "evaluation.json").read_text())
    metrics = report["regression_metrics"]
    assert metrics.keys() == {"mse", "rmse", "mae", "r2"}
    assert metrics["rmse"]["value"] == pytest.approx(math.sqrt(metrics["mse"]["value"]))
    assert metrics["mse"]["value"] < 0.5 * report["baseline"]["mse"]["value"]
    assert metrics["r2"]["value"] > 0.5
    assert report["baseline"]["r2"]["value"] <= 0
    assert report["rows"] > 50


def test_known_errors_give_known_metrics():
    report = regression_report(np.array([1.0, 2.0, 3.0, 6.0]), np.array([1.0, 2.0, 3.0, 4.0]), 3.0)
    metrics = report["regression_metrics"]
    assert metrics["mse"]["value"] == 1.0
    assert metrics["mae"]["value"] == 0.5
    assert metrics["r2"]["value"] == pytest.approx(1 - 1 / 3.5)
    assert metrics["mse"]["standard_deviation"] == pytest.approx(1.0)
    assert report["baseline"]["mse"]["value"] == 3.5
    assert report["mse_reduction_over_baseline"] == pytest.approx(1 - 1 / 3.5)


@settings(deadline=None)
@given(truth=st.lists(finite, min_size=1, max_size=20), constant=finite)
def test_the_report_is_always_json(truth, constant):
    report = regression_report(np.array(truth), np.zeros(len(truth)), constant)
    assert json.loads(json.dumps(report, allow_nan=False))["rows"] == len(truth)


def test_constant_truth_has_no_r2():
    metrics = regression_report(np.array([2.0, 2.0]), np.array([1.0, 3.0]), 2.0)["regression_metrics"]
    assert metrics["r2"]["value"] == "NaN"
    assert metrics["mse"]["value"] == 1.0


def edit(folder, **members):
    document = json.loads((folder / "manifest.json").read_text()) | members
    (folder / "manifest.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda f: (f / "manifest.json").unlink(), "manifest.json is missing"),
        (lambda f: (f / "manifest.json").write_text("{"), "manifest.json is not a manifest"),
        (lambda f: (f / "model.ubj").unlink(), "model.ubj is missing"),
        (lambda f: (f / "model.ubj").write_bytes(b"\x80\x04pickle"), "model.ubj is not an XGBoost model"),
        (lambda f: (f / "encoder.json").write_text("[]"), "encoder.json: not an encoder"),
        (lambda f: edit(f, framework="torch"), "framework 'torch' is not served here"),
        (
            lambda f: edit(f, framework_version="3.0.5"),
            "was trained with xgboost 3.0.5, this image has 3.2.0",
        ),
        (lambda f: edit(f, model="../model.ubj"), "'../model.ubj' is not the name of a file"),
        (lambda f: edit(f, features=[]), "name different features"),
        (lambda f: edit(f, training={}), "has no training.target_mean"),
        (
            lambda f: edit(f, golden={"instances": [{}], "predictions": [1], "tolerance": 1}),
            "golden row 0: col",
        ),
        (
            lambda f: edit(f, golden={"instances": [{}], "predictions": [], "tolerance": 1}),
            "one prediction for",
        ),
    ],
)
def test_a_broken_model_is_one_line(ready, model_folder, refused, spoil, expected):
    spoil(model_folder)
    pack(ready, model_folder)
    assert expected in refused(evaluate.main, [])


def test_a_model_that_predicts_otherwise_is_refused(ready, model_folder, refused):
    document = json.loads((model_folder / "manifest.json").read_text())
    document["golden"]["predictions"][2] += 0.01
    (model_folder / "manifest.json").write_text(json.dumps(document))
    pack(ready, model_folder)
    assert "golden row 2 predicts" in refused(evaluate.main, [])


def test_an_archive_that_reaches_outside_is_refused(ready, model_folder, refused):
    pack(ready, model_folder, [("../evil", b"x")])
    assert "'../evil' lies outside the archive's folder" in refused(evaluate.main, [])


def test_an_input_without_archive_is_refused(ready, refused):
    (ready.root / "processing" / "input" / "model").mkdir()
    assert "must hold exactly one *.tar.gz file, found none" in refused(evaluate.main, [])


def test_the_page_shows_the_numbers_of_the_report(ready, trained):
    pack(ready, trained.root / "model")
    evaluate.main([])
    text = (ready.output("evaluation") / "report.html").read_text()
    report = json.loads((ready.output("evaluation") / "evaluation.json").read_text())
    assert f"{report['regression_metrics']['mse']['value']:,.5g}" in text
    assert f"{report['baseline']['mse']['value']:,.5g}" in text
    assert text.count("<svg") == 4
    assert "annual_income" in text  # the made-up rates depend on it


def test_importance_is_shared_out_among_the_features(trained):
    from training.common.tabular_model import load
    from training.tabular.regression_report import importance

    shares = importance(load(trained.root / "model"))
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=shares.__getitem__) in ("annual_income", "term")
