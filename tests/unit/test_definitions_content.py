"""The committed definitions: AWS's request shapes, references that resolve, and what every job must have."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest

from pipeline_defs.catalog import PIPELINES, ImageClassification, TabularRegression, load_definition
from tests.unit.definition_support import (
    VALUES,
    argument_problems,
    arguments_of,
    filled,
    parsed,
    reference_problems,
    references,
    steps_of,
)

REGRESSIONS = [spec for spec in PIPELINES if isinstance(spec.family, TabularRegression)]


@pytest.fixture(params=PIPELINES, ids=lambda spec: spec.name)
def spec(request):
    return request.param


@pytest.fixture
def text(spec):
    return load_definition(spec)


@pytest.fixture
def definition(spec):
    return parsed(spec)


@pytest.fixture(params=REGRESSIONS, ids=lambda spec: spec.name)
def regression(request):
    return parsed(request.param)


def test_arguments_have_awss_shapes(definition):
    assert argument_problems(definition) == []


def test_every_reference_resolves_and_every_parameter_is_used(definition):
    assert reference_problems(definition) == []


def setter(step, *path, **members):
    """Sets members in a step's arguments, below `path`."""

    def spoil(definition):
        target = arguments_of(definition, step)
        for name in path:
            target = target[name]
        target.update(members)

    return spoil


SPOILERS = {
    "misspelt": (setter("TrainModel", Hyperparameter={}), argument_problems),
    "type": (setter("TrainModel", "ResourceConfig", VolumeSizeInGB="30"), argument_problems),
    "enum": (setter("RegisterModel", ModelApprovalStatus="Aproved"), argument_problems),
    "pattern": (setter("CreateModel", ExecutionRoleArn="role"), argument_problems),
    "missing": (lambda d: arguments_of(d, "TrainModel").pop("RoleArn"), argument_problems),
    "step": (setter("BatchTransform", ModelName={"Get": "Steps.Create.ModelName"}), reference_problems),
    "member": (setter("BatchTransform", ModelName={"Get": "Steps.CreateModel.Name"}), reference_problems),
    "undeclared": (lambda d: d["Parameters"].pop(0), reference_problems),
    "unused": (lambda d: d["Parameters"].append({"Name": "Extra", "Type": "String"}), reference_problems),
}


@pytest.mark.parametrize("fault", SPOILERS)
def test_the_checks_above_notice_a_fault(regression, fault):
    spoil, check = SPOILERS[fault]
    spoiled = copy.deepcopy(regression)
    spoil(spoiled)
    assert check(spoiled)


def test_the_parameters_are_those_of_the_field(regression):
    declared = {item["Name"]: (item["Type"], item.get("EnumValues")) for item in regression["Parameters"]}
    assert declared == {
        "InputData": ("String", None),
        "BatchData": ("String", None),
        "ProcessingInstanceCount": ("Integer", None),
        "ProcessingInstanceType": ("String", None),
        "TrainingInstanceType": ("String", None),
        "TrainingInstanceCount": ("Integer", None),
        "ModelApprovalStatus": ("String", ["Approved", "Rejected", "PendingManualApproval"]),
        "OnGateFailure": ("String", ["Fail", "Retrain"]),
        "MseThreshold": ("Float", None),
    }
    defaults = {item["Name"]: item.get("DefaultValue") for item in regression["Parameters"]}
    assert defaults["ModelApprovalStatus"] == "PendingManualApproval"
    assert defaults["OnGateFailure"] == "Fail"


def test_cached_steps_read_nothing_that_could_change_behind_its_address(definition):
    """The cache compares URIs, not contents: a default would be an address that people overwrite."""
    defaults = {item["Name"]: item.get("DefaultValue") for item in definition["Parameters"]}
    for step in steps_of(definition["Steps"]):
        if "CacheConfig" in step:
            used = {name.removeprefix("Parameters.") for name in references(step) if "Parameters." in name}
            assert [name for name in used if str(defaults[name]).startswith("s3://")] == []
    assert defaults["InputData"] is None


def test_nothing_is_asked_of_services_that_the_role_may_not_use(definition):
    """An experiment takes sagemaker:CreateExperiment and CreateTrial, MLflow a tracking server."""
    assert definition.keys() == {"Version", "Metadata", "Parameters", "Steps"}


def test_the_steps_run_in_the_order_of_the_design(regression):
    kinds = [(step["Name"], step["Type"]) for step in steps_of(regression["Steps"])]
    assert kinds == [
        ("ValidateData", "Processing"),
        ("PreprocessData", "Processing"),
        ("TrainModel", "Training"),
        ("EvaluateModel", "Processing"),
        ("CheckMse", "Condition"),
        ("RegisterModel", "RegisterModel"),
        ("CreateModel", "Model"),
        ("BatchTransform", "Transform"),
        ("CheckOnGateFailure", "Condition"),
        ("TrainModelWider", "Training"),
        ("EvaluateModelWider", "Processing"),
        ("CheckMseWider", "Condition"),
        ("RegisterModelWider", "RegisterModel"),
        ("CreateModelWider", "Model"),
        ("BatchTransformWider", "Transform"),
        ("MseTooHighWider", "Fail"),
        ("MseTooHigh", "Fail"),
    ]
    assert regression["Steps"][1]["DependsOn"] == ["ValidateData"]


