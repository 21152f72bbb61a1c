"""TrainModel: what lands in the model archive, and what it refuses."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.common.features import Feature
from training.common.hosts import Hosts
from training.common.hyperparameters import read_hyperparameters
from training.common.manifest import read_manifest
from training.common.tabular_model import load
from training.tabular import train
from training.tabular.collective import share_of
from training.tabular.parts import Share, read_rows
from training.tabular.train import Hyperparameters


def test_the_archive_holds_model_encoder_and_manifest(trained):
    folder = trained.root / "model"
    assert {path.name for path in folder.iterdir()} == {"model.ubj", "encoder.json", "manifest.json"}
    manifest = read_manifest(folder)
    assert (manifest.framework, manifest.id, manifest.target) == ("xgboost", "loan_id", "interest_rate")
    assert len(manifest.golden.instances) == 5
    assert manifest.training["hyperparameters"]["num_round"] == 60
    assert manifest.training["rounds"] <= 60


def test_the_golden_rows_are_raw_and_replay(trained):
    model = load(trained.root / "model")
    golden = model.manifest.golden
    assert isinstance(golden.instances[0]["state"], str)
    predictions = model.predict([model.values(row, 1) for row in golden.instances])
    assert predictions == pytest.approx(golden.predictions, abs=golden.tolerance)
    assert len({round(value, 3) for value in predictions}) > 1


def test_a_plain_matrix_predicts_as_the_typed_one(trained):
    """The request path sends categories as numbers: XGBoost must read them as the same categories."""
    import xgboost

    model = load(trained.root / "model")
    rows = [model.values(row, 1) for row in model.manifest.golden.instances]
    names = [feature.name for feature in model.encoder.features]
    typed = xgboost.DMatrix(
        model.encoder.encode(rows), feature_names=names, feature_types=model.encoder.feature_types,
        enable_categorical=True,
    )  # fmt: skip
    assert model.predict(rows) == pytest.approx(model.booster.predict(typed).tolist())


def test_training_again_gives_the_same_bytes(trained, other_container):
    again = other_container("again")
    for name in ("train", "validation", "encoder"):
        again.channel(name, trained.output(name))
    again.config("hyperparameters.json", {"num_round": "60", "eta": "0.3"})
    train.main([])
    for name in ("model.ubj", "encoder.json", "manifest.json"):
        assert (again.root / "model" / name).read_bytes() == (trained.root / "model" / name).read_bytes()


@given(count=st.integers(1, 7), rows=st.integers(0, 40))
def test_shares_of_the_hosts_are_all_rows_once(tmp_path_factory, count, rows):
    folder = tmp_path_factory.mktemp("parts")
    for part in (0, 1):
        lines = [f"{part}-{row},{row},{row}" for row in range(rows)]
        (folder / f"part-{part}.csv").write_text("\n".join(["id,target,a", *lines]) + "\n")
    features = (Feature("a", "numeric"),)
    whole = [row.id for row in read_rows(folder, features)]
    shares = [[row.id for row in read_rows(folder, features, Share(rank, count))] for rank in range(count)]
    assert sorted(name for share in shares for name in share) == sorted(whole)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("distribution", "expected"), [("FullyReplicated", Share(1, 3)), ("ShardedByS3Key", Share())]
)
def test_a_channel_that_s3_has_sharded_is_not_sharded_again(container, distribution, expected):
    config = container.root / "input" / "config"
    config.mkdir(parents=True)
    channels = {"train": {"S3DistributionType": distribution}}
    (config / "inputdataconfig.json").write_text(json.dumps(channels))
    assert share_of("train", Hosts(("algo-1", "algo-2", "algo-3"), 1)) == expected


def test_a_missing_channel_is_refused(container, refused):
    assert "training channel 'encoder' is missing" in refused(train.main)


def test_an_empty_channel_is_refused(trained, container, refused, tmp_path):
    container.channel("encoder", trained.output("encoder"))
    empty = tmp_path / "empty"
    empty.mkdir()
    container.channel("train", empty)
    assert "holds no .csv part" in refused(train.main)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"num_rounds": "5"}, "unknown hyperparameter 'num_rounds'; known: colsample_bytree, "),
        ({"max_depth": "deep"}, "hyperparameter max_depth needs a value of type int, got 'deep'"),
        ({"max_depth": "2.5"}, "hyperparameter max_depth needs a value of type int, got '2.5'"),
        ({"eta": "0"}, "hyperparameter eta must be above 0 and at most 1, got 0.0"),
        ({"eta": "nan"}, "hyperparameter eta must be above 0"),
        ({"num_round": "0"}, "hyperparameter num_round must be at least 1, got 0"),
        ({"reg_lambda": "-1"}, "hyperparameter reg_lambda must not be negative"),
        (["eta"], "must hold an object"),
    ],
)
def test_bad_hyperparameters_are_one_line(container, refused, given, expected):
    container.config("hyperparameters.json", given)
    assert expected in refused(lambda _arguments: read_hyperparameters(Hyperparameters))


def test_hyperparameters_arrive_as_text(container):
    container.config("hyperparameters.json", {"eta": '"0.5"', "max_depth": "3"})
    parameters = read_hyperparameters(Hyperparameters)
    assert (parameters.eta, parameters.max_depth, parameters.seed) == (0.5, 3, 7)
    assert json.dumps(parameters.booster_parameters(2))


def test_every_committed_hyperparameter_is_known():
    from pipeline_defs.catalog import PIPELINES, TabularRegression, load_definition

    for spec in (spec for spec in PIPELINES if isinstance(spec.family, TabularRegression)):
        steps = {step["Name"]: step for step in json.loads(load_definition(spec))["Steps"]}
        given = steps["TrainModel"]["Arguments"]["HyperParameters"]
        assert given.keys() <= Hyperparameters.__dataclass_fields__.keys()


def test_each_host_samples_its_rows_by_a_seed_of_its_own():
    names = ("algo-1", "algo-2", "algo-3")
    seeds = [train.of_host(Hyperparameters(seed=7), Hosts(names, rank)).seed for rank in range(3)]
    assert seeds[0] == 7
    assert len(set(seeds)) == 3
