"""What is wrong with a step's arguments, by the service model of the job that it makes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from localcloud.sagemaker.pipelines.assignments import AS_TEXT, TAKEN_BY, fits
from localcloud.sagemaker.pipelines.expressions import (
    ExpressionError,
    Reference,
    is_expression,
    parse_reference,
)
from localcloud.sagemaker.pipelines.paths import PathError, parse_path
from localcloud.sagemaker.shapes import compiled, input_shape
from modelyard_cli.check.definitions.model import Definition, Step
from modelyard_cli.check.definitions.references import follow, responses

# step type -> operation, and the members that the service gives itself
REQUESTS = {
    "AutoML": ("CreateAutoMLJobV2", {"AutoMLJobName"}),
    "Endpoint": ("CreateEndpoint", set()),
    "EndpointConfig": ("CreateEndpointConfig", set()),
    "InferenceComponent": ("CreateInferenceComponent", set()),
    "Model": ("CreateModel", {"ModelName"}),
    "Processing": ("CreateProcessingJob", {"ProcessingJobName"}),
    "RegisterModel": ("CreateModelPackage", set()),
    "Training": ("CreateTrainingJob", {"TrainingJobName"}),
    "Transform": ("CreateTransformJob", {"TransformJobName"}),
    "Tuning": ("CreateHyperParameterTuningJob", {"HyperParameterTuningJobName"}),
}
# Required by the service though botocore's model leaves them open.
_REQUIRED = {
    "Training": ("AlgorithmSpecification", "OutputDataConfig", "ResourceConfig", "StoppingCondition")
}
_PYTHON: dict[str, type | tuple[type, ...]] = {
    "structure": dict,
    "map": dict,
    "list": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float, str),
    "blob": str,
}
# The model says 0: with instance groups the count stands there, and not here.
_MINIMUM = {"TrainingInstanceCount": 1}
_INSTANCE_SHAPES = ("InstanceType", "TransformInstanceType", "ProcessingInstanceType", "TrainingInstanceType")


@dataclass(frozen=True, slots=True)
class Fault:
    kind: str
    path: str
    message: str


def faults_of(definition: Definition) -> Iterator[tuple[Step, Fault]]:
    cached = definition.__dict__.get("_argument_faults")
    if cached is None:
        cached = definition.__dict__["_argument_faults"] = list(_find(definition))
    yield from cached


def _find(definition: Definition) -> Iterator[tuple[Step, Fault]]:
    for step in definition.of(*REQUESTS):
        operation, given = REQUESTS[step.type]
        if step.type == "AutoML" and not any(name.startswith("AutoMLP") for name in step.arguments):
            operation = "CreateAutoMLJob"  # what SDK v2 writes; the newer request has AutoMLProblemTypeConfig
        arguments = {k: v for k, v in step.arguments.items() if k not in given}
        shape = input_shape(operation)
        required = [m for m in (*shape.required_members, *_REQUIRED.get(step.type, ())) if m not in given]
        for member in dict.fromkeys(required):
            if member not in arguments:
                yield step, Fault("missing", "Arguments", f"lacks {member}, which {operation} requires")
        for name, value in arguments.items():
            if name in shape.members:
                for fault in _walk(value, shape.members[name], f"Arguments.{name}", definition):
                    yield step, fault
            else:
                yield step, Fault("unknown", f"Arguments.{name}", f"is no member of {operation}")


def _walk(value: Any, shape: Any, path: str, definition: Definition) -> Iterator[Fault]:
    if value is None:
        return
    if is_expression(value):
        yield from _expression(value, shape, path, definition)
        return
    kind = shape.type_name
    expected: Any = _PYTHON[kind]
    if not isinstance(value, expected) or (isinstance(value, bool) and kind != "boolean"):
        yield Fault("type", path, f"{_short(value)} is not of type {kind}")
        return
    if kind == "structure":
        yield from _structure(value, shape, path, definition)
        return
    yield from _bounds(value, shape, path)
    if kind == "list":
        for index, item in enumerate(value):
            yield from _walk(item, shape.member, f"{path}[{index}]", definition)
    elif kind == "map":
        for name, item in value.items():
            yield from _bounds(name, shape.key, f"{path} (key {name!r})")
            yield from _walk(item, shape.value, f"{path}[{name!r}]", definition)


def _structure(value: dict[str, Any], shape: Any, path: str, definition: Definition) -> Iterator[Fault]:
    for member in shape.required_members:
        if member not in value:
            yield Fault("missing", path, f"lacks {member}")
    for name, item in value.items():
        if name in shape.members:
            yield from _walk(item, shape.members[name], f"{path}.{name}", definition)
        else:
            yield Fault("unknown", f"{path}.{name}", f"is no member of {shape.name}")


def _bounds(value: Any, shape: Any, path: str) -> Iterator[Fault]:
    text = isinstance(value, str)
    if text and "${" in value:
        return
    size = value if isinstance(value, int | float) else len(value)
    low, high = _MINIMUM.get(shape.name, shape.metadata.get("min")), shape.metadata.get("max")
    noun = "value" if isinstance(value, int | float) else "length"
    if low is not None and size < low:
        yield Fault("bounds", path, f"{noun} {size} is below {low}")
    if high is not None and size > high:
        yield Fault("bounds", path, f"{noun} {size} is above {high}")
    if not text:
        return
    if getattr(shape, "enum", None) and value not in shape.enum:
        kind = "instance" if shape.name.endswith("InstanceType") else "enum"
        known = ", ".join(shape.enum[:8]) + (" ..." if len(shape.enum) > 8 else "")
        yield Fault(kind, path, f"{value!r} is not one of {known}")
    pattern = shape.metadata.get("pattern")
    if shape.name == "KmsKeyId" and value.startswith("arn:") and ":kms:" not in value:
        yield Fault("pattern", path, f"{_short(value)} is no key's ARN")
    elif pattern and not compiled(pattern).fullmatch(value):
        yield Fault("pattern", path, f"{_short(value)} does not match {pattern}")


def _expression(value: dict[str, Any], shape: Any, path: str, definition: Definition) -> Iterator[Fault]:
    kind = shape.type_name
    if "Std:Join" in value:
        if kind not in ("string", "timestamp", "blob"):
            yield Fault("fit", path, f"Std:Join makes a text, but {kind} is wanted")
        elif start := _start(value["Std:Join"]):
            pattern = shape.metadata.get("pattern") or ""
            if "s3" in pattern[:25] and not start.startswith(("s3://", "https://", "${")):
                yield Fault("pattern", path, f"the text starts with {_short(start)}, not with s3://")
        return
    if "Get" not in value:
        return
    try:
        reference = parse_reference(value["Get"])
    except ExpressionError:
        return
    if reference.root == "Parameters":
        yield from _parameter(reference.name, shape, path, definition)
    elif reference.root == "Execution" and kind not in ("string", "timestamp"):
        yield Fault("fit", path, f"Execution.{reference.name} is a text, but {kind} is wanted")
    elif reference.root == "Steps":
        yield from _property(reference, shape, path, definition)


def _start(join: Any) -> str:
    values = join.get("Values") if isinstance(join, dict) else None
    if not isinstance(values, list) or not values or not isinstance(values[0], str):
        return ""
    return values[0] + (str(join.get("On", "")) if len(values) > 1 else "")


def _parameter(name: str, shape: Any, path: str, definition: Definition) -> Iterator[Fault]:
    declared = definition.parameters.get(name)
    if declared is None or declared.get("Type") not in TAKEN_BY:
        return
    if shape.type_name not in TAKEN_BY[declared["Type"]]:
        yield _misfit(f"the {declared['Type']} parameter {name}", shape, path)
        return
    values = [definition.default(name), *(declared.get("EnumValues") or [])]
    for value in dict.fromkeys(v for v in values if isinstance(v, str | int | float)):
        for fault in _bounds(_number(value) if shape.type_name != "string" else value, shape, path):
            yield Fault(fault.kind, path, f"parameter {name} may be {value!r}: {fault.message}")


def _number(value: Any) -> Any:
    """A number that a template quotes; a placeholder, which no bound judges, for what is none."""
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"-?\d+", value) else "${?}"
    return "${?}" if isinstance(value, bool) else value


def _property(reference: Reference, shape: Any, path: str, definition: Definition) -> Iterator[Fault]:
    target = definition.by_name.get(reference.name)
    if target is None or reference.property_file is not None:
        return
    try:
        parts = parse_path(reference.path)
    except PathError:
        return
    yield from _output(target, parts, reference, shape, path)
    found = next((s for s in (follow(r, parts) for r in responses(target.type)) if s is not None), None)
    if found is None:
        return
    what = f"Steps.{reference.name}.{reference.path}"
    if not fits(found.type_name, shape.type_name):
        yield _misfit(f"{what}, which is {found.type_name},", shape, path)
    elif _family(shape) and _family(found) and _family(shape) != _family(found):
        yield Fault("fit", path, f"{what} is {_family(found)}, but {_family(shape)} is wanted")


def _output(
    target: Step, parts: tuple[str | int, ...], reference: Reference, shape: Any, path: str
) -> Iterator[Fault]:
    """An output of a Lambda or Callback step, whose type the step declares."""
    outputs = target.body.get("OutputParameters") if parts[0] == "OutputParameters" else None
    for item in outputs if isinstance(outputs, list) else ():
        if not isinstance(item, dict) or item.get("OutputName") != parts[-1]:
            continue
        declared = str(item.get("OutputType"))
        if shape.type_name not in TAKEN_BY.get(declared, {shape.type_name}):
            yield _misfit(f"the {declared} output {parts[-1]} of {reference.name}", shape, path)


def _misfit(what: str, shape: Any, path: str) -> Fault:
    remedy = f": {AS_TEXT}" if shape.type_name == "string" else ""
    return Fault("fit", path, f"{what} stands where {shape.type_name} is wanted{remedy}")


def _family(shape: Any) -> str:
    """What kind of thing a text names; empty where its shape does not say."""
    name = shape.name
    for ending, family in (
        ("S3Uri", "an S3 URI"),
        ("Url", "an S3 URI"),
        ("RoleArn", "a role"),
        ("KmsKeyId", "a key"),
        ("ModelName", "a model's name"),
        ("ImageUri", "an image"),
        ("ContainerImage", "an image"),
        ("AlgorithmImage", "an image"),
        ("JobName", "a job's name"),
        ("JobArn", "a job's ARN"),
        ("ModelArn", "a model's ARN"),
        ("ModelPackageArn", "a model package's ARN"),
        ("InstanceType", "an instance type"),
        ("JobStatus", "a status"),
        ("ModelPackageGroupName", "a group's name"),
        ("FailureReason", "a failure's reason"),
    ):
        if name.endswith(ending):
            return family
    return ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
