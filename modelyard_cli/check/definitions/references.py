"""What a definition refers to: parameters, variables, steps, their properties and files.

https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-properties.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from localcloud.sagemaker.pipelines.expressions import (
    EXECUTION_VARIABLES,
    ExpressionError,
    Reference,
    check_function,
    functions,
    parse_reference,
)
from localcloud.sagemaker.pipelines.paths import PathError, parse_path
from localcloud.sagemaker.pipelines.step_types import STEP_TYPES
from localcloud.sagemaker.shapes import service_model
from modelyard_cli.check.definitions.model import Definition, Step
from modelyard_cli.check.registry import Hits, definition_rule

_TUNING = ("DescribeHyperParameterTuningJobResponse", "ListTrainingJobsForHyperParameterTuningJobResponse")
# Named here where the executor has no shape, because the step runs elsewhere.
_RESPONSES = {
    "Tuning": _TUNING,
    "AutoML": ("DescribeAutoMLJobV2Response",),
    "Endpoint": ("DescribeEndpointOutput",),
    "EndpointConfig": ("DescribeEndpointConfigOutput",),
}
_ITEM_NAMES = {"Outputs": "OutputName", "ProcessingInputs": "InputName", "InputDataConfig": "ChannelName"}


def all_references(definition: Definition) -> Iterator[tuple[Step, Reference]]:
    for step in definition.steps:
        for reference in step.references():
            yield step, reference


def _experiment(definition: Definition) -> Iterator[Reference]:
    """References of the pipeline's own settings, outside its steps."""
    for function, argument in functions(definition.document.get("PipelineExperimentConfig")):
        try:
            if function == "Get":
                yield parse_reference(argument)
        except ExpressionError:
            continue


@definition_rule("MYP101", "A parameter that is not declared", "Declare it in Parameters, or mend the name.")
def _undeclared(definition: Definition) -> Hits:
    for reference in _experiment(definition):
        if reference.root == "Parameters" and reference.name not in definition.parameters:
            yield "PipelineExperimentConfig", f"refers to the parameter {reference.name!r}"
    for step, reference in all_references(definition):
        if reference.root == "Parameters" and reference.name not in definition.parameters:
            yield step.at(), f"refers to the parameter {reference.name!r}"


@definition_rule(
    "MYP102",
    "An execution variable that does not exist",
    f"The variables are: {', '.join(sorted(EXECUTION_VARIABLES))}.",
)
def _variables(definition: Definition) -> Hits:
    for reference in _experiment(definition):
        if reference.root == "Execution" and reference.name not in EXECUTION_VARIABLES:
            yield "PipelineExperimentConfig", f"refers to Execution.{reference.name}"
    for step, reference in all_references(definition):
        if reference.root == "Execution" and reference.name not in EXECUTION_VARIABLES:
            yield step.at(), f"refers to Execution.{reference.name}"


@definition_rule("MYP103", "A step that does not exist", "Name a step of this definition.")
def _unknown_steps(definition: Definition) -> Hits:
    for step, reference in all_references(definition):
        if reference.root == "Steps" and reference.name not in definition.by_name:
            yield step.at(), f"refers to the step {reference.name!r}"
    for step in definition.steps:
        for name in step.depends_on:
            if name not in definition.by_name:
                yield step.at("DependsOn"), f"names the step {name!r}"


@definition_rule(
    "MYP104",
    "A property that the step's type does not have",
    "Properties follow the answer of the job's Describe operation.",
)
def _properties(definition: Definition) -> Hits:
    for step, reference in all_references(definition):
        target = definition.by_name.get(reference.name)
        if reference.root != "Steps" or target is None or reference.property_file is not None:
            continue
        problem = _property_problem(target, reference.path)
        if problem:
            yield step.at(), f"refers to Steps.{reference.name}.{reference.path}, but {problem}"


def _property_problem(target: Step, path: str) -> str | None:
    try:
        parts = parse_path(path)
    except PathError as error:
        return str(error)
    if target.type == "Fail":
        return "a Fail step has no properties"
    if target.type == "Condition":
        return None if parts == ("Outcome",) else "a Condition step has the property Outcome only"
    if target.type in ("Lambda", "Callback", "EMR") and parts[0] != "OutputParameters":
        return f"a {target.type} step has OutputParameters only" if target.type != "EMR" else None
    shapes = responses(target.type)
    if shapes and all(follow(shape, parts) is None for shape in shapes):
        return f"{shapes[0]} has no such member"
    return None


