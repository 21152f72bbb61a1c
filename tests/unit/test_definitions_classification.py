"""The committed definition of the classification family: its parameters, its steps, what its code accepts."""

from __future__ import annotations

import dataclasses
import json

import pytest

from pipeline_defs.catalog import PIPELINES, TabularClassification, load_definition
from tests.unit.definition_support import arguments_of, filled, references, steps_of
from training.classification.algorithms import ALGORITHMS
from training.classification.datasets import DATASETS, schema_for
from training.classification.metrics import METRICS, SCORERS
from training.classification.trial import Setting, read_setting
from training.common.failure import UserError

SPECS = [spec for spec in PIPELINES if isinstance(spec.family, TabularClassification)]


@pytest.fixture(params=SPECS, ids=lambda spec: spec.name)
def spec(request):
    return request.param


@pytest.fixture
def definition(spec):
    return json.loads(load_definition(spec))


@pytest.fixture
def parameters(definition):
    return {item["Name"]: item for item in definition["Parameters"]}


def test_the_parameters_are_those_of_the_issue(spec, parameters):
    declared = {name: (item["Type"], item.get("EnumValues")) for name, item in parameters.items()}
    assert declared == {
        "InputData": ("String", None),
        "BatchData": ("String", None),
        "ProcessingInstanceCount": ("Integer", None),
        "ProcessingInstanceType": ("String", None),
        "TrainingInstanceType": ("String", None),
        "ModelApprovalStatus": ("String", ["Approved", "Rejected", "PendingManualApproval"]),
        "OnGateFailure": ("String", ["Fail", "Retrain"]),
        # One: what another one's model is like, this pipeline's group, card and role know nothing of.
        "Dataset": ("String", [spec.family.dataset]),
        "Target": ("String", None),
        "TestSize": ("Float", None),
        "Stratify": ("String", ["true", "false"]),
        "RandomState": ("Integer", None),
        "Scorer": ("String", list(SCORERS)),
        "CrossValidationFolds": ("Integer", None),
        "TuningStrategy": ("String", ["Bayesian", "Random"]),
        "MaxTuningJobs": ("Integer", None),
        "MaxParallelTuningJobs": ("Integer", None),
        "MetricForRegistration": ("String", list(METRICS)),
        "MetricThreshold": ("Float", None),
    }
    defaults = {name: item.get("DefaultValue") for name, item in parameters.items()}
    known = schema_for(defaults["Dataset"], defaults["Target"])
    assert known.positive in ("malignant", "rejected")
    assert defaults["MetricForRegistration"] == spec.family.metric


def test_each_dataset_has_a_pipeline_with_a_group_a_folder_and_a_card_of_its_own():
    assert sorted(spec.family.dataset for spec in SPECS) == sorted(DATASETS)
    assert [spec.reads[0] for spec in SPECS] == [f"raw/{spec.family.dataset}/" for spec in SPECS]
    for member in ("name", "group", "writes"):
        assert len({getattr(spec, member) for spec in PIPELINES}) == len(PIPELINES)
    purposes = {}
    for spec in SPECS:
        arguments = arguments_of(json.loads(load_definition(spec)), "RegisterModel")
        content = json.loads(filled(arguments["ModelCard"]["ModelCardContent"]))
        purposes[spec.name] = content["intended_uses"]["purpose_of_model"]
    assert "breast masses" in purposes["breast-cancer"]
    assert "mortgage" in purposes["mortgage-approval"]


def test_the_steps_run_in_the_order_of_the_design(definition):
    first = ["TuneModels", "RefitModel", "EvaluateModel", "CheckMetric"]
    release = ["RegisterModel", "CreateModel", "BatchTransform"]
    wider = [f"{name}Wider" for name in [*first, *release, "MetricTooLow"]]
    names = [step["Name"] for step in steps_of(definition["Steps"])]
    assert names == [
        "ValidateData", "PreprocessData", *first, *release, "CheckOnGateFailure", *wider, "MetricTooLow"
    ]  # fmt: skip


def definitions_of(definition, suffix):
    found = arguments_of(definition, f"TuneModels{suffix}")["TrainingJobDefinitions"]
    return {item["DefinitionName"]: item for item in found}


def ranges_of(job):
    return {
        item["Name"]: (float(item["MinValue"]), float(item["MaxValue"]))
        for kind in job["HyperParameterRanges"].values()
        for item in kind
    }


