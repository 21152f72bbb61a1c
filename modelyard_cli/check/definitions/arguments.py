"""A step's arguments against the request that it makes, and the types of what they refer to."""

from __future__ import annotations

from modelyard_cli.check.definitions.argument_faults import faults_of
from modelyard_cli.check.definitions.model import Definition
from modelyard_cli.check.registry import Hits, definition_rule


def _of_kind(definition: Definition, kind: str) -> Hits:
    for step, fault in faults_of(definition):
        if fault.kind == kind:
            yield step.at(fault.path), fault.message


@definition_rule(
    "MYP201",
    "An argument that the job's request does not have",
    "Mend the spelling, or remove it; names are those of the API.",
)
def _unknown(definition: Definition) -> Hits:
    return _of_kind(definition, "unknown")


@definition_rule("MYP202", "A required argument is missing", "Add it.")
def _missing(definition: Definition) -> Hits:
    return _of_kind(definition, "missing")


@definition_rule(
    "MYP203",
    "An argument of a wrong type",
    "Write it as the API takes it: numbers bare, hyperparameters as texts.",
)
def _type(definition: Definition) -> Hits:
    return _of_kind(definition, "type")


@definition_rule("MYP204", "An argument outside its enum", "Choose one of the values that the API knows.")
def _enum(definition: Definition) -> Hits:
    return _of_kind(definition, "enum")


@definition_rule(
    "MYP205",
    "An argument that does not match its pattern",
    "Mend it: the service refuses it when the pipeline is created or the step starts.",
)
def _pattern(definition: Definition) -> Hits:
    return _of_kind(definition, "pattern")


@definition_rule(
    "MYP206", "An argument beyond its bounds", "Stay within the length or value that the API allows."
)
def _bounded(definition: Definition) -> Hits:
    return _of_kind(definition, "bounds")


@definition_rule(
    "MYP207",
    "An instance type that this kind of job does not have",
    "Choose one that the API lists for this job.",
)
def _instance(definition: Definition) -> Hits:
    return _of_kind(definition, "instance")


@definition_rule(
    "MYP208",
    "A value of another kind than the argument wants",
    "Refer to a value of the right kind; of a number make a text with Std:Join (to_string() of the SDK).",
)
def _fit(definition: Definition) -> Hits:
    return _of_kind(definition, "fit")
