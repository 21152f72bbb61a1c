"""The definition as a document: form, names, limits, parameters.

Length of the definition and of the name:
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreatePipeline.html
Quotas: https://docs.aws.amazon.com/general/latest/gr/sagemaker.html
How many steps a definition may have is not checked: no page known to us says so.
"""

from __future__ import annotations

import json
import re
from collections import Counter

from localcloud.sagemaker.pipelines.parameters import PARAMETER_TYPES, Parameter
from localcloud.sagemaker.pipelines.problems import DefinitionError
from localcloud.sagemaker.pipelines.step_parser import NOT_HERE
from localcloud.sagemaker.pipelines.step_types import COMMON_MEMBERS, STEP_TYPES
from modelyard_cli.check.definitions.model import Definition, literal
from modelyard_cli.check.registry import Hits, definition_rule

_VERSION = "2020-12-01"
_MAX_BYTES = 1_048_576
_MAX_PARAMETERS = 200
_NAME = re.compile(r"[A-Za-z0-9\-_]{1,64}")
_PIPELINE_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,255}")


@definition_rule(
    "MYP001", "The service cannot parse the definition", "Write what the message names as AWS documents it."
)
def _parses(definition: Definition) -> Hits:
    from localcloud.sagemaker.pipelines.definition import parse_definition

    try:
        parse_definition(json.dumps(definition.document))
    except DefinitionError as error:
        for line in error.problems:
            # What has a rule of its own is said there; what only the local cloud lacks is no fault.
            if not re.search(_ELSEWHERE, line):
                where = re.match(r"Step '([^']+)'", line)
                yield where[1] if where else "", line


_ELSEWHERE = (
    r"local cloud|cannot run|not supported|a name that another step|declared more than once|is not of type|"
    r"EnumValues|refers to|DependsOn names|which is a Fail step|property file '|in a cycle|"
    r"retry policy|ExpireAfter|unknown type|characters, the limit|parameters, the limit|its condition|"
    r"has no Name|Name is|Version is|unknown property"
)


@definition_rule("MYP002", "Version is not one that the service reads", f'Write "Version": "{_VERSION}".')
def _version(definition: Definition) -> Hits:
    if definition.document.get("Version") != _VERSION:
        yield "Version", f"is {definition.document.get('Version')!r}"


@definition_rule(
    "MYP003",
    "The definition is larger than the service takes",
    "Split the pipeline, or move literals into files in S3.",
)
def _size(definition: Definition) -> Hits:
    # `Custom::SageMakerPipeline` sends it without white space.
    size = len(definition.text or json.dumps(definition.document, separators=(",", ":"), ensure_ascii=False))
    if size > _MAX_BYTES:
        yield "", f"has {size} characters, the limit is {_MAX_BYTES}"
    if len(definition.parameters) > _MAX_PARAMETERS:
        yield "Parameters", f"has {len(definition.parameters)} parameters, the limit is {_MAX_PARAMETERS}"


@definition_rule(
    "MYP004", "Two steps have one name", "Give each step, nested ones included, a name of its own."
)
def _duplicate_steps(definition: Definition) -> Hits:
    for name, count in Counter(step.name for step in definition.steps).items():
        if count > 1:
            yield name, f"{count} steps have this name"


@definition_rule(
    "MYP005",
    "A name that the service refuses",
    "Steps: letters, digits, - and _, at most 64. Pipelines: letters, digits and single hyphens "
    "inside, at most 256.",
)
def _names(definition: Definition) -> Hits:
    for step in definition.steps:
        if not _NAME.fullmatch(step.name):
            yield step.at("Name"), f"{step.body.get('Name')!r} is no name of a step"
    if definition.pipeline is not None:
        name = definition.pipeline.name
        if literal(name) and not _PIPELINE_NAME.fullmatch(name):
            yield "PipelineName", f"{name!r} is no name of a pipeline"


