"""Condition steps: operands, branches, and gates that let the wrong models through.

https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html#step-type-condition
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from localcloud.sagemaker.pipelines.conditions import CONDITION_MEMBERS, ConditionError, evaluate
from localcloud.sagemaker.pipelines.expressions import (
    ExpressionError,
    Reference,
    is_expression,
    parse_reference,
)
from localcloud.sagemaker.pipelines.paths import PathError, parse_path
from modelyard_cli.check.definitions.model import Definition, Step
from modelyard_cli.check.definitions.references import follow, responses
from modelyard_cli.check.registry import Hits, definition_rule

_GREATER, _LESS = ("GreaterThan", "GreaterThanOrEqualTo"), ("LessThan", "LessThanOrEqualTo")
_PARAMETERS = {"String": "text", "Integer": "number", "Float": "number", "Boolean": "boolean"}
_SHAPES = {
    "string": "text",
    "boolean": "boolean",
    "integer": "number",
    "long": "number",
    "float": "number",
    "double": "number",
}


def conditions(step: Step) -> Iterator[tuple[str, dict[str, Any]]]:
    """(path, condition) of every condition of a step, nested ones included."""

    def visit(items: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for index, item in enumerate(items if isinstance(items, list) else []):
            if not isinstance(item, dict):
                continue
            yield f"{path}[{index}]", item
            yield from visit(item.get("Conditions"), f"{path}[{index}].Conditions")
            if "Condition" in item:
                yield from visit([item["Condition"]], f"{path}[{index}].Condition")

    yield from visit(step.arguments.get("Conditions"), "Arguments.Conditions")


@definition_rule(
    "MYP301",
    "A condition that the service cannot read",
    f"Types: {', '.join(CONDITION_MEMBERS)}; the conditions of a step are ANDed.",
)
def _forms(definition: Definition) -> Hits:
    for step in definition.of("Condition"):
        given = step.arguments.get("Conditions")
        if not isinstance(given, list) or not given:
            yield step.at("Arguments.Conditions"), "is not a list with at least one condition"
        for path, condition in conditions(step):
            kind = condition.get("Type")
            needed = CONDITION_MEMBERS.get(kind) if isinstance(kind, str) else None
            if needed is None:
                yield step.at(path), f"{kind!r} is no type of a condition"
                continue
            for member in sorted({"Type", *needed} - set(condition)):
                yield step.at(path), f"lacks {member}"
            for member in sorted(set(condition) - {"Type", *needed}):
                yield step.at(path), f"{member} is no member of {kind}"


def _kind(value: Any, definition: Definition) -> str:
    """text, number, boolean, or empty where nothing tells."""
    if isinstance(value, str):
        return "" if "${" in value else "text"
    for kinds, name in ((bool, "boolean"), ((int, float), "number")):
        if isinstance(value, kinds):
            return name
    if not is_expression(value) or "Std:JsonGet" in value:
        return ""
    if "Std:Join" in value:
        return "text"
    try:
        return _kind_of_reference(parse_reference(value.get("Get")), definition)
    except (ExpressionError, PathError):
        return ""


def _kind_of_reference(reference: Reference, definition: Definition) -> str:
    if reference.root == "Execution":
        return "text"
    if reference.root == "Parameters":
        return _PARAMETERS.get(str(definition.parameters.get(reference.name, {}).get("Type")), "")
    target = definition.by_name.get(reference.name)
    parts = parse_path(reference.path)
    shapes = [follow(response, parts) for response in responses(target.type)] if target else []
    for shape in shapes:
        if shape is not None:
            return _SHAPES.get(shape.type_name, "")
    outputs = target.body.get("OutputParameters") if target and parts[0] == "OutputParameters" else None
    for item in outputs or []:
        if item.get("OutputName") == parts[-1]:
            return _PARAMETERS.get(str(item.get("OutputType")), "")
    return ""


def _operands(condition: dict[str, Any]) -> list[Any]:
    if condition.get("Type") == "In":
        values = condition.get("Values")
        return [condition.get("QueryValue"), *(values if isinstance(values, list) else [])]
    return [condition.get("LeftValue"), condition.get("RightValue")] if "LeftValue" in condition else []


@definition_rule(
    "MYP302",
    "A condition compares values of different types",
    "Compare numbers with numbers and texts with texts: a String parameter is never equal to a number.",
)
def _types(definition: Definition) -> Hits:
    for step in definition.of("Condition"):
        for path, condition in conditions(step):
            kinds = {_kind(operand, definition) for operand in _operands(condition)} - {""}
            if len(kinds) > 1:
                yield step.at(path), f"compares {' with '.join(sorted(kinds))}"
            if condition.get("Type") in (*_GREATER, *_LESS) and "boolean" in kinds:
                yield step.at(path), "orders booleans"
            if condition.get("Type") in (*_GREATER, *_LESS) and kinds == {"text"} and _measured(condition):
                yield step.at(path), "orders a metric as text"


def _measured(condition: dict[str, Any]) -> bool:
    return any(isinstance(o, dict) and "Std:JsonGet" in o for o in _operands(condition))


@definition_rule(
    "MYP303",
    "A branch that can never run",
    "Compare something that varies from run to run, or remove the branch.",
)
def _constant(definition: Definition) -> Hits:
    for step in definition.of("Condition"):
        for path, condition in conditions(step):
            operands = _operands(condition)
            if len(operands) < 2:
                continue
            if not any(isinstance(o, dict) for o in operands) and all(o is not None for o in operands):
                try:
                    outcome = evaluate(condition, lambda value: value)
                except (ConditionError, KeyError, TypeError):
                    continue
                yield step.at(path), f"is always {str(outcome).lower()}: both sides are literals"
            elif condition.get("Type") != "In" and operands[0] == operands[1]:
                yield step.at(path), "compares a value with itself"
            elif condition.get("Type") in ("Equals", "In"):
                yield from _outside_enum(step, path, condition, definition)
        yield from _contradictions(definition, step)


def _outside_enum(step: Step, path: str, condition: dict[str, Any], definition: Definition) -> Hits:
    operands = _operands(condition)
    for parameter, others in ((operands[0], operands[1:]), (operands[1], operands[:1])):
        if not (isinstance(parameter, dict) and str(parameter.get("Get", "")).startswith("Parameters.")):
            continue
        allowed = definition.parameters.get(parameter["Get"][11:], {}).get("EnumValues")
        for other in others:
            if allowed and isinstance(other, str) and other not in allowed:
                yield (
                    step.at(path),
                    f"{parameter['Get']} can never be {other!r}, only {', '.join(map(str, allowed))}",
                )


def _contradictions(definition: Definition, step: Step) -> Hits:
    """The same condition further out has decided already."""
    branch, seen = step.branch, set()
    while branch is not None and branch not in seen:
        seen.add(branch)
        outer = definition.by_name.get(branch[0])
        if outer is None:
            return
        if outer.arguments.get("Conditions") == step.arguments.get("Conditions"):
            yield (
                step.at("Arguments.Conditions"),
                f"{outer.name} has decided this already: one branch never runs",
            )
        branch = outer.branch


@definition_rule("MYP304", "A Condition step without consequences", "Put steps into IfSteps or ElseSteps.")
def _empty(definition: Definition) -> Hits:
    for step in definition.of("Condition"):
        given = step.body.get("Arguments")
        if isinstance(given, dict) and not given.get("IfSteps") and not given.get("ElseSteps"):
            yield step.at("Arguments"), "both branches are empty"


@definition_rule(
    "MYP306",
    "A model is registered or deployed that no condition has judged",
    "Put RegisterModel behind a Condition step that compares a metric with a threshold.",
)
def _ungated(definition: Definition) -> Hits:
    if not any(True for _ in definition.of("Condition")):
        return
    for step in definition.of("RegisterModel", "Endpoint"):
        if step.branch is None and not any(
            definition.by_name[n].type == "Condition" for n in step.depends_on if n in definition.by_name
        ):
            yield step.at(), "stands outside every branch: it runs whatever the conditions say"
