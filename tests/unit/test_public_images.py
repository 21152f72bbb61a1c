"""AWS's public images: which run, and the pure parts of what runs inside them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st

from localcloud.containers import registry
from localcloud.containers.image import ImageError, ImageStore
from localcloud.containers.public_images import catalog, metrics, provider
from localcloud.containers.public_images.runtime import __main__ as entry
from localcloud.containers.public_images.runtime import (
    codecs,
    environment,
    pip,
    script,
    server,
    xgboost_data,
    xgboost_training,
)
from localcloud.containers.public_images.runtime.environment import UserError
from localcloud.containers.public_images.runtime.hyperparameters import validate
from localcloud.sagemaker.jobs import layout
from localcloud.sagemaker.jobs.metrics import MetricReader

XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost"


@pytest.mark.parametrize(
    ("uri", "framework", "version"),
    [
        (f"{XGBOOST}:1.7-1", "xgboost", "1.7"),
        (f"{XGBOOST}:1.0-1-cpu-py3", "xgboost", "1.0"),
        (f"{XGBOOST}:3.0-5", "xgboost", "3.0"),
        ("141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.5-1", "xgboost", "1.5"),
        ("811284229777.dkr.ecr.us-east-1.amazonaws.com/xgboost:1", "xgboost", "0.72"),
        (
            "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3",
            "sklearn",
            "1.2",
        ),
        (
            "246618743249.dkr.ecr.us-west-2.amazonaws.com/sagemaker-scikit-learn:0.20.0-cpu-py3",
            "sklearn",
            "0.20.0",
        ),
    ],
)
def test_images_that_run(uri: str, framework: str, version: str) -> None:
    assert re.fullmatch(catalog.PATTERN, uri)
    image = catalog.read(uri)
    assert (image.framework.name, image.version) == (framework, version)
    assert f"is made for {image.framework.module} {version}; it runs here with" in image.notes()[0]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("382416733822.dkr.ecr.us-east-1.amazonaws.com/linear-learner:1", "does not run on the local cloud"),
        (
            "763104351884.dkr.ecr.us-east-1.amazonaws.com/tensorflow-training:2.14-cpu-py310",
            "which runs sagemaker",
        ),
        ("763104351884.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1", "does not run"),
        (f"{XGBOOST}:latest", "names no version"),
    ],
)
def test_other_public_images_are_refused_with_what_to_do(uri: str, message: str) -> None:
    assert re.fullmatch(catalog.PATTERN, uri)
    assert message in (catalog.problem(uri) or "")


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog.importlib.util, "find_spec", lambda name: None)
    uri = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.1.0-cpu-py310"
    assert "pip install -c constraints.txt torch" in (catalog.problem(uri) or "")


def test_an_image_of_the_local_account_is_none_of_awss() -> None:
    assert not re.fullmatch(
        catalog.PATTERN, "000000000000.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
    )


def test_the_registry_serves_them(tmp_path: Path) -> None:
    provider.install()
    image = registry.pull(f"{XGBOOST}:1.7-1", ImageStore(tmp_path), None, account="000000000000", role_arn="")
    assert image.environment["MODELYARD_MODEL_FORMAT"] == "ubj"
    assert image.entrypoint == ("python", "-m", "aws_images")
    old = registry.pull(f"{XGBOOST}:1.2-1", ImageStore(tmp_path), None, account="000000000000", role_arn="")
    assert old.environment["MODELYARD_MODEL_FORMAT"] == "pickle"
    with pytest.raises(ImageError, match="names no version"):
        registry.pull(f"{XGBOOST}:x", ImageStore(tmp_path), None, account="000000000000", role_arn="")


def test_hyperparameters_are_text_that_is_checked() -> None:
    assert validate({"num_round": "5", "learning_rate": "0.3", "eval_metric": "rmse,mae", "silent": "0"}) == {
        "num_round": 5,
        "eta": 0.3,
        "eval_metric": ["rmse", "mae"],
        "silent": 0,
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "Missing required hyperparameter: num_round"),
        ({"num_round": "5", "depth": "3"}, "Extraneous hyperparameter found: depth"),
        ({"num_round": "0"}, "Hyperparameter num_round"),
        ({"num_round": "5", "eta": "1.5"}, r"Hyperparameter eta.*not in \[0, 1\]"),
        ({"num_round": "5", "subsample": "0"}, r"not in \(0, 1\]"),
        ({"num_round": "5", "eta": "nan"}, "Hyperparameter eta"),
        ({"num_round": "5", "objective": "reg:cube"}, "not one of"),
        ({"num_round": "5", "objective": "multi:softmax"}, "num_class"),
        ({"num_round": "5", "eval_metric": "best"}, "best is not a metric"),
        ({"num_round": "5", "eval_metric": "auc"}, "classification and ranking"),
        ({"num_round": "5", "eval_metric": "error@x"}, "expects float"),
    ],
)
def test_wrong_hyperparameters_are_named(given: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        validate(given)


def test_the_log_is_what_awss_definitions_match() -> None:
    reader = MetricReader(metrics.algorithm_metrics(f"{XGBOOST}:1.7-1", {"num_round": "5"}))
    reader.read(["[3]#011train-rmse:1.93000#011validation-rmse:2.11000e+00", "nothing"])
    assert {item["MetricName"]: item["Value"] for item in reader.final()} == {
        "train:rmse": 1.93,
        "validation:rmse": 2.11,
    }
    assert metrics.algorithm_metrics(f"{XGBOOST}:1.7-1", {"sagemaker_program": "train.py"}) == []
    assert metrics.algorithm_metrics("x", {}) == []


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [(None, "libsvm"), ("text/csv;label_size=1", "csv"), ("csv", "csv"), ("text/x-libsvm", "libsvm")],
)
def test_content_types(content_type: str | None, kind: str) -> None:
    assert xgboost_data.kind_of(content_type) == kind


@pytest.mark.parametrize(
    "content_type", ["text/csv; label_size=2", "application/x-recordio-protobuf", "json"]
)
def test_content_types_that_are_refused(content_type: str) -> None:
    with pytest.raises(UserError, match="not an accepted"):
        xgboost_data.kind_of(content_type)


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("csv", "label,a\n1,2\n", "no header"),
        ("csv", "1\n2\n", "label comes first"),
        ("libsvm", "1,2,3\n", "not 'LIBSVM' format"),
    ],
)
def test_data_that_is_not_what_it_says(tmp_path: Path, kind: str, content: str, message: str) -> None:
    (tmp_path / "data").write_text(content)
    with pytest.raises(UserError, match=message):
        xgboost_data.load(tmp_path, kind, weights=False)


@given(st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3), min_size=1, max_size=20))
def test_csv_and_libsvm_hold_the_same_rows(rows: list[list[float]]) -> None:
    table = np.array(rows, np.float32)
    csv = "\n".join(",".join(repr(float(value)) for value in row) for row in table)
    libsvm = "\n".join(" ".join(f"{i}:{float(value)!r}" for i, value in enumerate(row)) for row in table)
    assert np.array_equal(codecs.csv_rows(csv.encode()), table)
    assert np.array_equal(codecs.libsvm_rows(libsvm.encode(), 3), table)


def test_bodies_that_are_refused() -> None:
    with pytest.raises(ValueError, match="line 2 has 1 fields"):
        codecs.csv_rows(b"1,2\n3\n")
    with pytest.raises(ValueError, match="larger than feature size"):
        codecs.libsvm_rows(b"0:1 3:2\n", 3)
    with pytest.raises(codecs.UnsupportedTypeError):
        codecs.decode(b"", "image/png")


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"\n0.5,1\n", "text/csv"), (b"0.5", "text/csv"), (b"1 0:2\n", "text/libsvm"), (b"", "text/csv")],
)
def test_rows_without_a_content_type_are_recognized(body: bytes, kind: str) -> None:
    assert codecs.guess(body) == kind


def test_a_script_sees_what_the_toolkit_shows(tmp_path: Path) -> None:
    record: dict[str, Any] = {
        "ResourceConfig": {"InstanceCount": 2, "InstanceType": "ml.m5.large"},
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "HyperParameters": {
            "sagemaker_program": '"train.py"',
            "sagemaker_submit_directory": '"s3://b/code/sourcedir.tar.gz"',
            "alpha": "0.5",
            "name": '"a b"',
            "p": "plain",
        },
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": {}}}],
    }
    layout.lay_out_training(tmp_path, record, 1)
    found = environment.read(tmp_path)
    shown = environment.variables(found)
    assert found.program == "train.py"
    assert shown["SM_CHANNEL_TRAIN"] == str(tmp_path / "input/data/train")
    assert shown["SM_MODEL_DIR"] == str(tmp_path / "model")
    assert json.loads(shown["SM_HPS"]) == {"alpha": 0.5, "name": "a b", "p": "plain"}
    assert shown["SM_HP_ALPHA"] == "0.5"
    assert json.loads(shown["SM_USER_ARGS"]) == ["--alpha", "0.5", "--name", "a b", "-p", "plain"]
    assert json.loads(shown["SM_HOSTS"]) == ["algo-1", "algo-2"]
    assert (shown["SM_CURRENT_HOST"], shown["SM_NUM_GPUS"]) == ("algo-2", "0")
    assert json.loads(shown["SM_TRAINING_ENV"])["is_master"] is False
    assert script.command(found, "train.py")[1:] == [
        "train.py",
        "--alpha",
        "0.5",
        "--name",
        "a b",
        "-p",
        "plain",
    ]
    assert script.command(found, "train.sh")[:2] == ["/bin/sh", "-c"]


def test_torchrun_is_started_on_every_host(tmp_path: Path) -> None:
    record = {
        "ResourceConfig": {"InstanceCount": 2, "InstanceType": "ml.m5.large"},
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "HyperParameters": {"sagemaker_torch_distributed_enabled": "true", "epochs": "3"},
    }
    layout.lay_out_training(tmp_path, record, 1)
    words = script.command(environment.read(tmp_path), "train.py")
    assert words[1:] == [
        *("-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1", "--master_addr=algo-1"),
        *("--master_port=7777", "--node_rank=1", "train.py", "--epochs", "3"),
    ]


@pytest.mark.parametrize("name", ["sagemaker_mpi_enabled", "sagemaker_distributed_dataparallel_enabled"])
def test_launchers_that_are_refused(tmp_path: Path, name: str) -> None:
    record = {
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large"},
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "HyperParameters": {name: "true"},
    }
    layout.lay_out_training(tmp_path, record, 0)
    with pytest.raises(UserError, match="does not run on the local cloud"):
        script.command(environment.read(tmp_path), "train.py")


def test_pip_looks_and_installs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(
        "numpy>=1\n# a comment\nscikit-learn==0.1 # old\nxgboost\nwheel\nnever ; python_version < '3'\n"
    )
    assert pip.main(["install", "-q", "--index-url", "https://x", "-r", str(file)]) == 0
    said = capsys.readouterr().out
    assert "scikit-learn" in said
    assert "is used in place of scikit-learn==0.1" in said
    assert pip.main(["install", "no-such-package-here"]) == 1
    assert "missing here: no-such-package-here" in capsys.readouterr().out
    assert pip.main(["install", "git+https://host/repo"]) == 1
    assert pip.main(["install", "--target", "/tmp/x", "numpy"]) == 1
    assert pip.main(["uninstall", "--yes", "typing"]) == 0
    assert pip.main(["download", "numpy"]) == 2


@pytest.mark.parametrize("form", ["ubj", "pickle"])
def test_a_server_of_several_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setenv("MODELYARD_FRAMEWORK", "xgboost")
    monkeypatch.setenv("MODELYARD_MODEL_FORMAT", form)
    rows = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)
    booster = xgboost.train({}, xgboost.DMatrix(rows, label=[0.0, 1.0]), 2)
    xgboost_training.save(booster, tmp_path / "a" / "model" / "xgboost-model")
    models = server.Models()
    assert models.load("a", str(tmp_path / "a" / "model")).status == 200
    assert models.load("a", str(tmp_path / "a" / "model")).status == 409
    assert models.load("b", str(tmp_path / "b" / "model")).status == 500
    assert [entry["modelName"] for entry in models.listing()] == ["a"]
    answer = models.answer("a", b"1,0\n", "text/csv", "*/*")
    assert float(answer.body) == pytest.approx(float(booster.inplace_predict(rows)[1]))
    assert models.answer("a", b"1,0", "text/csv", "image/png").status == 406
    assert models.forget("a").status == 200
    assert models.answer("a", b"1,0", "text/csv", "").status == 404


@pytest.mark.parametrize(
    ("hyperparameters", "channels", "reason"),
    [
        (
            {"num_round": "2", "what": "1"},
            {"train": "1,2\n"},
            "UserError: Extraneous hyperparameter found: what",
        ),
        ({"num_round": "2"}, {"validation": "1,2\n"}, "UserError: Missing required channel: train"),
        (
            {"num_round": "2"},
            {"train": "1,2\n", "test": "1,2\n"},
            "UserError: Extraneous channel found: test",
        ),
        ({"num_round": "2"}, {"train": ""}, "UserError: No data in train channel"),
        (
            {"num_round": "2", "objective": "binary:logistic"},
            {"train": "7,2\n3,4\n"},
            "UserError: label must be",
        ),
        ({"sagemaker_program": "x.py"}, {"train": "1,2\n"}, "UserError: there is no x.py"),
    ],
)
def test_what_a_request_got_wrong_is_in_the_failure_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hyperparameters: dict[str, str],
    channels: dict[str, str],
    reason: str,
) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    monkeypatch.setenv("MODELYARD_FRAMEWORK", "xgboost")
    source: dict[str, Any] = {"ContentType": "text/csv", "DataSource": {"S3DataSource": {}}}
    record = {
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large"},
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "HyperParameters": hyperparameters,
        "InputDataConfig": [{"ChannelName": name, **source} for name in channels],
    }
    layout.lay_out_training(tmp_path, record, 0)
    for name, content in channels.items():
        (tmp_path / "input/data" / name).mkdir(parents=True)
        (tmp_path / "input/data" / name / "part.csv").write_text(content)
    assert entry.train() == 1
    failure = (tmp_path / "output/failure").read_text()
    assert failure.startswith(f"framework error: {reason}")
