"""Every planted fault is caught by the rule that is made for it, and the clean documents are clean."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from modelyard_cli.check.definitions.model import definition_of
from modelyard_cli.check.registry import Advice, definition_findings, template_findings
from modelyard_cli.check.templates.model import Assembly, Template
from tests.unit.check import (
    check_faults_algorithms,
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
