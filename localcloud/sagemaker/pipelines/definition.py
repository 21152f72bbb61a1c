"""Reading a pipeline definition: JSON text in, a checked `Definition` out.

The published schema (https://aws-sagemaker-mlops.github.io/sagemaker-model-building-pipeline-definition-JSON-schema/)
rejects what the SDK emits, so the rules here are those of the documentation and of the service's answers.
"""

import json
from typing import Any

from localcloud.sagemaker.pipelines.arguments import check_arguments
from localcloud.sagemaker.pipelines.graph import CycleError, build_graph
from localcloud.sagemaker.pipelines.model import Definition, Step
from localcloud.sagemaker.pipelines.parameters import PARAMETER_TYPES, Parameter
from localcloud.sagemaker.pipelines.problems import DefinitionError, Problems
from localcloud.sagemaker.pipelines.references import check_references
from localcloud.sagemaker.pipelines.step_parser import parse_steps

SCHEMA_VERSION = "2020-12-01"
MAX_CHARACTERS = 1_048_576
_MAX_PARAMETERS = 200
_MEMBERS = ("Version", "Metadata", "Parameters", "PipelineExperimentConfig", "MlflowConfig", "Steps")
_PARAMETER_MEMBERS = ("Name", "Type", "Description", "DefaultValue", "EnumValues")


def parse_definition(text: str, *, arguments: bool = False) -> Definition:
    """Read and check a definition.

    Args:
        text: the JSON, at most 1,048,576 characters.
        arguments: whether the steps' arguments are checked too, as when a pipeline is created.

    Raises:
        DefinitionError: with every problem found, one line each.

    Example: `parse_definition('{"Version": "2020-12-01", "Steps": [...]}').steps["Train"].type`
    """
    document = _load(text)
    problems = Problems()
    problems.members("The definition", document, _MEMBERS)
    if document.get("Version") != SCHEMA_VERSION:
        problems.add(
            "The definition", f"Version is {document.get('Version')!r}, it must be {SCHEMA_VERSION!r}"
        )
    parameters = _parse_parameters(document, problems)
    steps: dict[str, Step] = {}
    if not isinstance(document.get("Steps"), list) or not document["Steps"]:
        problems.add("The definition", "Steps must be a list with at least one step")
    else:
        steps = parse_steps(document, problems)
    experiment = document.get("PipelineExperimentConfig") or {}
    if not isinstance(experiment, dict):
        problems.add("The definition", "PipelineExperimentConfig must be an object")
        experiment = {}
    problems.raise_if_any()
    definition = Definition(parameters=parameters, steps=steps, experiment=experiment)
    check_references(definition, problems)
    if arguments:
        for step in definition.steps.values():
            check_arguments(step, definition, problems)
    problems.raise_if_any()
    try:
        build_graph(definition)
    except CycleError as error:
        problems.add("The definition", f"steps wait for each other in a cycle: {error}")
    problems.raise_if_any()
    return definition


def _load(text: str) -> dict[str, Any]:
    if len(text) > MAX_CHARACTERS:
        raise DefinitionError([f"It has {len(text)} characters, the limit is {MAX_CHARACTERS}."])
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise DefinitionError(
            [f"It is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."]
        ) from error
    except RecursionError as error:
        raise DefinitionError(["It is nested too deeply."]) from error
    if not isinstance(document, dict):
        raise DefinitionError(["It must be a JSON object."])
    return document


def _parse_parameters(document: dict[str, Any], problems: Problems) -> dict[str, Parameter]:
    parameters: dict[str, Parameter] = {}
    items = problems.objects("The definition", document, "Parameters")
    if len(items) > _MAX_PARAMETERS:
        problems.add("The definition", f"has {len(items)} parameters, the limit is {_MAX_PARAMETERS}")
    for number, item in enumerate(items, 1):
        where = f"Parameter {item.get('Name', number)!r}"
        problems.members(where, item, _PARAMETER_MEMBERS)
        name = problems.text(where, item, "Name", pattern=r"[A-Za-z0-9\-_]{1,256}")
        if name is None:
            continue
        if name in parameters:
            problems.add(where, "is declared more than once")
        kind = item.get("Type")
        if kind not in PARAMETER_TYPES:
            problems.add(where, f"Type is {kind!r}, it must be one of {', '.join(PARAMETER_TYPES)}")
            continue
        parameters[name] = _parameter(name, kind, item, problems)
    return parameters


def _parameter(name: str, kind: str, item: dict[str, Any], problems: Problems) -> Parameter:
    where = f"Parameter {name!r}"
    allowed = item.get("EnumValues") or []
    if allowed and (kind != "String" or not _are_texts(allowed)):
        problems.add(where, "EnumValues is a list of texts, and only parameters of type String have it")
        allowed = []
    default = item.get("DefaultValue")
    parameter = Parameter(name=name, type=kind, default=default, allowed=tuple(allowed))
    if default is not None and not parameter.accepts(default):
        problems.add(where, f"DefaultValue {default!r} is not of type {kind}")
    elif allowed and default is not None and default not in allowed:
        problems.add(where, f"DefaultValue {default!r} is not one of its EnumValues {', '.join(allowed)}")
    return parameter


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