def responses(step_type: str) -> tuple[str, ...]:
    """Names of the shapes that a step's properties follow; empty where nothing is known."""
    own = STEP_TYPES[step_type].response if step_type in STEP_TYPES else None
    return _RESPONSES.get(step_type) or ((own,) if isinstance(own, str) else ())


def follow(response: str, parts: tuple[str | int, ...]) -> Any:
    """The shape at a path of an answer, None where there is nothing."""
    shape: Any = service_model().shape_for(response)
    for part in parts:
        if shape.type_name == "structure" and part in shape.members:
            shape = shape.members[part]
        elif shape.type_name == "map" and isinstance(part, str):
            shape = shape.value
        elif shape.type_name == "list":
            shape = shape.member
        else:
            return None
    return shape


@definition_rule(
    "MYP105", "An output, input or channel that the step does not have", "Name one that the step declares."
)
def _items(definition: Definition) -> Hits:
    for step, reference in all_references(definition):
        target = definition.by_name.get(reference.name)
        if reference.root != "Steps" or target is None or reference.property_file is not None:
            continue
        try:
            parts = parse_path(reference.path)
        except PathError:
            continue
        for position, part in enumerate(parts[:-1]):
            following = parts[position + 1]
            names = _declared(target, tuple(parts[: position + 1]))
            if part in (*_ITEM_NAMES, "OutputParameters") and names is not None and following not in names:
                index = isinstance(following, int) and following < len(names)
                if not index:
                    have = ", ".join(names) or "none"
                    yield step.at(), f"refers to {part} {following!r} of {target.name}, which has: {have}"


def _declared(target: Step, path: tuple[str | int, ...]) -> list[str] | None:
    value: Any = target.arguments
    if path == ("OutputParameters",):
        items = target.body.get("OutputParameters")
        key = "OutputName"
    else:
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        items, key = value, _ITEM_NAMES.get(str(path[-1]), "")
    if items is None and path in (("ProcessingOutputConfig", "Outputs"), ("OutputParameters",)):
        return []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return None
    names = [item.get(key) for item in items]
    return [str(name) for name in names] if all(isinstance(name, str) for name in names) else None


@definition_rule(
    "MYP106", "A property file that the step does not declare", "Declare it in the step's PropertyFiles."
)
def _property_files(definition: Definition) -> Hits:
    for step, reference in all_references(definition):
        target = definition.by_name.get(reference.name)
        if reference.root == "Steps" and target is not None and reference.property_file is not None:
            files = [str(f.get("PropertyFileName")) for f in property_files(target)]
            if reference.property_file not in files:
                have = ", ".join(files) or "none"
                yield (
                    step.at(),
                    f"reads the property file {reference.property_file!r} of {target.name}, which "
                    f"has: {have}",
                )


def property_files(step: Step) -> list[dict[str, Any]]:
    """The property files that a step declares."""
    found = step.body.get("PropertyFiles")
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


@definition_rule(
    "MYP107",
    "A property file in an output that the step does not have",
    "Name the output that holds the file, and the file's path within it.",
)
def _file_outputs(definition: Definition) -> Hits:
    for step in definition.steps:
        names = _declared(step, ("ProcessingOutputConfig", "Outputs")) if step.type == "Processing" else None
        seen: set[str] = set()
        for index, item in enumerate(property_files(step)):
            at = step.at(f"PropertyFiles[{index}]")
            output, path = item.get("OutputName"), str(item.get("FilePath", ""))
            if names is not None and output not in names:
                yield at, f"lies in the output {output!r}; the outputs are: {', '.join(names) or 'none'}"
            if path.startswith("/") or ".." in path.split("/") or (path and not path.endswith(".json")):
                yield at, f"FilePath {path!r} is no JSON file relative to the output's LocalPath"
            if str(item.get("PropertyFileName")) in seen:
                yield at, f"{item.get('PropertyFileName')!r} is declared twice"
            seen.add(str(item.get("PropertyFileName")))


@definition_rule(
    "MYP108",
    "An expression that the service cannot read",
    "Forms: Get, Std:Join {On, Values}, Std:JsonGet {PropertyFile, Path}.",
)
def _expressions(definition: Definition) -> Hits:
    for step in definition.steps:
        for function, argument in functions(dict(step.arguments)):
            try:
                check_function(function, argument)
                if function == "Std:JsonGet":
                    parse_path(str(argument["Path"]))
            except (ExpressionError, PathError) as error:
                yield step.at(), str(error)
