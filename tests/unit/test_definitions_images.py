"""The committed definition of the image family: its parameters, steps, what its code accepts and writes."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from pipeline_defs.catalog import PIPELINES, ImageClassification, load_definition
from tests.unit.definition_support import arguments_of, filled, steps_of
from training.vision.config import CHOICES, PACKAGED, Config

REPO = Path(__file__).parents[2]
SPECS = [spec for spec in PIPELINES if isinstance(spec.family, ImageClassification)]


@pytest.fixture(params=SPECS, ids=lambda spec: spec.name)
def spec(request):
    return request.param


@pytest.fixture
def definition(spec):
    return json.loads(load_definition(spec))


@pytest.fixture
def defaults(definition):
    return {item["Name"]: item.get("DefaultValue") for item in definition["Parameters"]}


def test_the_parameters_are_those_of_the_field(spec, definition, defaults):
    declared = {item["Name"]: (item["Type"], item.get("EnumValues")) for item in definition["Parameters"]}
    assert declared == {
        "InputData": ("String", None),
        "BatchData": ("String", None),
        "ProcessingInstanceCount": ("Integer", None),
        "ProcessingInstanceType": ("String", None),
        "TrainingInstanceType": ("String", None),
        "TrainingInstanceCount": ("Integer", None),
        "ModelApprovalStatus": ("String", ["Approved", "Rejected", "PendingManualApproval"]),
        "OnGateFailure": ("String", ["Fail", "Retrain"]),
        "ImageSize": ("Integer", None),
        "Backbone": ("String", None),
        "PretrainedWeights": ("String", ["none", "packaged"]),
        "Epochs": ("Integer", None),
        "BatchSize": ("Integer", None),
        "LearningRate": ("Float", None),
        "WiderBackbone": ("String", None),
        "WiderPretrainedWeights": ("String", ["none", "packaged"]),
        "WiderEpochs": ("Integer", None),
        "Top1Threshold": ("Float", None),
    }
    assert (defaults["BatchSize"], defaults["LearningRate"]) == (256, 0.002896533293199136)
    assert defaults["BatchData"].endswith(f"/batch/{spec.name}/")
    assert set(declared["PretrainedWeights"][1]) < set(CHOICES["pretrained"])


def test_the_steps_run_in_the_order_of_the_design(definition):
    first = ["TrainModel", "EvaluateModel", "CheckTop1"]
    release = ["RegisterModel", "CreateModel", "BatchTransform"]
    wider = [f"{name}Wider" for name in [*first, *release, "Top1TooLow"]]
    assert [step["Name"] for step in steps_of(definition["Steps"])] == [
        "ValidateData", "PreprocessData", *first, *release, "CheckOnGateFailure", *wider, "Top1TooLow"
    ]  # fmt: skip


def hyperparameters(definition, defaults, suffix):
    """As the trainer gets them in an execution without parameters."""
    given = {}
    for name, value in arguments_of(definition, f"TrainModel{suffix}")["HyperParameters"].items():
        parts = value["Std:Join"]["Values"] if "Std:Join" in value else [value]
        given[name] = "".join(
            str(defaults[part["Get"].removeprefix("Parameters.")]) if isinstance(part, dict) else part
            for part in parts
        )
    return given


@pytest.mark.parametrize("suffix", ["", "Wider"])
def test_the_trainer_takes_what_it_is_given(definition, defaults, suffix):
    given = hyperparameters(definition, defaults, suffix)
    kinds = {field.name: type(field.default) for field in dataclasses.fields(Config)}
    config = Config(**{name: kinds[name](value) for name, value in given.items()})
    assert config.learning_rate == 0.002896533293199136
    assert config.image_size == defaults["ImageSize"]


@pytest.mark.parametrize("suffix", ["", "Wider"])
def test_the_trainer_takes_packaged_weights_and_then_a_wider_round(definition, defaults, suffix):
    """Of the first round only: their network is not the wider round's, which has a parameter of its own."""
    chosen = defaults | {"PretrainedWeights": "packaged", "Backbone": PACKAGED}
    given = hyperparameters(definition, chosen, suffix)
    config = Config(backbone=given["backbone"], pretrained=given["pretrained"])
    assert config.pretrained == ("none" if suffix else "packaged")
    both = chosen | {"WiderPretrainedWeights": "packaged", "WiderBackbone": PACKAGED}
    given = hyperparameters(definition, both, suffix)
    config = Config(backbone=given["backbone"], pretrained=given["pretrained"])
    assert (config.backbone, config.pretrained) == (PACKAGED, "packaged")


