"""Gates are held against the report that the step's own code writes: whole paths, down to a number."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard_cli.check.definitions.model import definition_of
from modelyard_cli.check.definitions.shapes import reach
from modelyard_cli.check.definitions.step_code import code_of_archive
from modelyard_cli.check.registry import definition_findings

DEFINITIONS = Path(__file__).parents[3] / "pipeline_defs/definitions"
BASE = Path(__file__).parent / "bases/regression.json"
OWN = sorted(path.stem for path in DEFINITIONS.glob("*.json"))


def reads(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "Std:JsonGet" in value:
            yield value["Std:JsonGet"]
        for item in value.values():
            yield from reads(item)
    elif isinstance(value, list):
        for item in value:
            yield from reads(item)


def found(document: dict[str, Any], file: Path, rule: str) -> list[str]:
    definition = definition_of("own", document, file=str(file))
    return [message for r, _, message in definition_findings(definition) if r.id == rule]


def planted(name: str, path: str) -> list[str]:
    """What is said of an own definition whose gates read this path."""
    file = DEFINITIONS / f"{name}.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    conditions: list[Any] = []
    collect(document["Steps"], conditions)
    gates = [g for g in reads(conditions) if g["Path"] != path]
    assert gates
    for gate in gates:
        gate["Path"] = path
    return found(document, file, "MYP801")


def collect(steps: list[dict[str, Any]], conditions: list[Any]) -> None:
    for step in steps:
        if step["Type"] == "Condition":
            conditions.append(step["Arguments"]["Conditions"])
            collect(step["Arguments"]["IfSteps"], conditions)
            collect(step["Arguments"]["ElseSteps"], conditions)


@pytest.mark.parametrize("name", OWN)
def test_what_the_own_gates_read_is_written(name: str) -> None:
    file = DEFINITIONS / f"{name}.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    assert found(document, file, "MYP801") == []
    assert found(document, file, "MYP802") == []


@pytest.mark.parametrize(
    ("name", "path", "words"),
    [
        ("digits", "accuracy.value", "never writes 'accuracy' there: it writes classification_metrics"),
        ("digits", "gate.value", "never writes 'gate'"),
        ("digits", "classification_metrics.top2.value", "it writes top1, top5"),
        ("digits", "classes", "writes a list there"),
        ("digits", "baseline.predictor", "writes a text there, which is no number"),
        ("breast-cancer", "gate.score", "never writes 'score' there: it writes metric, value, baseline"),
        ("breast-cancer", "gate.threshold", "never writes 'threshold' there"),
        ("breast-cancer", "hyperparameters", "writes a text there, which is no number"),
        ("mortgage-approval", "baseline.log_loss.value", "never writes 'log_loss' there"),
        ("refinance-interest-rate", "regression_metrics.mse", "writes an object there, and no number"),
        ("refinance-interest-rate", "regression_metrics.mse.mean", "never writes 'mean' there"),
        ("refinance-interest-rate", "regression_metrics.value.mse", "never writes 'value' there"),
        ("refinance-interest-rate", "regression_metrics.rows.value", "never writes 'rows' there"),
        ("refinance-interest-rate", "rows.value", "writes a number where the path goes on with 'value'"),
        ("refinance-interest-rate", "mse.value", "never writes 'mse' there"),
    ],
)
def test_gates_on_what_is_not_written_are_found(name: str, path: str, words: str) -> None:
    messages = planted(name, path)
    assert messages
    assert all(words in message for message in messages), messages


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("digits", "rows"),
        ("digits", "recall_by_class.7"),
        ("breast-cancer", "baseline.accuracy.value"),
        ("breast-cancer", "binary_classification_metrics.auc.standard_deviation"),
        ("mortgage-approval", "multiclass_classification_metrics.f1.value"),
        ("refinance-interest-rate", "baseline.constant"),
        ("refinance-interest-rate", "regression_metrics.r2.value"),
    ],
)
def test_gates_on_other_numbers_of_the_report_are_right(name: str, path: str) -> None:
    assert planted(name, path) == []


NAMED = 'Path("/opt/ml/processing/evaluation/evaluation.json")'
# How scripts write {"regression_metrics": {"mse": {"value": ...}}}.
STYLES = {
    "a display": """
report = {"regression_metrics": {"mse": {"value": mean_squared_error(truth, scored)}}}
FILE.write_text(json.dumps(report))
""",
    "by and by": """
report = {}
report["regression_metrics"] = {}
report["regression_metrics"]["mse"] = {"value": float(mse)}
with open(FILE, "w") as stream:
    json.dump(report, stream)
""",
    "a part under a name of its own": """
report = {"regression_metrics": {}}
part = report["regression_metrics"]
part["mse"] = {"value": mse}
FILE.write_text(json.dumps(report))
""",
    "setdefault": """