@pytest.mark.parametrize("suffix", ["", "Wider"])
def test_the_fail_message_states_both_numbers(regression, suffix):
    joined = arguments_of(regression, f"MseTooHigh{suffix}")["ErrorMessage"]["Std:Join"]["Values"]
    gate = arguments_of(regression, f"CheckMse{suffix}")["Conditions"][0]
    assert gate["LeftValue"] in joined
    assert gate["RightValue"] == {"Get": "Parameters.MseThreshold"}
    assert "Parameters.MseThreshold" in references(joined)


def test_a_failed_gate_fails_or_retrains_once(regression):
    """The wider round is below the gate's other branch, on its own evaluation, and has no further round."""
    choice = arguments_of(regression, "CheckOnGateFailure")
    assert choice["Conditions"] == [
        {"Type": "Equals", "LeftValue": {"Get": "Parameters.OnGateFailure"}, "RightValue": "Retrain"}
    ]
    assert [step["Name"] for step in choice["ElseSteps"]] == ["MseTooHigh"]
    assert choice in [step["Arguments"] for step in arguments_of(regression, "CheckMse")["ElseSteps"]]
    (gate,) = arguments_of(regression, "CheckMseWider")["Conditions"]
    assert gate["LeftValue"]["Std:JsonGet"]["PropertyFile"] == {
        "Get": "Steps.EvaluateModelWider.PropertyFiles.EvaluationReportWider"
    }
    assert [step["Name"] for step in arguments_of(regression, "CheckMseWider")["ElseSteps"]] == [
        "MseTooHighWider"
    ]


def test_the_wider_round_is_wider(regression):
    first, wider = (arguments_of(regression, f"TrainModel{suffix}") for suffix in ("", "Wider"))
    numbers = {
        name: (float(value), float(wider["HyperParameters"][name]))
        for name, value in first["HyperParameters"].items()
    }
    assert {name for name, (narrow, wide) in numbers.items() if wide > narrow} == {
        "num_round",
        "early_stopping_rounds",
        "max_depth",
        "min_child_weight",
    }
    assert {name for name, (narrow, wide) in numbers.items() if wide < narrow} == {"eta"}


def test_what_is_throttled_or_finds_no_capacity_is_tried_again(definition):
    for step in steps_of(definition["Steps"]):
        policies = {kind for policy in step.get("RetryPolicies", []) for kind in policy["ExceptionType"]}
        expected = set()
        if step["Type"] not in ("Condition", "Fail"):
            expected |= {"Step.SERVICE_FAULT", "Step.THROTTLING"}
        if step["Type"] in ("Processing", "Training", "Transform", "Tuning"):
            expected |= {"SageMaker.CAPACITY_ERROR", "SageMaker.RESOURCE_LIMIT"}
        assert policies == expected, step["Name"]


def test_every_job_is_encrypted_isolated_and_bounded(spec, definition):
    key = VALUES["${KmsKeyArn}"]
    on_gpu = isinstance(spec.family, ImageClassification)
    for step in steps_of(definition["Steps"]):
        arguments = step["Arguments"]
        match step["Type"]:
            case "Processing":
                assert arguments["NetworkConfig"]["EnableNetworkIsolation"] is True
                assert arguments["ProcessingOutputConfig"]["KmsKeyId"] == key
                assert arguments["ProcessingResources"]["ClusterConfig"]["VolumeKmsKeyId"] == key
                assert arguments["StoppingCondition"]["MaxRuntimeInSeconds"] <= 3600
            case "Training":
                assert arguments["EnableNetworkIsolation"] is True
                assert arguments["EnableInterContainerTrafficEncryption"] is True
                assert arguments["OutputDataConfig"]["KmsKeyId"] == key
                # A key is refused with GPUs, whose local storage is encrypted in hardware.
                assert arguments["ResourceConfig"].get("VolumeKmsKeyId") == (None if on_gpu else key)
                hours = 4 if on_gpu else 1
                assert arguments["StoppingCondition"]["MaxRuntimeInSeconds"] <= hours * 3600
            case "Tuning":
                for job in arguments["TrainingJobDefinitions"]:
                    assert job["EnableNetworkIsolation"] is True
                    assert job["EnableInterContainerTrafficEncryption"] is True
                    assert job["OutputDataConfig"]["KmsKeyId"] == key
                    assert job["ResourceConfig"]["VolumeKmsKeyId"] == key
                    assert job["StoppingCondition"]["MaxRuntimeInSeconds"] <= 3600
            case "Model":
                assert arguments["EnableNetworkIsolation"] is True
            case "Transform":
                assert arguments["TransformOutput"]["KmsKeyId"] == key
                assert arguments["TransformResources"]["VolumeKmsKeyId"] == key


