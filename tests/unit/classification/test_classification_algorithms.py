"""Every algorithm: trial, refit, the archive it writes, and what serving makes of it."""

from __future__ import annotations

import importlib
import json
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.unit.classification.conftest import read_json
from training.classification import evaluate
from training.classification.algorithms import ALGORITHMS, Task
from training.classification.rows import encode, read_encoder, read_labels, read_rows
from training.common.classifier import load_classifier
from training.common.manifest import ModelError, read_manifest


def copy(container, target: Path) -> Path:
    target.mkdir()
    for path in (container.root / "model").iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def task_of(container, seed=5) -> Task:
    encoder, labels = read_encoder(container.output("encoder")), read_labels(container.output("encoder"))
    table = encode(read_rows(container.output("train"), encoder.features), encoder, labels)
    return Task(encoder=encoder, table=table, classes=len(labels.classes), seed=seed)


@pytest.fixture(params=["three classes", "two classes"])
def container(request, trained, trained_binary):
    return trained if request.param == "three classes" else trained_binary


def test_what_is_read_back_predicts_what_was_trained(container, algorithm, tmp_path):
    """The stored form against the predictor in memory, and that against rows it can hardly miss."""
    task = task_of(container)
    manifest = read_manifest(container.root / "model")
    assert manifest.training["algorithm"] == algorithm
    predictor = ALGORITHMS[algorithm](**manifest.training["hyperparameters"]).fit(task)
    predictor.save(tmp_path / ALGORITHMS[algorithm].file)
    model = load_classifier(container.root / "model")
    found = model.predictor.probabilities(task.table.matrix)
    np.testing.assert_allclose(found, predictor.probabilities(task.table.matrix), atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-6)
    assert np.mean(found.argmax(axis=1) == task.table.codes) > 0.7


def test_the_archive_says_what_it_is(container, algorithm):
    manifest = read_manifest(container.root / "model")
    assert manifest.framework == ALGORITHMS[algorithm].framework
    assert len(manifest.golden.instances) == 5
    assert manifest.training["cross_validation"]["scorer"] == "accuracy"
    assert 0.5 < manifest.training["cross_validation"]["score"] <= 1
    for prediction in manifest.golden.predictions:
        assert list(prediction["probabilities"]) == list(manifest.classes)
        assert prediction["label"] == max(prediction["probabilities"], key=prediction["probabilities"].get)
    if manifest.target == "edible":
        assert manifest.classes == ("no", "yes")


def test_no_pickle_is_in_any_archive(container):
    for path in (container.root / "model").iterdir():
        content = path.read_bytes()
        assert not content.startswith(b"\x80"), path
        assert b"sklearn" not in content, path


def test_golden_rows_that_predict_otherwise_are_refused(container, tmp_path):
    folder = copy(container, tmp_path / "model")
    document = read_json(folder / "manifest.json")
    document["golden"]["predictions"][0]["label"] = document["classes"][0]
    document["golden"]["predictions"][1]["label"] = document["classes"][-1]
    document["golden"]["predictions"][0]["probabilities"][document["classes"][0]] = 0.123
    (folder / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match="golden row"):
        load_classifier(folder)


def test_evaluation_measures_and_draws(container, monkeypatch):
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(container.root))
    target = container.root / "processing" / "input" / "test"
    if not target.exists():
        target.symlink_to(container.output("test"))
    evaluate.main(["--metric", "f1"])
    report = read_json(container.output("evaluation") / "evaluation.json")
    binary = len(report["classes"]) == 2
    metrics = report["binary_classification_metrics" if binary else "multiclass_classification_metrics"]
    assert report["gate"]["value"] == metrics["f1"]["value"] > report["gate"]["baseline"]
    assert metrics["accuracy"]["value"] > report["baseline"]["accuracy"]["value"]
    assert report["baseline"]["auc"]["value"] == 0.5
    assert sum(sum(row.values()) for row in metrics["confusion_matrix"].values()) == report["rows"] == 48
    assert 0 < metrics["auc"]["standard_deviation"] < 0.2
    curves = metrics["receiver_operating_characteristic_curve"]
    assert set(curves) == ({"yes"} if binary else {"aster", "broom", "clover"})
    trained = read_json(container.root / "model" / "manifest.json")["training"]
    assert json.loads(report["model_card"]["hyper_parameters"]) == [
        {"name": "algorithm", "value": trained["algorithm"]},
        *({"name": name, "value": str(value)} for name, value in trained["hyperparameters"].items()),
    ]
    page = (container.output("evaluation") / "report.html").read_text()
    for word in ("Confusion matrix", "ROC", "Feature importance", "baseline"):
        assert word in page