report = {}
report.setdefault("regression_metrics", {})["mse"] = dict(value=mse)
FILE.write_text(json.dumps(report))
""",
    "update and a loop": """
report = {}
inner = {}
for name, number in (("mse", 1.0), ("mae", 2.0)):
    inner[name] = {"value": number}
report.update({"regression_metrics": inner})
FILE.write_text(json.dumps(report))
""",
    "a helper that writes": """
def save(where, content):
    with open(where, "w") as stream:
        json.dump(content, stream)

save(FILE, {"regression_metrics": {"mse": {"value": mse}}})
print(json.dumps({"status": "done"}))
""",
    "a helper that fills": """
def fill(target):
    target["mse"] = {"value": mse}

report = {"regression_metrics": {}}
fill(report["regression_metrics"])
FILE.write_text(json.dumps(report))
""",
    "a helper that cannot be read": """
from library import fill

report = {"regression_metrics": {}}
fill(report["regression_metrics"], ["mse", "value"])
FILE.write_text(json.dumps(report))
""",
    "a global that a function fills": """
report = {}

def fill():
    report["regression_metrics"] = {"mse": {"value": mse}}

fill()
FILE.write_text(json.dumps(report))
""",
    "a function beside": """
from measures import measured

FILE.write_text(json.dumps({"regression_metrics": measured(truth, scored)}))
""",
    "classes": """
@dataclass
class Metric:
    value: float

@dataclass
class Metrics:
    mse: Metric

FILE.write_text(json.dumps({"regression_metrics": asdict(Metrics(Metric(mse)))}))
""",
    "a text that is filled": """
FILE.write_text('{"regression_metrics": {"mse": {"value": %f}}}' % mse)
""",
    "what a library gives": """
report = library.evaluate(truth, scored, names=["regression_metrics", "mse", "value"])
FILE.write_text(json.dumps(report))
""",
    "a name that is bound again": """
def finished(report):
    report = {"regression_metrics": report}
    return report

FILE.write_text(json.dumps(finished({"mse": {"value": mse}})))
""",
}


def of_script(folder: Path, source: str, path: str) -> list[str]:
    (folder / "evaluate.py").write_text(f'"""Writes accuracy.score."""\nFILE = {NAMED}\n{source}')
    (folder / "measures.py").write_text('def measured(a, b):\n    return {"mse": {"value": mse(a, b)}}\n')
    document = copy.deepcopy(json.loads(BASE.read_text(encoding="utf-8")))
    for step in document["Steps"]:
        if step["Name"] == "Evaluate":
            step["Arguments"]["AppSpecification"]["ContainerEntrypoint"] = ["python3", "/code/evaluate.py"]
    for gate in reads(document):
        gate["Path"] = path
    return found(document, folder / "pipeline.json", "MYP801")


@pytest.mark.parametrize("style", STYLES)
def test_a_report_is_read_however_it_is_written(tmp_path: Path, style: str) -> None:
    assert of_script(tmp_path, STYLES[style], "regression_metrics.mse.value") == []


@pytest.mark.parametrize("style", STYLES)
def test_what_stands_in_a_docstring_only_is_not_written(tmp_path: Path, style: str) -> None:
    assert of_script(tmp_path, STYLES[style], "accuracy.score")


@pytest.mark.parametrize(
    "style",
    [
        "a display", "by and by", "update and a loop", "a helper that writes", "a function beside",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["regression_metrics.value.mse", "regression_metrics.mse", "mse.value"])
def test_the_whole_path_is_followed_where_the_shape_is_known(tmp_path: Path, style: str, path: str) -> None:
    assert of_script(tmp_path, STYLES[style], path)


def test_names_and_comments_are_not_written(tmp_path: Path) -> None:
    source = (
        "accuracy = score = library.evaluate()  # accuracy.score\nFILE.write_text(library.text(accuracy))\n"
    )
    assert of_script(tmp_path, source, "accuracy.score")


def test_code_that_calls_itself_over_and_over_is_given_up(tmp_path: Path) -> None:
    calls = "".join(f"def f{i}(x):\n    return [f{i + 1}(x), f{i + 1}(x)]\n" for i in range(50))
    source = f"{calls}def again(x):\n    return again(x)\nFILE.write_text(json.dumps([f0(1), again(2)]))\n"
    assert of_script(tmp_path, source, "regression_metrics.mse.value")


def test_code_in_an_archive_is_read_as_that_in_a_folder() -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in ("evaluate", "metrics", "__init__"):
            path = DEFINITIONS.parents[1] / f"training/tabular/{name}.py"
            archive.write(path, f"training/tabular/{name}.py")
    shape = code_of_archive(content.getvalue()).written("evaluation")
    assert shape is not None
    assert reach(shape, ("regression_metrics", "mse", "value")).shape is not None
    assert "'mean'" in reach(shape, ("regression_metrics", "mse", "mean")).problem
    assert code_of_archive(b"no archive").words == set()