def test_the_wider_round_is_wider(definition, defaults):
    first, wider = (hyperparameters(definition, defaults, suffix) for suffix in ("", "Wider"))
    assert {name for name in first if first[name] != wider[name]} == {"backbone", "epochs"}
    assert int(wider["epochs"]) > int(first["epochs"])


def test_images_are_made_in_the_size_that_training_takes(definition):
    words = arguments_of(definition, "PreprocessData")["AppSpecification"]["ContainerArguments"]
    size = {"Std:Join": {"On": "", "Values": [{"Get": "Parameters.ImageSize"}]}}
    assert words[words.index("--image-size") + 1] == size
    assert arguments_of(definition, "TrainModel")["HyperParameters"]["image_size"] == size


def test_the_metrics_are_found_in_the_trainers_log(definition):
    line = "epoch 3 of 10: train-loss:0.41233 validation-loss:0.30000 validation-top1:0.91250 seconds:1.2"
    metrics = arguments_of(definition, "TrainModel")["AlgorithmSpecification"]["MetricDefinitions"]
    found = {item["Name"]: re.findall(item["Regex"], line) for item in metrics}
    assert found == {"train:loss": ["0.41233"], "validation:top1": ["0.91250"]}
    trainer = (REPO / "training" / "vision" / "train.py").read_text()
    assert "train-loss:{" in trainer
    assert "validation-top1:{" in trainer


@pytest.mark.parametrize("suffix", ["", "Wider"])
def test_the_gate_asks_for_at_least_the_threshold(definition, suffix):
    (condition,) = arguments_of(definition, f"CheckTop1{suffix}")["Conditions"]
    assert condition["Type"] == "GreaterThanOrEqualTo"
    assert condition["LeftValue"]["Std:JsonGet"]["Path"] == "classification_metrics.top1.value"
    assert condition["RightValue"] == {"Get": "Parameters.Top1Threshold"}
    words = arguments_of(definition, f"Top1TooLow{suffix}")["ErrorMessage"]["Std:Join"]["Values"]
    assert condition["LeftValue"] in words


@pytest.mark.parametrize("suffix", ["", "Wider"])
def test_the_model_card_is_json_with_what_was_trained_with(definition, suffix):
    card = arguments_of(definition, f"RegisterModel{suffix}")["ModelCard"]
    content = json.loads(filled(card["ModelCardContent"]))
    (metrics,) = content["evaluation_details"][0]["metric_groups"]
    assert {item["name"] for item in metrics["metric_data"]} == {
        "top-1 accuracy", "top-5 accuracy", "baseline top-1 accuracy", "images",
    }  # fmt: skip
    named = {item["name"] for item in content["training_details"]["training_job_details"]["hyper_parameters"]}
    assert named == arguments_of(definition, f"TrainModel{suffix}")["HyperParameters"].keys()


@pytest.mark.parametrize("suffix", ["", "Wider"])
def test_each_object_of_a_batch_is_one_image(definition, suffix):
    arguments = arguments_of(definition, f"BatchTransform{suffix}")
    assert arguments["BatchStrategy"] == "SingleRecord"
    assert arguments["TransformInput"]["ContentType"] == "application/x-image"
    assert "SplitType" not in arguments["TransformInput"]
    assert "AssembleWith" not in arguments["TransformOutput"]
    assert arguments["TransformOutput"]["Accept"] == "application/json"