@definition_rule(
    "MYP006",
    "A step of a type or with a member that the service does not know",
    "Use the names of the service; what a step does goes into Arguments.",
)
def _types(definition: Definition) -> Hits:
    known = ("Version", "Metadata", "Parameters", "PipelineExperimentConfig", "MlflowConfig", "Steps")
    for member in set(definition.document) - set(known):
        yield member, "is no member of a definition"
    for step in definition.steps:
        if step.type in NOT_HERE:  # the service has it
            continue
        if step.type not in STEP_TYPES:
            yield step.at("Type"), f"{step.type!r} is no type of a step"
            continue
        for member in set(step.body) - COMMON_MEMBERS - STEP_TYPES[step.type].members:
            yield step.at(member), f"is no member of a step of type {step.type}"


@definition_rule(
    "MYP010",
    "A parameter is declared twice, or has a name or type that does not exist",
    f"Declare each once, as {', '.join(PARAMETER_TYPES)}.",
)
def _parameter_types(definition: Definition) -> Hits:
    given = definition.document.get("Parameters")
    items = [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []
    for name, count in Counter(str(item.get("Name")) for item in items).items():
        if count > 1:
            yield f"Parameters.{name}", f"is declared {count} times"
    for item in items:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", str(item.get("Name"))):
            yield f"Parameters.{item.get('Name')}", "has a name of other than letters, digits, - and _"
        if item.get("Type") not in PARAMETER_TYPES:
            yield f"Parameters.{item.get('Name')}", f"has the type {item.get('Type')!r}"
        for member in set(item) - {"Name", "Type", "Description", "DefaultValue", "EnumValues"}:
            yield f"Parameters.{item.get('Name')}", f"has the unknown member {member!r}"


@definition_rule(
    "MYP011",
    "A parameter's default is not of its type, or not in its enum",
    "Mend the default, or the declaration.",
)
def _defaults(definition: Definition) -> Hits:
    for name, item in definition.parameters.items():
        kind, default, allowed = item.get("Type"), item.get("DefaultValue"), item.get("EnumValues") or []
        if kind not in PARAMETER_TYPES:
            continue
        parameter = Parameter(name=name, type=kind)
        if default is not None and not parameter.accepts(default):
            yield f"Parameters.{name}.DefaultValue", f"{default!r} is not of type {kind}"
        elif allowed and default is not None and default not in allowed:
            yield (
                f"Parameters.{name}.DefaultValue",
                f"{default!r} is not one of {', '.join(map(str, allowed))}",
            )
        if allowed and kind != "String":
            yield f"Parameters.{name}.EnumValues", f"only parameters of type String have it, not {kind}"


@definition_rule(
    "MYP012",
    "A parameter that no step uses",
    "Use it or remove it: who sets it believes that it does something.",
)
def _unused(definition: Definition) -> Hits:
    used = set(re.findall(r'"Parameters\.([^"]+)"', json.dumps(definition.document)))
    for name in definition.parameters:
        if name not in used:
            yield f"Parameters.{name}", "is declared, but nothing refers to it"


@definition_rule(
    "MYP013",
    "A placeholder or a template's expression that nothing replaces",
    'Write {"Get": "Parameters.NAME"}, or name the value in the resource that deploys the pipeline.',
)
def _placeholders(definition: Definition) -> Hits:
    text = json.dumps(definition.document)
    if definition.pipeline is not None and definition.pipeline.type.startswith("Custom::"):
        found = set(re.findall(r"\$\{([A-Za-z][A-Za-z0-9]*)\}", text))
        values = definition.pipeline.properties.get("Values")
        given = set(values) if isinstance(values, dict) else set()
        for name in sorted(found - given):
            yield "", f"nothing gives a value for ${{{name}}}"
        for name in sorted(given - found):
            yield f"Values.{name}", "the definition has no such placeholder"
    for name in sorted(set(re.findall(r"\{\{\s*[\w.]+\s*\}\}|\$\{Token\[[^\]]*\]\}|TODO|CHANGEME", text))):
        yield "", f"{name} stands in the definition"
