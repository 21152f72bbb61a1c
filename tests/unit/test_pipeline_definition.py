"""What a definition must look like; every fault is one line that names the step."""

import contextlib
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localcloud.sagemaker.pipelines.definition import MAX_CHARACTERS, parse_definition
from localcloud.sagemaker.pipelines.problems import DefinitionError
from localcloud.sagemaker.pipelines.retries import CAPACITY_ERROR, THROTTLING, RetryPolicy
from localcloud.sagemaker.pipelines.step_parser import NOT_HERE
from localcloud.sagemaker.pipelines.step_types import STEP_TYPES
from localcloud.sagemaker.pipelines.steps import RUNNERS, cannot_run

Document = dict[str, Any]
OUTPUTS = "Steps.Evaluate.ProcessingOutputConfig.Outputs"

GOOD: Document = {
    "Version": "2020-12-01",
    "Metadata": {},
    "MlflowConfig": None,
    "Parameters": [
        {"Name": "Data", "Type": "String", "DefaultValue": "s3://b/raw"},
        {"Name": "Limit", "Type": "Float", "DefaultValue": 6},
        {"Name": "Status", "Type": "String", "DefaultValue": "A", "EnumValues": ["A", "B"]},
    ],
    "PipelineExperimentConfig": {"ExperimentName": {"Get": "Execution.PipelineName"}, "TrialName": "t"},
    "Steps": [
        {
            "Name": "Evaluate",
            "Type": "Processing",
            "DisplayName": "Evaluation",
            "Description": "on held-out rows",
            "Arguments": {
                "ProcessingInputs": [{"InputName": "d", "S3Input": {"S3Uri": {"Get": "Parameters.Data"}}}],
                "ProcessingOutputConfig": {
                    "Outputs": [{"OutputName": "report", "S3Output": {"S3Uri": "s3://b/report"}}]
                },
            },
            "CacheConfig": {"Enabled": True, "ExpireAfter": "30d"},
            "RetryPolicies": [
                {"ExceptionType": ["SageMaker.CAPACITY_ERROR", "Step.THROTTLING"], "MaxAttempts": 3}
            ],
            "PropertyFiles": [{"PropertyFileName": "Report", "OutputName": "report", "FilePath": "r.json"}],
        },
        {
            "Name": "Gate",
            "Type": "Condition",
            "DependsOn": ["Evaluate"],
            "Arguments": {
                "Conditions": [
                    {
                        "Type": "LessThanOrEqualTo",
                        "LeftValue": {
                            "Std:JsonGet": {
                                "PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Report"},
                                "Path": "mse",
                            }
                        },
                        "RightValue": {"Get": "Parameters.Limit"},
                    }
                ],
                "IfSteps": [
                    {
                        "Name": "Create",
                        "Type": "Model",
                        "Arguments": {"ExecutionRoleArn": {"Get": f"{OUTPUTS}['report'].S3Output.S3Uri"}},
                    }
                ],
                "ElseSteps": [
                    {
                        "Name": "Stop",
                        "Type": "Fail",
                        "Arguments": {"ErrorMessage": {"Get": "Parameters.Status"}},
                    }
                ],
            },
        },
    ],
}


def parse(document: Document) -> Any:
    return parse_definition(json.dumps(document))


def test_a_definition_is_read_with_its_nested_steps() -> None:
    definition = parse(GOOD)
    assert list(definition.steps) == ["Evaluate", "Gate", "Create", "Stop"]
    assert list(definition.parameters) == ["Data", "Limit", "Status"]
    evaluate, create = definition.steps["Evaluate"], definition.steps["Create"]
    assert evaluate.cached
    assert evaluate.cache_seconds == 30 * 86400
    assert evaluate.retries == (
        RetryPolicy(exception_types=frozenset({CAPACITY_ERROR, THROTTLING}), max_attempts=3),
    )
    assert (evaluate.display_name, evaluate.description) == ("Evaluation", "on held-out rows")
    assert create.branch is not None
    assert (create.branch.condition, create.branch.outcome) == ("Gate", True)


def steps(document: Document) -> dict[str, Document]:
    evaluate, gate = document["Steps"]
    arguments = gate["Arguments"]
    return {s["Name"]: s for s in (evaluate, gate, *arguments["IfSteps"], *arguments["ElseSteps"])}


