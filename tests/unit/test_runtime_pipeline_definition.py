"""Rendering a pipeline definition: placeholders, parameter defaults, checks."""

import copy
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline_runtime.definition import render
from pipeline_runtime.errors import PipelineError
from pipeline_runtime.parameters import typed
from pipeline_runtime.placeholders import substitute
from pipeline_runtime.request import Desired

DEFINITION = {
    "Version": "2020-12-01",
    "Parameters": [
        {"Name": "InputData", "Type": "String", "DefaultValue": "s3://${DataBucket}/raw"},
        {"Name": "Count", "Type": "Integer", "DefaultValue": 1},
        {"Name": "Threshold", "Type": "Float", "DefaultValue": 20.0},
        {
            "Name": "Approval",
            "Type": "String",
            "DefaultValue": "Pending",
            "EnumValues": ["Pending", "Approved"],
        },
    ],
    "Steps": [
        {
            "Name": "Train",
            "Type": "Training",
            "Arguments": {
                "RoleArn": "${RoleArn}",
                "Input": {"Get": "Parameters.InputData"},
                "Count": {"Get": "Parameters.Count"},
            },
        },
        {
            "Name": "Gate",
            "Type": "Condition",
            "Arguments": {
                "Conditions": [
                    {
                        "LeftValue": {
                            "Std:JsonGet": {"PropertyFile": {"Get": "Steps.Train.PropertyFiles.Report"}}
                        },
                        "RightValue": {"Get": "Parameters.Threshold"},
                    }
                ],
                "IfSteps": [
                    {
                        "Name": "Register",
                        "Type": "RegisterModel",
                        "Arguments": {
                            "Model": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"},
                            "Approval": {"Get": "Parameters.Approval"},
                        },
                    }
                ],
                "ElseSteps": [
                    {"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": "Steps.Nowhere is text"}}
                ],
            },
        },
    ],
}
VALUES = {"DataBucket": "bucket", "RoleArn": "arn:aws:iam::000000000000:role/x"}


def rendered(definition=DEFINITION, values=VALUES, defaults=(), sha256=None):
    stored = definition if isinstance(definition, bytes) else json.dumps(definition).encode()
    return render(
        stored,
        Desired(
            name="p",
            role_arn="r",
            bucket="assets",
            key="bundle.zip",
            sha256=sha256 or hashlib.sha256(stored).hexdigest(),
            code_bucket="",
            code_prefix="",
            parallelism=2,
            description="",
            values=values,
            defaults=dict(defaults),
            tags={},
        ),
    )


def changed(change):
    definition = copy.deepcopy(DEFINITION)
    change(definition)
    return definition


def test_fills_placeholders_and_defaults():
    result = json.loads(rendered(defaults={"Count": "3", "Threshold": "6", "Approval": "Approved"}))
    defaults = {p["Name"]: p["DefaultValue"] for p in result["Parameters"]}
    assert defaults == {"InputData": "s3://bucket/raw", "Count": 3, "Threshold": 6.0, "Approval": "Approved"}
    assert isinstance(defaults["Count"], int)
    assert isinstance(defaults["Threshold"], float)
    assert result["Steps"][0]["Arguments"]["RoleArn"] == VALUES["RoleArn"]
    assert result["Steps"][1:] == DEFINITION["Steps"][1:]


def test_is_the_same_every_time():
    assert rendered() == rendered()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"DataBucket": "b"},
            r"Steps\[Train\].Arguments.RoleArn: no value for \$\{RoleArn\}; values given: DataBucket",
        ),
        ({**VALUES, "Typo": "x"}, "value given for Typo, which the definition does not ask for"),
        ({**VALUES, "DataBucket": ""}, "DataBucket"),
        ({**VALUES, "DataBucket": "${RoleArn}"}, "holds a placeholder itself"),
    ],
)
def test_refuses_wrong_values(values, message):
    with pytest.raises(PipelineError, match=message):
        rendered(values=values)


