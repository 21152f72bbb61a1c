"""Reads committed definitions: their steps, references, and arguments in AWS's shapes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import botocore.session
from botocore.model import Shape
from botocore.validate import ParamValidator

from pipeline_defs.catalog import load_definition

MODEL = botocore.session.get_session().get_service_model("sagemaker")
OPERATIONS = {
    "Processing": ("CreateProcessingJob", {"ProcessingJobName": "x"}),
    "Training": ("CreateTrainingJob", {"TrainingJobName": "x"}),
    "Transform": ("CreateTransformJob", {"TransformJobName": "x"}),
    "Model": ("CreateModel", {"ModelName": "x"}),
    "RegisterModel": ("CreateModelPackage", {}),
    "Tuning": ("CreateHyperParameterTuningJob", {"HyperParameterTuningJobName": "x"}),
}
DESCRIBED = {
    "Processing": ("DescribeProcessingJobResponse",),
    "Training": ("DescribeTrainingJobResponse",),
    "Model": ("DescribeModelOutput",),
    "Tuning": (
        "DescribeHyperParameterTuningJobResponse",
        "ListTrainingJobsForHyperParameterTuningJobResponse",
    ),
}
EXECUTION = {"Execution.PipelineExecutionId", "Execution.PipelineExecutionArn", "Execution.PipelineName"}
VALUES = {
    "${ExecutionRoleArn}": "arn:aws:iam::111122223333:role/pipeline",
    "${ImageUri}": "111122223333.dkr.ecr.us-east-1.amazonaws.com/assets:0123",
    "${DataBucket}": "data-bucket",
    "${KmsKeyArn}": "arn:aws:kms:us-east-1:111122223333:key/0123",
    "${ModelPackageGroupName}": "group",
}
PLACE = {"string": "s3://b/k", "integer": 1, "long": 1, "float": 1.0, "double": 1.0, "boolean": True}


def parsed(spec):
    """The definition with a value for each placeholder."""
    text = load_definition(spec)
    values = VALUES | {f"${{{name}}}": f"s3://assets/{name}.zip" for name in spec.code}
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return json.loads(text)


def steps_of(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in items:
        yield item
        if item["Type"] == "Condition":
            yield from steps_of(item["Arguments"]["IfSteps"])
            yield from steps_of(item["Arguments"]["ElseSteps"])


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if set(value) == {"Get"}:
            yield value["Get"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def is_dynamic(value: Any) -> bool:
    return isinstance(value, dict) and set(value) in ({"Get"}, {"Std:Join"}, {"Std:JsonGet"})


def concrete(value: Any, shape: Shape, path: str, problems: list[str]) -> Any:
    """`value` with dynamic parts replaced by something of their shape; checks enums, patterns and bounds."""
    kind = shape.type_name
    if is_dynamic(value):
        if kind not in PLACE:
            problems.append(f"{path}: a dynamic value where a {kind} is needed")
        return PLACE.get(kind, value)
    if kind == "structure" and isinstance(value, dict):
        return {
            key: concrete(item, shape.members[key], f"{path}.{key}", problems)
            if key in shape.members
            else item
            for key, item in value.items()
        }
    if kind == "list" and isinstance(value, list):
        return [concrete(item, shape.member, f"{path}[{n}]", problems) for n, item in enumerate(value)]
    if kind == "map" and isinstance(value, dict):
        return {key: concrete(item, shape.value, f"{path}.{key}", problems) for key, item in value.items()}
    limit = shape.metadata.get("max")
    if kind == "string" and isinstance(value, str):
        if shape.enum and value not in shape.enum:
            problems.append(f"{path}: {value!r} is not in the enum")
        pattern = shape.metadata.get("pattern")
        # Java's classes of letters, spaces and digits, and an end that is no pattern of any kind.
        pattern = re.sub(r"\$\{1,\d+\}$", "", (pattern or "").replace(r"\p{L}\p{Z}\p{N}", r"\w\s"))
        if pattern and not re.fullmatch(pattern, value):
            problems.append(f"{path}: {value!r} does not match {pattern}")
        if limit and len(value) > limit:
            problems.append(f"{path}: longer than {limit}")
    elif limit is not None and isinstance(value, int | float) and value > limit:
        problems.append(f"{path}: {value} is over {limit}")
    return value


def argument_problems(definition: dict[str, Any]) -> list[str]:
    problems: list[str] = []
    for step in steps_of(definition["Steps"]):
        if step["Type"] not in OPERATIONS:
            continue
        operation, injected = OPERATIONS[step["Type"]]
        shape = MODEL.operation_model(operation).input_shape
        arguments = concrete(step["Arguments"], shape, step["Name"], problems) | injected
        report = ParamValidator().validate(arguments, shape)
        if report.has_errors():
            problems += [f"{step['Name']}: {line}" for line in report.generate_report().splitlines()]
    return problems


def walk(path: str, shape: Shape, step: dict[str, Any]) -> str | None:
    """Why `path` leads nowhere in the description of `step`, or None."""
    for name, place, key in re.findall(r"\.?([A-Za-z]\w*)|\[(\d+)\]|\['([^']*)'\]", path):
        if name:
            if name not in getattr(shape, "members", {}):
                return f"{shape.name} has no {name}"
            shape = shape.members[name]
        elif place:
            if shape.type_name != "list":
                return f"{shape.name} is no list"
            shape = shape.member
        else:
            outputs = [item["OutputName"] for item in step["Arguments"]["ProcessingOutputConfig"]["Outputs"]]
            if key not in outputs:
                return f"no output {key}"
            shape = shape.member
    return None if shape.type_name in PLACE else f"ends at a {shape.type_name}"


def reference_problems(definition: dict[str, Any]) -> list[str]:
    steps = {step["Name"]: step for step in steps_of(definition["Steps"])}
    parameters = {parameter["Name"] for parameter in definition["Parameters"]}
    used, problems = set(), []
    for step in steps.values():
        problems += [
            f"{step['Name']} depends on {name}" for name in step.get("DependsOn", []) if name not in steps
        ]
        for reference in references(step):
            scope, _, rest = reference.partition(".")
            if scope == "Parameters":
                used.add(rest)
                if rest not in parameters:
                    problems.append(f"{reference} is not declared")
            elif scope == "Execution":
                if reference not in EXECUTION:
                    problems.append(f"{reference} is no execution variable")
            else:
                name, _, path = rest.partition(".")
                if name not in steps:
                    problems.append(f"{reference}: no such step")
                elif path.startswith("PropertyFiles."):
                    known = {
                        f"PropertyFiles.{item['PropertyFileName']}" for item in steps[name]["PropertyFiles"]
                    }
                    problems += [] if path in known else [f"{reference}: no such property file"]
                else:
                    shapes = [MODEL.shape_for(known) for known in DESCRIBED[steps[name]["Type"]]]
                    reasons = [walk(path, shape, steps[name]) for shape in shapes]
                    problems += [f"{reference}: {reasons}"] if all(reasons) else []
    return problems + [f"parameter {name} is used by no step" for name in sorted(parameters - used)]


def arguments_of(definition, name):
    return next(step for step in steps_of(definition["Steps"]) if step["Name"] == name)["Arguments"]


def filled(value):
    """A Join with a number for each JsonGet and a word for every other value of the execution."""
    if isinstance(value, str):
        return value
    if "Std:Join" in value:
        parts = [filled(part) for part in value["Std:Join"]["Values"]]
        return value["Std:Join"]["On"].join(parts)
    return "15.25" if "Std:JsonGet" in value else "arn:aws:word"
