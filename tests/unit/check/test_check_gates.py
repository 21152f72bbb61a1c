"""Gates of the committed definitions, and those of branches within branches: reversed ones are found."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard_cli.check.definitions.metrics import better
from modelyard_cli.check.definitions.model import definition_of
from modelyard_cli.check.registry import definition_findings
from modelyard_cli.check.templates.model import Assembly, Template

REPO = Path(__file__).parents[3]
OWN = {
    path.stem: json.loads(path.read_text()) for path in (REPO / "pipeline_defs/definitions").glob("*.json")
}
REVERSED = {"LessThanOrEqualTo": "GreaterThanOrEqualTo", "GreaterThanOrEqualTo": "LessThanOrEqualTo"}


def conditions(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for step in steps:
        if step["Type"] == "Condition":
            yield step
            yield from conditions(step["Arguments"]["IfSteps"])
            yield from conditions(step["Arguments"]["ElseSteps"])


def gates(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (s for s in conditions(document["Steps"]) if s["Arguments"]["Conditions"][0]["Type"] in REVERSED)


def found(document: dict[str, Any], rule: str) -> list[str]:
    return [place for r, place, _ in definition_findings(definition_of("own", document)) if r.id == rule]


@pytest.mark.parametrize("name", OWN)
def test_own_gates_are_right_and_each_reversed_one_is_found(name: str) -> None:
    assert found(OWN[name], "MYP305") == []
    names = [gate["Name"] for gate in gates(OWN[name])]
    assert len(names) == 2  # the first round's and the wider one's
    for turned in names:
        document = copy.deepcopy(OWN[name])
        gate = next(g for g in gates(document) if g["Name"] == turned)
        condition = gate["Arguments"]["Conditions"][0]
        condition["Type"] = REVERSED[condition["Type"]]
        assert found(document, "MYP305") == [f"own/{turned}/Arguments.Conditions[0]"]


@pytest.mark.parametrize("name", OWN)
def test_branches_that_changed_places_are_found(name: str) -> None:
    document = copy.deepcopy(OWN[name])
    arguments = next(gates(document))["Arguments"]
    arguments["IfSteps"], arguments["ElseSteps"] = arguments["ElseSteps"], arguments["IfSteps"]
    assert found(document, "MYP305")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("validation:rmse", "small"),
        ("val_loss", "small"),
        ("ValidationLoss", "small"),
        ("binary_logloss", "small"),
        ("test:cross-entropy", "small"),
        ("validation:merror", "small"),
        ("regression_metrics.mse.value", "small"),
        ("validation:accuracy", "large"),
        ("valAccuracy", "large"),
        ("ROC_AUC", "large"),
        ("f1_macro", "large"),
        ("R2", "large"),
        ("r_squared", "large"),
        ("top-1", "large"),
        ("classification_metrics.top5.value", "large"),
        ("cv:score", "large"),
        ("neg_mean_squared_error", "large"),
        ("negative_log_loss", "large"),
        ("brier_score", "small"),
        ("gate.value", ""),
        ("drift", ""),
        ("map.mse", "small"),
        ("accuracy_loss", ""),
    ],
)
def test_what_of_a_metric_is_better_is_read_from_its_name(name: str, expected: str) -> None:
    assert better(name) == expected


@pytest.mark.parametrize(("count", "faults"), [("0", 1), ("2", 0), (0, 1), ("${AWS::Region}", 0)])
def test_a_count_that_a_template_sets_is_judged_as_a_number(count: Any, faults: int) -> None:
    name = "refinance-interest-rate"
    properties = {"ParameterDefaults": {"TrainingInstanceCount": count}}
    resource = {"Type": "Custom::SageMakerPipeline", "Properties": properties}
    template = Template(name="Stack", document={"Resources": {"P": resource}}, assembly=Assembly())
    definition = definition_of(name, OWN[name], pipeline=template.resources["P"])
    found = [place for rule, place, _ in definition_findings(definition) if rule.id == "MYP206"]
    assert len(found) == 2 * faults  # the first round's training and the wider one's