@pytest.mark.parametrize("suffix", ["", "Wider"])
def test_each_algorithm_takes_every_end_of_its_ranges(definition, parameters, suffix):
    jobs = definitions_of(definition, suffix)
    assert jobs.keys() == ALGORITHMS.keys()
    for name, job in jobs.items():
        static = dict(job["StaticHyperParameters"])
        assert static["algorithm"] == name
        assert set(static) == {field.name for field in dataclasses.fields(Setting)}
        ranges = [item for kind in job["HyperParameterRanges"].values() for item in kind]
        assert {item["Name"] for item in ranges} <= {
            field.name for field in dataclasses.fields(ALGORITHMS[name])
        }
        known = {"algorithm": name, "scorer": parameters["Scorer"]["DefaultValue"], "folds": "5"}
        for end in ("MinValue", "MaxValue"):
            values = {item["Name"]: item[end] for item in ranges}
            assert not any("e" in value for value in values.values())
            _, algorithm = read_setting({**known, **values})
            assert {key: float(getattr(algorithm, key)) for key in values} == {
                key: float(value) for key, value in values.items()
            }


def test_no_integer_range_is_given_to_a_whole_number_as_a_fraction(definition):
    """An integer hyperparameter in a continuous range would fail each trial, and only there."""
    for name, job in definitions_of(definition, "").items():
        for item in job["HyperParameterRanges"].get("ContinuousParameterRanges", []):
            with pytest.raises(UserError):
                read_setting({"algorithm": name, item["Name"]: "x"})
            read_setting({"algorithm": name, item["Name"]: "0.5"})


def test_the_wider_round_is_wider(definition):
    narrow, wide = definitions_of(definition, ""), definitions_of(definition, "Wider")
    grown = set()
    for name, job in narrow.items():
        for key, (low, high) in ranges_of(job).items():
            wider_low, wider_high = ranges_of(wide[name])[key]
            assert wider_low <= low < high <= wider_high
            grown |= {name} if wider_high > high else set()
    assert grown == {"xgboost", "lightgbm", "random-forest", "neural-net"}


@pytest.mark.parametrize("suffix", ["", "Wider"])
def test_the_refit_reads_the_best_trials_archive(definition, suffix):
    channels = {
        item["ChannelName"]: item
        for item in arguments_of(definition, f"RefitModel{suffix}")["InputDataConfig"]
    }
    place = channels["trial"]["DataSource"]["S3DataSource"]["S3Uri"]["Std:Join"]["Values"]
    assert references(place)
    name = {"Get": f"Steps.TuneModels{suffix}.TrainingJobSummaries[0].TrainingJobName"}
    before = "/".join(place[: place.index(name)])
    outputs = {job["OutputDataConfig"]["S3OutputPath"] for job in definitions_of(definition, suffix).values()}
    # The same text for all, without the execution's id: else a cached tuning step would name no object.
    assert outputs == {before}


@pytest.mark.parametrize("suffix", ["", "Wider"])
def test_the_gate_asks_for_at_least_the_threshold(definition, suffix):
    (condition,) = arguments_of(definition, f"CheckMetric{suffix}")["Conditions"]
    assert condition["Type"] == "GreaterThanOrEqualTo"
    assert condition["LeftValue"]["Std:JsonGet"]["Path"] == "gate.value"
    assert condition["RightValue"] == {"Get": "Parameters.MetricThreshold"}
    words = arguments_of(definition, f"MetricTooLow{suffix}")["ErrorMessage"]["Std:Join"]["Values"]
    assert {"Get": "Parameters.MetricForRegistration"} in words
    assert condition["LeftValue"] in words


@pytest.mark.parametrize("suffix", ["", "Wider"])
def test_the_model_card_is_json(definition, suffix):
    card = arguments_of(definition, f"RegisterModel{suffix}")["ModelCard"]
    content = json.loads(filled(card["ModelCardContent"]))
    (metrics,) = content["evaluation_details"][0]["metric_groups"]
    assert {item["name"] for item in metrics["metric_data"]} == {
        "metric for registration",
        "baseline",
        "rows",
    }
    # Which algorithm and which hyperparameters, only the tuning job knows.
    place = f"Steps.EvaluateModel{suffix}.PropertyFiles.EvaluationReport{suffix}"
    assert read_at(card["ModelCardContent"], '"hyper_parameters":') == {
        "PropertyFile": {"Get": place},
        "Path": "model_card.hyper_parameters",
    }


def read_at(content, before):
    """What a `Std:Join` reads from a report behind the text `before`."""
    parts = content["Std:Join"]["Values"]
    (index,) = [n for n, part in enumerate(parts) if isinstance(part, str) and part.endswith(before)]
    assert not parts[index + 2].startswith('"')
    return parts[index + 1]["Std:JsonGet"]
