"""Get, Std:Join, Std:JsonGet and the paths they take."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.sagemaker.pipelines.expressions import (
    ExpressionError,
    Reference,
    check_function,
    parse_reference,
    references,
    resolve,
)
from localcloud.sagemaker.pipelines.paths import PathError, lookup, parse_path

DESCRIBED = {
    "ModelArtifacts": {"S3ModelArtifacts": "s3://b/model.tar.gz"},
    "ProcessingOutputConfig": {
        "Outputs": [
            {"OutputName": "train", "S3Output": {"S3Uri": "s3://b/train"}},
            {"OutputName": "test", "S3Output": {"S3Uri": "s3://b/test"}},
        ]
    },
    "FinalMetricDataList": [{"MetricName": "validation:rmse", "Value": 4.5}],
    "TunedHyperParameters": {"max depth.x": "3"},
}


@dataclass
class Values:
    parameters: dict[str, Any] = field(
        default_factory=lambda: {"Rows": 3, "Rate": 6.0, "Strict": True, "In": "s3://b"}
    )
    files: dict[str, Any] = field(
        default_factory=lambda: {"Report": {"m": {"mse": {"value": 5.5}}, "tags": ["a"]}}
    )

    def parameter(self, name: str) -> Any:
        return self.parameters[name]

    def execution_variable(self, name: str) -> Any:
        return f"<{name}>"

    def properties(self, step: str) -> Any:
        return DESCRIBED

    def property_file(self, step: str, name: str) -> Any:
        return self.files[name]

    def document(self, uri: str) -> Any:
        return {"uri": uri}


def get(text: str) -> dict[str, str]:
    return {"Get": text}


def json_get(path: str) -> dict[str, Any]:
    return {"Std:JsonGet": {"PropertyFile": get("Steps.Eval.PropertyFiles.Report"), "Path": path}}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (get("Parameters.Rows"), 3),
        (get("Execution.PipelineExecutionId"), "<PipelineExecutionId>"),
        (get("Steps.Train.ModelArtifacts.S3ModelArtifacts"), "s3://b/model.tar.gz"),
        (get("Steps.Prep.ProcessingOutputConfig.Outputs['test'].S3Output.S3Uri"), "s3://b/test"),
        (get("Steps.Prep.ProcessingOutputConfig.Outputs[0].S3Output.S3Uri"), "s3://b/train"),
        (get("Steps.Train.FinalMetricDataList['validation:rmse'].Value"), 4.5),
        (get("Steps.Tune.TunedHyperParameters['max depth.x']"), "3"),
        ({"Std:Join": {"On": "/", "Values": [get("Parameters.In"), "x", 1, 2.5]}}, "s3://b/x/1/2.5"),
        ({"Std:Join": {"Values": [get("Parameters.Strict"), get("Parameters.Rate")]}}, "true6.0"),
        (json_get("m.mse.value"), 5.5),
        (json_get("$.m['mse'].value"), 5.5),
        (json_get("tags[0]"), "a"),
        (
            {"Std:JsonGet": {"S3Uri": {"Std:Join": {"On": "/", "Values": ["s3://b", "k"]}}, "Path": "uri"}},
            "s3://b/k",
        ),
        (
            {"A": [get("Parameters.Rows"), {"B": "x"}], "Get": "Parameters.Rows"},
            {"A": [3, {"B": "x"}], "Get": "Parameters.Rows"},
        ),
    ],
)
def test_resolve(expression: Any, value: Any) -> None:
    assert resolve(expression, Values()) == value


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (get("Steps.Train.ModelArtifacts.S3Uri"), ["Steps.Train.ModelArtifacts.S3Uri", "S3ModelArtifacts"]),
        (get("Steps.Prep.ProcessingOutputConfig.Outputs['tset'].S3Output"), ["'tset'"]),
        (get("Steps.Prep.ProcessingOutputConfig.Outputs[2]"), ["2 items"]),
        (get("Steps.Eval.PropertyFiles.Report"), ["Std:JsonGet"]),
        (get("Steps.Train"), ["Steps.STEP.PROPERTY"]),
        (get("Pipelines.X"), ["Parameters.NAME"]),
        ({"Std:Join": {"On": ",", "Values": [["a"]]}}, ["Std:Join"]),
        ({"Std:Join": ["a"]}, ["Std:Join takes"]),
        (json_get("m.mse"), ["'Report'", "'Eval'", "'m.mse'"]),
        (json_get("m.rmse.value"), ["'Report'", "'Eval'", "'m.rmse.value'", "it has: mse"]),
        ({"Std:JsonGet": {"Path": "x"}}, ["Std:JsonGet takes"]),
        ({"Std:JsonGet": {"PropertyFile": get("Steps.A.Status"), "Path": "x"}}, ["PropertyFiles.NAME"]),
    ],
)
def test_what_has_no_value_says_so(expression: Any, words: list[str]) -> None:
    with pytest.raises(ExpressionError) as error:
        resolve(expression, Values())
    for word in words:
        assert word in str(error.value)


def test_references_are_found_however_deep() -> None:
    value = {
        "a": [
            {"b": get("Steps.One.X")},
            {"Std:Join": {"On": "", "Values": [get("Steps.Two.Y"), json_get("p")]}},
        ]
    }
    assert {r.name for r in references(value)} == {"One", "Two", "Eval"}
    assert parse_reference("Steps.A.PropertyFiles.R").property_file == "R"
    assert Reference("Steps", "A", "X.PropertyFiles.R").property_file is None


def test_a_json_get_names_one_source() -> None:
    with pytest.raises(ExpressionError):
        check_function(
            "Std:JsonGet", {"S3Uri": "s3://b/k", "PropertyFile": get("Steps.A.PropertyFiles.R"), "Path": "x"}
        )


@pytest.mark.parametrize("path", ["", "$", "a[", "a['b", "a[-1]", "a..b", "a[b]"])
def test_a_malformed_path_is_refused(path: str) -> None:
    with pytest.raises(PathError):
        parse_path(path)


KEYS = st.text(st.characters(exclude_characters="'", exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(st.lists(st.one_of(KEYS, st.integers(0, 3)), min_size=1, max_size=6), st.integers())
def test_every_place_of_a_document_has_a_path(parts: list[str | int], leaf: int) -> None:
    document: Any = leaf
    for part in reversed(parts):
        document = [None] * part + [document] if isinstance(part, int) else {part: document}
    path = "".join(f"[{part}]" if isinstance(part, int) else f"['{part}']" for part in parts)
    assert lookup(document, path) == leaf