@pytest.mark.parametrize(
    ("defaults", "message"),
    [
        ({"Cuont": "1"}, "unknown parameter Cuont; declared: InputData, Count, Threshold, Approval"),
        ({"Count": "1.5"}, "parameter Count is '1.5', which is not of type Integer"),
        ({"Count": ""}, "Count"),
        ({"Threshold": "nan"}, "Threshold is 'nan', which is not of type Float"),
        ({"Threshold": "1e999"}, "Threshold"),
        ({"Threshold": "1..2"}, "Threshold"),
        ({"Approval": "Aproved"}, "Approval is 'Aproved'; allowed: Pending, Approved"),
    ],
)
def test_refuses_wrong_defaults(defaults, message):
    with pytest.raises(PipelineError, match=message):
        rendered(defaults=defaults)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(Version="2019"), "Version is '2019'"),
        (lambda d: d.update(Steps=[]), "no steps"),
        (lambda d: d.update(Steps={"Train": {}}), "Steps is not a list of objects"),
        (lambda d: d["Steps"][0].update(Name="Tr ain"), "'Tr ain'"),
        (lambda d: d["Steps"][0].pop("Type"), "step 'Train' has no Type"),
        (
            lambda d: d["Steps"][1]["Arguments"]["IfSteps"][0].update(Name="Train"),
            "two steps are called 'Train'",
        ),
        (
            lambda d: d["Parameters"].append({"Name": "Extra", "Type": "String"}),
            "no step uses parameter Extra",
        ),
        (lambda d: d["Parameters"].append(d["Parameters"][0]), "two parameters are called 'InputData'"),
        (lambda d: d["Parameters"][0].update(Type="Str"), "parameter 'InputData' has type 'Str'"),
        (lambda d: d["Parameters"].pop(1), "step 'Train' uses parameter 'Count', which is not declared"),
        (lambda d: d["Steps"][0].update(DependsOn=["Prep"]), "step 'Train' refers to step 'Prep'"),
        (lambda d: d["Steps"][0].update(DependsOn=[{"Step": "Prep", "Trigger": "Failed"}]), "'Prep'"),
        (lambda d: d["Steps"][0].update(DependsOn=7), "'Train': DependsOn"),
        (lambda d: d["Steps"][0].update(DependsOn=["Register"]), "wait for each other: .*Train"),
        (lambda d: d["Steps"][0].update(DependsOn=["Train"]), "wait for each other"),
        (lambda d: d["Parameters"][3].update(DefaultValue="Odd"), "Approval is 'Odd'; allowed"),
        (lambda d: d["Steps"][0]["Arguments"].update({"${A}": 1}), "only values may"),
        (lambda d: d["Steps"][0]["Arguments"].update(X="${not-a-name}"), r"Steps\[Train\].Arguments.X"),
        (lambda d: d["Steps"][0]["Arguments"].update(X="y" * 1_048_576), "SageMaker takes 1048576"),
    ],
)
def test_refuses_wrong_definitions(change, message):
    with pytest.raises(PipelineError, match=message):
        rendered(changed(change))


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (b"{", "not a JSON document"),
        (b"[]", "holds no JSON object"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": 1, "a": 2}', "'a' is given twice"),
        (b"\xff", "not a JSON document"),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "nested too deeply"),
        # Python itself would take this one.
        (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", "nested too deeply"),
    ],
)
def test_refuses_what_is_no_definition(stored, message):
    with pytest.raises(PipelineError, match=message):
        rendered(stored)


def test_refuses_another_object_than_the_template_names():
    with pytest.raises(
        PipelineError,
        match=r"definition.json of s3://assets/bundle.zip has SHA-256 .* the template expects 0000",
    ):
        rendered(sha256="0" * 64)


texts = st.text(max_size=30).filter(lambda text: "${" not in text)


@given(value=texts.filter(bool), before=texts, after=texts)
def test_a_value_never_leaves_its_string(value, before, after):
    if "${" in before + value or "${" in value + after or "$" in before[-1:]:
        return
    result = substitute({"a": [f"{before}${{X}}{after}", 1, None, True]}, {"X": value})
    assert json.loads(json.dumps(result)) == {"a": [f"{before}{value}{after}", 1, None, True]}


@given(st.integers(-(10**17), 10**17))
def test_integers_keep_their_type(number):
    assert typed({"Name": "n", "Type": "Integer"}, str(number)) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_keep_their_value(number):
    result = typed({"Name": "n", "Type": "Float"}, repr(number))
    assert isinstance(result, float)
    assert result == number


@pytest.mark.parametrize(("text", "value"), [("true", True), ("False", False)])
def test_booleans_are_json(text, value):
    assert typed({"Name": "n", "Type": "Boolean"}, text) is value