def test_arrays_predict_as_scikit_learn_does(trained_binary, algorithm, monkeypatch):
    """What serving computes with numpy against the library's own answer, which training throws away."""
    module, name = {
        "random-forest": ("sklearn.ensemble", "RandomForestClassifier"),
        "logistic-regression": ("sklearn.linear_model", "LogisticRegression"),
        "naive-bayes": ("sklearn.naive_bayes", "GaussianNB"),
        "neural-net": ("sklearn.neural_network", "MLPClassifier"),
    }.get(algorithm, ("", ""))
    if not module:
        assert not (trained_binary.root / "model" / "model.npz").exists()
        return
    kind = getattr(importlib.import_module(module), name)
    fitted = []
    original = kind.fit
    monkeypatch.setattr(kind, "fit", lambda self, *data: fitted.append(self) or original(self, *data))
    task = task_of(trained_binary)
    predictor = ALGORITHMS[algorithm]().fit(task)
    (model,) = fitted
    rows = task.table.matrix
    expected = model.predict_proba(predictor.preparation.apply(rows))
    np.testing.assert_allclose(predictor.probabilities(rows), expected, atol=1e-9)


@pytest.mark.parametrize("multi_model", [False, True])
def test_the_server_answers_with_labels_and_probabilities(
    container, serve, monkeypatch, tmp_path, multi_model
):
    base = tmp_path / "opt"
    (base / "models").mkdir(parents=True)
    copy(container, base / "model")
    copy(container, base / "models" / "m")
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(base))
    client = serve(multi_model=multi_model)
    manifest = read_manifest(base / "model")
    route = "/invocations"
    if multi_model:
        url = "/opt/ml/models/m"
        assert client("POST", "/models", {"model_name": "m", "url": url}).status == 200
        route = "/models/m/invoke"
    instances = [dict(instance) for instance in manifest.golden.instances]
    answer = client("POST", route, {"instances": instances}).json["predictions"]
    assert [item["label"] for item in answer] == [item["label"] for item in manifest.golden.predictions]
    assert math.isclose(sum(answer[0]["probabilities"].values()), 1.0, abs_tol=1e-6)

    line = json.dumps({"flower_id": "X", **instances[0]}).encode()
    answered = client("POST", route, line, content_type="application/jsonlines").json
    assert (answered["flower_id"], answered["prediction"]["label"]) == ("X", answer[0]["label"])

    cells = ["" if value is None else str(value) for value in instances[0].values()]
    text = client("POST", route, ",".join(cells).encode(), content_type="text/csv").body.decode()
    label, *probabilities = text.strip().split(",")
    assert label == answer[0]["label"]
    np.testing.assert_allclose(
        [float(p) for p in probabilities], list(answer[0]["probabilities"].values()), atol=1e-9
    )
    unseen = {**instances[0], "color": "never seen", "width": None}
    assert client("POST", route, {"instances": [unseen]}).status == 200


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.write_bytes(b"PK\x03\x04 broken"), "is not a model made of arrays"),
        (lambda path: path.write_bytes(b""), "is not a model made of arrays"),
        (lambda path: rewritten(path, kind=np.array("oracle")), "'oracle' is not one of"),
        (lambda path: rewritten(path, kind=np.array([{}], dtype=object)), "OBJECT array"),
        (lambda path: rewritten(path, bias=None), "bias is missing"),
        (lambda path: rewritten(path, weights=np.zeros((1, 2))), r"weights is float64 \(1, 2\)"),
        (lambda path: np.savez_compressed(path, **dict(np.load(path))), "its arrays are compressed"),
    ],
)
def test_a_broken_array_model_is_refused(trained_logistic, tmp_path, spoil, reason):
    folder = copy(trained_logistic, tmp_path / "model")
    spoil(folder / "model.npz")
    with pytest.raises(ModelError, match=reason):
        load_classifier(folder)


def rewritten(path, **changes):
    arrays = dict(np.load(path)) | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None}, allow_pickle=True)


@pytest.fixture(scope="session")
def trained_logistic(tmp_path_factory):
    from tests.unit.classification.conftest import BINARY, train

    return train(tmp_path_factory.mktemp("spoilt"), "logistic-regression", BINARY)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"framework": "torch"}, "framework 'torch' is not served here"),
        ({"classes": ["no", "no"]}, "needs two or more classes"),
        ({"classes": ["no", "yes", "maybe"]}, r"needs float64 \(7, 3\)"),
        ({"framework": "xgboost", "framework_version": "1.0"}, "was trained with xgboost 1.0"),
        ({"framework": "lightgbm", "framework_version": "1.0"}, "was trained with lightgbm 1.0"),
        ({"framework": "lightgbm", "framework_version": "4.7.0"}, "is not a LightGBM model"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(trained_logistic, tmp_path, changes, reason):
    folder = copy(trained_logistic, tmp_path / "model")
    document = read_json(folder / "manifest.json") | changes
    (folder / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match=reason):
        load_classifier(folder)


def test_the_file_of_arrays_is_a_plain_zip(trained_logistic):
    folder = trained_logistic.root / "model"
    assert zipfile.is_zipfile(folder / "model.npz")
    assert load_classifier(folder).predictor.kind == "logistic-regression"