def put(name: str, member: str, value: Any) -> Callable[[Document], None]:
    return lambda document: steps(document)[name].__setitem__(member, value)


def put_argument(name: str, member: str, value: Any) -> Callable[[Document], None]:
    return lambda document: steps(document)[name]["Arguments"].__setitem__(member, value)


def condition(value: Any) -> Callable[[Document], None]:
    return put_argument("Gate", "Conditions", [value])


def retry(**policy: Any) -> Callable[[Document], None]:
    return put("Evaluate", "RetryPolicies", [policy])


def parameter(**members: Any) -> Callable[[Document], None]:
    return lambda document: document["Parameters"].append(members)


FAULTS: dict[str, tuple[Callable[[Document], Any], list[str]]] = {
    "version": (lambda d: d.update(Version="2019-01-01"), ["Version", "2020-12-01"]),
    "unknown member": (lambda d: d.update(Foo=1), ["unknown property 'Foo'"]),
    "no steps": (lambda d: d.update(Steps=[]), ["Steps"]),
    "step without name": (lambda d: d["Steps"][0].pop("Name"), ["Step 1", "Name"]),
    "long step name": (put("Evaluate", "Name", "x" * 65), ["Name"]),
    "step name with a space": (put("Evaluate", "Name", "a b"), ["'a b'"]),
    "two steps of one name": (put("Create", "Name", "Evaluate"), ["Step 'Evaluate'", "another step"]),
    "unknown type": (put("Evaluate", "Type", "Train"), ["Step 'Evaluate'", "'Train'", "Training"]),
    "unknown step member": (put("Evaluate", "Depends", []), ["Step 'Evaluate'", "'Depends'"]),
    "cache of a model": (put("Create", "PropertyFiles", []), ["Step 'Create'", "'PropertyFiles'"]),
    "arguments as list": (put("Evaluate", "Arguments", []), ["Step 'Evaluate'", "Arguments"]),
    "undeclared parameter": (
        put_argument("Create", "ModelName", {"Get": "Parameters.Dta"}),
        ["'Create'", "Data"],
    ),
    "unknown variable": (
        put_argument("Create", "M", {"Get": "Execution.Id"}),
        ["'Create'", "PipelineExecutionId"],
    ),
    "unknown step": (put_argument("Create", "M", {"Get": "Steps.Train.X"}), ["'Create'", "no step 'Train'"]),
    "unknown property": (
        put_argument("Create", "M", {"Get": "Steps.Evaluate.ProcessingJobNam"}),
        ["'Create'", "'ProcessingJobNam'"],
    ),
    "unknown output": (
        put_argument("Create", "M", {"Get": f"{OUTPUTS}['x'].S3Output.S3Uri"}),
        ["'Create'", "outputs of 'Evaluate' are: report"],
    ),
    "unknown property file": (
        put_argument("Create", "M", {"Get": "Steps.Evaluate.PropertyFiles.Rep"}),
        ["'Create'", "Report"],
    ),
    "property file of no output": (
        put(
            "Evaluate", "PropertyFiles", [{"PropertyFileName": "R", "OutputName": "x", "FilePath": "r.json"}]
        ),
        ["Step 'Evaluate'", "'x'", "report"],
    ),
    "property file without path": (
        put("Evaluate", "PropertyFiles", [{"PropertyFileName": "R", "OutputName": "report"}]),
        ["Step 'Evaluate'", "FilePath"],
    ),
    "condition's other property": (put_argument("Create", "M", {"Get": "Steps.Gate.Result"}), ["Outcome"]),
    "property of a Fail step": (
        put_argument("Create", "M", {"Get": "Steps.Stop.ErrorMessage"}),
        ["Fail step"],
    ),
    "broken join": (put_argument("Create", "M", {"Std:Join": ["a"]}), ["Step 'Create'", "Std:Join takes"]),
    "broken reference": (put_argument("Create", "M", {"Get": "Data"}), ["Step 'Create'", "'Data'"]),
    "unknown dependency": (put("Create", "DependsOn", ["Nope"]), ["Step 'Create'", "'Nope'"]),
    "dependency on a Fail step": (put("Create", "DependsOn", ["Stop"]), ["Create can not depends on Stop"]),
    "dependency with trigger": (
        put("Create", "DependsOn", [{"Step": "Evaluate", "Trigger": "Failed"}]),
        ["Step 'Create'", "Trigger"],
    ),
    "cycle": (put("Evaluate", "DependsOn", ["Create"]), ["cycle", "Evaluate -> Create -> Evaluate"]),
    "no conditions": (put_argument("Gate", "Conditions", []), ["Step 'Gate'", "at least one condition"]),
    "unknown condition": (condition({"Type": "And", "Conditions": []}), ["Step 'Gate'", "'And'", "ANDed"]),
    "old Not": (
        condition({"Type": "Not", "Expression": {"Type": "Equals", "LeftValue": 1, "RightValue": 1}}),
        ["Step 'Gate'", "unknown property 'Expression'"],
    ),
    "half a comparison": (condition({"Type": "Equals", "LeftValue": 1}), ["Step 'Gate'", "RightValue"]),
    "nested condition": (condition({"Type": "Or", "Conditions": [{"Type": "X"}]}), ["Step 'Gate'", "'X'"]),
    "cache without switch": (put("Evaluate", "CacheConfig", {}), ["Step 'Evaluate'", "Enabled"]),
    "cache age": (
        put("Evaluate", "CacheConfig", {"Enabled": True, "ExpireAfter": "a month"}),
        ["Step 'Evaluate'", "'a month'", "P30D"],
    ),
    "retry of an unknown error": (
        retry(ExceptionType=["Timeout"], MaxAttempts=1),
        ["'Evaluate'", "Step.THROTTLING"],
    ),
    "retry without end": (retry(ExceptionType=["Step.THROTTLING"]), ["either MaxAttempts or ExpireAfterMin"]),
    "too many retries": (retry(ExceptionType=["Step.THROTTLING"], MaxAttempts=21), ["MaxAttempts", "20"]),
    "parameter twice": (parameter(Name="Data", Type="String"), ["Parameter 'Data'", "more than once"]),
    "parameter type": (parameter(Name="P", Type="Str"), ["Parameter 'P'", "Boolean"]),
    "default of another type": (
        parameter(Name="P", Type="Integer", DefaultValue="1"),
        ["Parameter 'P'", "Integer"],
    ),
    "boolean as integer": (parameter(Name="P", Type="Integer", DefaultValue=True), ["Parameter 'P'"]),
    "default outside its enum": (
        parameter(Name="P", Type="String", DefaultValue="c", EnumValues=["a", "b"]),
        ["Parameter 'P'", "a, b"],
    ),
    "enum of numbers": (parameter(Name="P", Type="Integer", EnumValues=[1]), ["Parameter 'P'", "String"]),
    "misspelt parameter member": (parameter(Name="P", Type="String", Default="x"), ["'Default'"]),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_in_one_line(name: str) -> None:
    document = copy.deepcopy(GOOD)
    plant, words = FAULTS[name]
    plant(document)
    with pytest.raises(DefinitionError) as error:
        parse(document)
    assert any(all(word in line for word in words) for line in error.value.problems), error.value.problems
    assert str(error.value).startswith("Unable to parse pipeline definition. ")
    assert all("\n" not in line for line in error.value.problems)


def test_all_faults_are_named_at_once() -> None:
    document = copy.deepcopy(GOOD)
    document["Version"] = "1"
    steps(document)["Evaluate"]["Foo"] = 1
    steps(document)["Create"]["Type"] = "Modell"
    with pytest.raises(DefinitionError) as error:
        parse(document)
    assert len(error.value.problems) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("{'Version': 1}", "not JSON"),
        ("[]", "JSON object"),
        ('{"a":' * 100_000, "nested too deeply"),
        (" " * (MAX_CHARACTERS + 1), "the limit is 1048576"),
    ],
)
def test_what_is_no_definition_at_all(text: str, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        parse_definition(text)


@pytest.mark.parametrize("kind", sorted(STEP_TYPES.keys() - RUNNERS.keys() - {"Condition"}))
def test_a_type_that_cannot_run_here_is_a_valid_step_but_refused_by_name(kind: str) -> None:
    document = copy.deepcopy(GOOD)
    more = {"ClusterId": "j-1"} if kind == "EMR" else {}
    document["Steps"].append({"Name": "Crunch", "Type": kind, "Arguments": {}, **more})
    lines = cannot_run(parse(document), [step["Name"] for step in document["Steps"]])
    assert len(lines) == 1
    assert "'Crunch'" in lines[0]
    assert f"of type {kind}," in lines[0]
    assert "Processing step" in lines[0] or kind in ("AutoML", "InferenceComponent", "Lineage")
    assert "start one without that step" not in lines[0]
    assert all(kind in lines[0] for kind in RUNNERS)
    assert not cannot_run(parse(GOOD), parse(GOOD).steps)


EACH = {
    "Name": "Each",
    "Type": "ForEach",
    "Arguments": {
        "IterableItems": ["a", {"Get": "Parameters.Data"}],
        "MaxConcurrency": 2,
        "Selector": {"Pick": "MaxBy", "Field": {"Get": "IterationOutput.Call.OutputParameters['n']"}},
        "ForEachBody": [
            {
                "Name": "Call",
                "Type": "Lambda",
                "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
                "Arguments": {"item": {"Get": "ForEach.CurrentItem"}},
                "OutputParameters": [{"OutputName": "n", "OutputType": "Float"}],
            }
        ],
    },
}
AFTER = [{"Step": "Evaluate", "Trigger": trigger} for trigger in ("Failed", "Stopped", "Any")]


@pytest.mark.parametrize(
    ("change", "step", "words"),
    [
        *(
            (lambda d, k=kind: d["Steps"].append(EACH | {"Type": k}), "Each", (f"type {kind}", remedy))
            for kind, remedy in NOT_HERE.items()
        ),
        *(
            (lambda d, a=after: steps(d)["Create"].update(DependsOn=[a]), "Create", ("Trigger", "step alone"))
            for after in AFTER
        ),
    ],
)
def test_what_the_sdk_writes_and_cannot_be_read_here_is_refused_by_name_with_what_to_do(
    change: Any, step: str, words: tuple[str, ...]
) -> None:
    document = copy.deepcopy(GOOD)
    change(document)
    with pytest.raises(DefinitionError) as error:
        parse(document)
    (line,) = error.value.problems
    assert line.startswith(f"Step {step!r}: ")
    assert "local cloud" in line
    assert all(word in line for word in words)


def test_checks_may_name_the_model_that_they_ask() -> None:
    """As the SDK writes a ClarifyCheckStep for bias after training and for explainability."""
    document = copy.deepcopy(GOOD)
    check = {"Name": "Bias", "Type": "ClarifyCheck", "CheckType": "MODEL_BIAS", "ModelName": "m"}
    document["Steps"].append({**check, "Arguments": {}})
    assert "'Bias'" in cannot_run(parse(document), ["Bias"])[0]


def test_what_the_sdk_writes_is_taken() -> None:
    """Lambda, Callback, nested Condition and Fail steps as SageMaker SDK 3.27 emits them."""
    text = (Path(__file__).parent / "data" / "sdk_v3_steps.json").read_text(encoding="utf-8")
    definition = parse_definition(text, arguments=True)
    assert {name: step.type for name, step in definition.steps.items()} == {
        "Call": "Lambda",
        "Ask": "Callback",
        "Gate": "Condition",
        "Inner": "Condition",
        "No": "Fail",
    }
    assert definition.steps["Call"].outputs == {"x": "Integer"}
    assert not cannot_run(definition, definition.steps)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


WEIRD = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-2, 2), st.floats(), st.sampled_from(["", "Gate", "Steps.x"])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(
            st.sampled_from(["Get", "Std:Join", "Std:JsonGet", "Type", "Name"]), inner, max_size=2
        ),
    ),
    max_leaves=4,
)


@given(st.data())
@settings(max_examples=300)
def test_whatever_stands_anywhere_is_taken_or_refused_in_words(data: st.DataObject) -> None:
    document = copy.deepcopy(GOOD)
    *path, last = data.draw(st.sampled_from([place for place in places(GOOD) if place]))
    node = document
    for key in path:
        node = node[key]
    node[last] = data.draw(WEIRD)
    with contextlib.suppress(DefinitionError):  # no other exception gets out
        parse(document)
