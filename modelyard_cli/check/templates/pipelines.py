"""Resources that deploy pipelines: their definition, values and defaults."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from modelyard_cli.check.registry import Hits, template_rule
from modelyard_cli.check.templates.model import Resource, Template, known, number, objects, part

_CUSTOM, _NATIVE = "Custom::SageMakerPipeline", "AWS::SageMaker::Pipeline"


def _definition(pipeline: Resource) -> tuple[str, Any]:
    from modelyard_cli.check.load import definition_text

    found = definition_text(pipeline.template, pipeline.properties)
    if found is None:
        return "", None
    try:
        return found[0], json.loads(found[0])
    except json.JSONDecodeError:
        return found[0], None


@template_rule(
    "MYT221",
    "A pipeline whose definition is missing, not JSON, or another one than its hash says",
    "Synthesize again; give the definition as an asset or as JSON.",
)
def _present(template: Template) -> Hits:
    for pipeline in template.of(_CUSTOM, _NATIVE):
        text, document = _definition(pipeline)
        p = pipeline.properties
        if not text:
            key = p.get("BundleKey")
            if isinstance(key, str) and known(key) and template.assembly.folder:
                yield pipeline.at("BundleKey"), f"the assembly has no asset {key} with a definition"
            continue
        if not isinstance(document, dict) or "Steps" not in document:
            yield pipeline.at(), "the definition is no JSON object with Steps"
        wanted = p.get("DefinitionSha256")
        if isinstance(wanted, str) and known(wanted) and hashlib.sha256(text.encode()).hexdigest() != wanted:
            yield pipeline.at("DefinitionSha256"), "the definition has another hash"


@template_rule(
    "MYT222",
    "A default for a parameter that the pipeline does not have, or not of its type or enum",
    "Name a declared parameter and a value of its type.",
)
def _defaults(template: Template) -> Hits:
    from localcloud.sagemaker.pipelines.parameters import PARAMETER_TYPES, Parameter, ParameterError

    for pipeline in template.of(_CUSTOM):
        _, document = _definition(pipeline)
        given = pipeline.properties.get("ParameterDefaults")
        if not isinstance(document, dict) or not isinstance(given, dict):
            continue
        declared = {p.get("Name"): p for p in document.get("Parameters") or [] if isinstance(p, dict)}
        for name, value in given.items():
            at = pipeline.at(f"ParameterDefaults.{name}")
            if name not in declared:
                yield at, f"the pipeline has no parameter {name!r}"
            elif known(value) and declared[name].get("Type") in PARAMETER_TYPES:
                item = declared[name]
                try:
                    Parameter(
                        name=name, type=item["Type"], allowed=tuple(item.get("EnumValues") or ())
                    ).parse(str(value))
                except ParameterError as error:
                    yield at, str(error)


@template_rule(
    "MYT224",
    "A start of a pipeline with parameters that it does not have",
    "Name parameters that the definition declares.",
)
def _starts(template: Template) -> Hits:
    pipelines = [p for p in template.assembly.of(_CUSTOM, _NATIVE) if _definition(p)[1]]
    for resource, path, target in _targets(template):
        found = next((p for p in pipelines if str(target.get("Arn")).endswith(f":pipeline/{p.name}")), None)
        given = objects(part(target, "SageMakerPipelineParameters", "PipelineParameterList"))
        declaring = _definition(found)[1] if found is not None and given else None
        if not isinstance(declaring, dict):
            continue
        declared = {str(p.get("Name")) for p in objects(declaring.get("Parameters"))}
        for name in sorted({str(item.get("Name")) for item in given} - declared):
            if known(name):
                yield resource.at(path), f"the pipeline has no parameter {name!r}, but: {', '.join(declared)}"


def _targets(template: Template) -> Iterator[tuple[Resource, str, dict[str, Any]]]:
    for rule in template.of("AWS::Events::Rule"):
        for index, target in enumerate(objects(rule.properties.get("Targets"))):
            yield rule, f"Targets[{index}]", target
    for schedule in template.of("AWS::Scheduler::Schedule"):
        given = schedule.properties.get("Target")
        if isinstance(given, dict):
            yield schedule, "Target", given


@template_rule(
    "MYT223",
    "Two pipelines with one name, or a parallelism of none",
    "Give each a name of its own, and at least 1 step at a time.",
)
def _names(template: Template) -> Hits:
    for pipeline in template.of(_CUSTOM, _NATIVE):
        twins = [
            p for p in template.assembly.of(_CUSTOM, _NATIVE) if p.name == pipeline.name and p is not pipeline
        ]
        if twins and known(pipeline.name):
            yield pipeline.at("PipelineName"), f"{twins[0].id} has the name {pipeline.name} too"
        limit = part(pipeline.properties, "ParallelismConfiguration", "MaxParallelExecutionSteps")
        limit = pipeline.properties.get("ParallelismMax", limit)
        most = number(limit)
        if most is not None and most < 1:
            yield pipeline.at("ParallelismMax"), f"is {limit}"
