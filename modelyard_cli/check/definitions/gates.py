"""Gates against the code that writes their metrics, where that code can be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from localcloud.sagemaker.pipelines.expressions import ExpressionError, functions, parse_reference
from localcloud.sagemaker.pipelines.paths import PathError, parse_path
from modelyard_cli.check.definitions.model import Definition, Step
from modelyard_cli.check.definitions.references import property_files
from modelyard_cli.check.definitions.shapes import Flag, Items, Object, Text, noun, options_of, reach
from modelyard_cli.check.definitions.step_code import Code, code_of
from modelyard_cli.check.registry import Hits, definition_rule

_ORDERING = ("GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo")


@definition_rule(
    "MYP801",
    "A gate on a metric that no script writes",
    "Read the path that the script writes into the property file, down to the number.",
)
def _metrics(definition: Definition) -> Hits:
    for step in definition.steps:
        ordered = {id(argument) for argument in _compared(step.arguments.get("Conditions"))}
        for function, argument in functions(dict(step.arguments)):
            if function != "Std:JsonGet" or not isinstance(argument, dict) or "PropertyFile" not in argument:
                continue
            try:
                reference = parse_reference(argument["PropertyFile"].get("Get"))
                parts = parse_path(str(argument.get("Path", "")))
            except (ExpressionError, PathError, AttributeError):
                continue
            target = definition.by_name.get(reference.name)
            code = code_of(definition, target) if target else None
            if target is None or code is None:
                continue
            stem = _stem(target, reference.property_file)
            problem = _problem(code, stem, parts, number=id(argument) in ordered)
            if problem:
                yield step.at(), f"reads {argument['Path']}, but the code of {target.name} {problem}"


def _compared(conditions: Any) -> Iterator[Any]:
    """Arguments of Std:JsonGet that a condition compares by size."""
    if isinstance(conditions, list):
        for item in conditions:
            yield from _compared(item)
    elif isinstance(conditions, dict):
        if conditions.get("Type") in _ORDERING:
            sides = (conditions.get("LeftValue"), conditions.get("RightValue"))
            yield from (
                side["Std:JsonGet"] for side in sides if isinstance(side, dict) and "Std:JsonGet" in side
            )
        yield from _compared(conditions.get("Conditions"))
        yield from _compared([conditions.get("Condition")])


def _stem(step: Step, name: str | None) -> str:
    """The name of a property file, its ending left out."""
    named = (f for f in property_files(step) if f.get("PropertyFileName") == name)
    return Path(str(next(named, {}).get("FilePath", ""))).stem


def _problem(code: Code, stem: str, parts: tuple[str | int, ...], *, number: bool) -> str:
    """What is wrong with a path; empty where nothing is known to be."""
    shape = code.written(stem) if stem else None
    if shape is None:
        missing = [p for p in parts if isinstance(p, str) and not code.names(p)]
        return f"never writes {missing[0]!r}" if missing else ""
    found = reach(shape, parts)
    if found.shape is None:
        return found.problem
    missing = [part for part in found.guessed if not code.names(part)]
    if missing:
        return f"never writes {missing[0]!r}"
    ends = options_of(found.shape)
    if all(isinstance(end, Object | Items) for end in ends):
        return f"writes {noun(ends[0])} there, and no number"
    if number and all(isinstance(end, Object | Items | Text | Flag) for end in ends):
        return f"writes {noun(ends[0])} there, which is no number"
    return ""


@definition_rule(
    "MYP802",
    "A property file that no script writes",
    "Name the file that the script writes into the output's folder.",
)
def _files(definition: Definition) -> Hits:
    for step in definition.steps:
        code = code_of(definition, step) if property_files(step) else None
        for index, item in enumerate(property_files(step) if code else ()):
            if code is not None and not code.names(Path(str(item.get("FilePath", ""))).stem):
                yield (
                    step.at(f"PropertyFiles[{index}].FilePath"),
                    f"the step's code never names {item.get('FilePath')}",
                )