def test_cached_steps_have_arguments_that_can_repeat(definition):
    """An execution id in what a cache key is made of would make every step new every time."""
    cached = {step["Name"]: step for step in steps_of(definition["Steps"]) if "CacheConfig" in step}
    jobs = ("Processing", "Training", "Tuning")
    assert cached.keys() == {item["Name"] for item in steps_of(definition["Steps"]) if item["Type"] in jobs}
    for step in cached.values():
        assert step["CacheConfig"] == {"Enabled": True, "ExpireAfter": "P30D"}
        kept = {
            name: value
            for name, value in step["Arguments"].items()
            if name not in ("ProcessingOutputConfig", "OutputDataConfig")
        }
        assert not [item for item in references(kept) if item.startswith("Execution.")]


def test_nothing_of_the_build_machine_is_left(text):
    for word in ("sentinel", "us-east-1", "111122223333", "SAGEMAKER_REGION", "SAGEMAKER_PROGRAM"):
        assert word not in text


def test_the_placeholders_are_those_that_the_catalogue_promises(spec, text):
    assert set(re.findall(r"\$\{(\w+)\}", text)) == spec.placeholders


def test_each_step_runs_a_module_that_its_archive_holds(spec, definition):
    named = dict(zip(spec.code.values(), spec.code, strict=True))
    for step in steps_of(definition["Steps"]):
        arguments = step["Arguments"]
        if step["Type"] == "Processing":
            given = arguments["AppSpecification"]["ContainerArguments"]
            module, inputs = given[given.index("--module") + 1], arguments["ProcessingInputs"]
            uri = next(item["S3Input"]["S3Uri"] for item in inputs if item["InputName"] == "code")
        elif step["Type"] == "Training":
            module, channels = arguments["Environment"]["STEP_MODULE"], arguments["InputDataConfig"]
            source = next(item["DataSource"] for item in channels if item["ChannelName"] == "code")
            uri = source["S3DataSource"]["S3Uri"]
        else:
            continue
        assert uri == f"s3://assets/{named[module]}.zip"


def test_the_gate_reads_what_evaluation_writes(regression):
    import numpy as np

    from training.tabular.metrics import regression_report

    (step,) = [item for item in regression["Steps"] if item["Name"] == "EvaluateModel"]
    assert step["PropertyFiles"][0]["FilePath"] == "evaluation.json"
    left = arguments_of(regression, "CheckMse")["Conditions"][0]["LeftValue"]["Std:JsonGet"]
    report: Any = regression_report(np.array([1.0, 2.0]), np.array([1.0, 1.0]), 1.5)
    for name in left["Path"].split("."):
        report = report[name]
    assert report == 0.5


def test_the_metrics_are_found_in_xgboosts_log(regression):
    line = "[20]\ttrain-rmse:4.08059\tvalidation-rmse:4.41981"
    metrics = arguments_of(regression, "TrainModel")["AlgorithmSpecification"]["MetricDefinitions"]
    found = {item["Name"]: re.findall(item["Regex"], line) for item in metrics}
    assert found == {"train:rmse": ["4.08059"], "validation:rmse": ["4.41981"]}


@pytest.mark.parametrize("suffix", ["", "Wider"])
def test_the_model_card_is_json_of_the_simplified_schema(regression, suffix):
    card = arguments_of(regression, f"RegisterModel{suffix}")["ModelCard"]
    content = json.loads(filled(card["ModelCardContent"]))
    # A package's card has no model_package_details, and less of an overview.
    assert content.keys() == {
        "intended_uses",
        "training_details",
        "evaluation_details",
        "additional_information",
    }
    (metrics,) = content["evaluation_details"][0]["metric_groups"]
    assert {item["name"]: item["value"] for item in metrics["metric_data"]}["mse"] == 15.25
    job = content["training_details"]["training_job_details"]
    trained = arguments_of(regression, f"TrainModel{suffix}")["HyperParameters"]
    assert {item["name"]: item["value"] for item in job["hyper_parameters"]} == trained
    assert job["training_datasets"] == ["sha256:15.25"]
    assert card["ModelCardStatus"] == "Draft"


@pytest.mark.parametrize("suffix", ["", "Wider"])
def test_a_version_says_where_it_comes_from(regression, suffix):
    metadata = arguments_of(regression, f"RegisterModel{suffix}")["CustomerMetadataProperties"]
    assert metadata["execution"] == {"Get": "Execution.PipelineExecutionArn"}
    assert metadata["input_data_sha256"]["Std:JsonGet"]["Path"] == "sha256"
    archives = {f"s3://assets/{placeholder}.zip" for placeholder in REGRESSIONS[0].code}
    assert {value for name, value in metadata.items() if name.endswith("_code")} == archives
    assert metadata["training_job"] == {"Get": f"Steps.TrainModel{suffix}.TrainingJobArn"}
