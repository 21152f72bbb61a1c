"""Every planted fault is caught by the rule that is made for it, and the clean documents are clean."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from modelyard_cli.check.definitions.model import definition_of
from modelyard_cli.check.registry import (
    ACKNOWLEDGEMENT_RULES,
    Advice,
    all_rules,
    definition_findings,
    template_findings,
)
from modelyard_cli.check.templates.model import Assembly, Template
from tests.unit.check import (
    check_faults_algorithms,
    check_faults_delivery,
    check_faults_gates,
    check_faults_grants,
    check_faults_names,
    check_faults_policies,
    check_faults_serving,
    check_faults_settings,
    check_faults_training,
)
from tests.unit.check.check_faults_definitions import FAULTS as DEFINITION_FAULTS
from tests.unit.check.check_faults_definitions import NEIGHBOURS as DEFINITION_NEIGHBOURS
from tests.unit.check.check_mutations import FAULTS as TEMPLATE_FAULTS
from tests.unit.check.check_mutations import NEIGHBOURS as TEMPLATE_NEIGHBOURS

BASES = {path.stem: json.loads(path.read_text()) for path in (Path(__file__).parent / "bases").glob("*.json")}
TEMPLATES = {name: document for name, document in BASES.items() if "Resources" in document}
DEFINITIONS = {name: document for name, document in BASES.items() if "Steps" in document}
# Importing the modules fills the list.
FAULT_MODULES = (
    check_faults_algorithms,
    check_faults_delivery,
    check_faults_gates,
    check_faults_grants,
    check_faults_names,
    check_faults_policies,
    check_faults_serving,
    check_faults_settings,
    check_faults_training,
)


def of_template(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    assembly = Assembly()
    template = Template(name="Stack", document=document, assembly=assembly)
    assembly.templates.append(template)
    return [(rule.id, place, message) for rule, place, message in template_findings(template)]


def of_definition(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    definition = definition_of("pipeline", document)
    return [(rule.id, place, message) for rule, place, message in definition_findings(definition)]


@pytest.mark.parametrize("name", TEMPLATES)
def test_clean_templates_are_clean(name: str) -> None:
    assert of_template(TEMPLATES[name]) == []


@pytest.mark.parametrize("name", DEFINITIONS)
def test_clean_definitions_are_clean(name: str) -> None:
    assert of_definition(DEFINITIONS[name]) == []


@pytest.mark.parametrize(
    ("base", "rule", "mutate"),
    [pytest.param(base, rule, mutate, id=f"{rule} {name}") for base, rule, name, mutate in TEMPLATE_FAULTS],
)
def test_faults_of_templates_are_caught(base: str, rule: str, mutate: Any) -> None:
    document = copy.deepcopy(TEMPLATES[base])
    mutate(document)
    found = of_template(document)
    assert rule in {hit[0] for hit in found}, found


@pytest.mark.parametrize(
    ("base", "rule", "mutate"),
    [pytest.param(base, rule, mutate, id=f"{rule} {name}") for base, rule, name, mutate in DEFINITION_FAULTS],
)
def test_faults_of_definitions_are_caught(base: str, rule: str, mutate: Any) -> None:
    document = copy.deepcopy(DEFINITIONS[base])
    mutate(document)
    found = of_definition(document)
    assert rule in {hit[0] for hit in found}, found


@pytest.mark.parametrize(
    ("base", "mutate"),
    [pytest.param(base, mutate, id=name) for base, name, mutate in TEMPLATE_NEIGHBOURS],
)
def test_correct_templates_beside_the_faults_are_clean(base: str, mutate: Any) -> None:
    document = copy.deepcopy(TEMPLATES[base])
    mutate(document)
    assert [hit for hit in of_template(document) if not isinstance(hit[2], Advice)] == []


@pytest.mark.parametrize(
    ("base", "mutate"),
    [pytest.param(base, mutate, id=name) for base, name, mutate in DEFINITION_NEIGHBOURS],
)
def test_correct_definitions_beside_the_faults_are_clean(base: str, mutate: Any) -> None:
    document = copy.deepcopy(DEFINITIONS[base])
    mutate(document)
    assert [hit for hit in of_definition(document) if not isinstance(hit[2], Advice)] == []


def test_the_corpus_is_large_enough() -> None:
    assert len(TEMPLATE_FAULTS) + len(DEFINITION_FAULTS) >= 200


def assembly(*documents: dict[str, Any]) -> Assembly:
    found = Assembly()
    for number, document in enumerate(documents):
        found.templates.append(Template(name=f"Stack{number}", document=document, assembly=found))
    return found


def stack(exported: str, imported: str) -> dict[str, Any]:
    """A stack that exports one name and imports another."""
    parameter = {"Type": "String", "Value": {"Fn::ImportValue": imported}}
    return {
        "Resources": {"Told": {"Type": "AWS::SSM::Parameter", "Properties": parameter}},
        "Outputs": {"Given": {"Value": "x", "Export": {"Name": exported}}},
    }


BETWEEN_STACKS = {
    "MYT701": (stack("a", "b"), stack("c", "a")),
    "MYT703": (stack("a", "b"), stack("b", "a")),
}


@pytest.mark.parametrize("rule", BETWEEN_STACKS)
def test_faults_between_stacks_are_caught(rule: str) -> None:
    found = assembly(*BETWEEN_STACKS[rule])
    hits = [hit.id for template in found.templates for hit, _, _ in template_findings(template)]
    assert rule in hits
    right = assembly(stack("a", "b"), stack("b", "c"), stack("c", "d"), stack("d", "d"))
    assert "MYT703" not in [hit.id for t in right.templates for hit, _, _ in template_findings(t)]


def test_a_rule_that_cannot_read_a_document_says_so_and_the_others_go_on() -> None:
    document = copy.deepcopy(DEFINITIONS["regression"])
    document["Steps"][0]["Arguments"]["StoppingCondition"] = 7
    document["Parameters"].append({"Name": "Spare", "Type": "String"})
    found = of_definition(document)
    assert {"MYA003", "MYP012"} <= {rule for rule, _, _ in found}
    assert all("stopped at" in message for rule, _, message in found if rule == "MYA003")


@pytest.mark.parametrize(
    ("name", "faults"),
    [("a" * 256, 0), ("a" * 257, 1), ("rates-2", 0), ("rates--2", 0), ("-rates", 1), ("my_rates", 1)],
)
def test_the_name_of_a_deployed_pipeline(name: str, faults: int) -> None:
    resource = {"Type": "AWS::SageMaker::Pipeline", "Properties": {"PipelineName": name}}
    template = assembly({"Resources": {"P": resource}}).templates[0]
    definition = definition_of("p", DEFINITIONS["regression"], pipeline=template.resources["P"])
    places = [place for rule, place, _ in definition_findings(definition) if rule.id == "MYP005"]
    assert places == ["p/PipelineName"] * faults


def test_every_rule_has_a_planted_fault() -> None:
    planted = {rule for _, rule, _, _ in (*TEMPLATE_FAULTS, *DEFINITION_FAULTS)}
    elsewhere = {*BETWEEN_STACKS, *ACKNOWLEDGEMENT_RULES, *BESIDE_CODE}
    assert sorted(set(all_rules()) - planted - elsewhere) == []


# Their faults need the code of a step: test_check_gate_metrics.py.
BESIDE_CODE = ("MYP801", "MYP802")
