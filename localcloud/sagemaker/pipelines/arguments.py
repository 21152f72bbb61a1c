"""A step's Arguments against the request that the step will make, as far as they are known beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.sagemaker import shapes
from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.pipelines.expressions import is_expression
from localcloud.sagemaker.pipelines.model import Step
from localcloud.sagemaker.pipelines.problems import Problems

# step type -> operation, and the members that the service gives itself
_REQUESTS: Mapping[str, tuple[str, frozenset[str]]] = {
    "Endpoint": ("CreateEndpoint", frozenset()),
    "EndpointConfig": ("CreateEndpointConfig", frozenset({"EndpointConfigName"})),
    "Model": ("CreateModel", frozenset({"ModelName"})),
    "Processing": ("CreateProcessingJob", frozenset({"ProcessingJobName"})),
    "RegisterModel": ("CreateModelPackage", frozenset()),
    "Training": ("CreateTrainingJob", frozenset({"TrainingJobName"})),
    "Transform": ("CreateTransformJob", frozenset({"TransformJobName"})),
    "Tuning": ("CreateHyperParameterTuningJob", frozenset({"HyperParameterTuningJobName"})),
}


def check_arguments(step: Step, problems: Problems) -> None:
    """Add a problem for each member that is unknown, missing, or of a wrong type or value.

    A computed value (`Get`, `Std:Join`, `Std:JsonGet`) stands for any value; it is checked when it is known.
    """
    if step.type not in _REQUESTS:
        return
    operation, given = _REQUESTS[step.type]
    shape = shapes.input_shape(operation)
    arguments = {name: value for name, value in step.arguments.items() if name not in given}
    where = f"Step {step.name!r}"
    for name in shape.required_members:
        if name not in arguments and name not in given:
            problems.add(where, f"Arguments lacks {name}, which {operation} requires")
    for name, value in arguments.items():
        if name not in shape.members:
            problems.add(where, f"Arguments.{name} is no member of {operation}")
        else:
            _check(value, shape.members[name], f"Arguments.{name}", where, problems)


def _check(value: Any, shape: Any, path: str, where: str, problems: Problems) -> None:
    if value is None or is_expression(value):
        return
    kind = shape.type_name
    expected = {"structure": dict, "map": dict, "list": list}.get(kind)
    if expected is not None and not isinstance(value, expected):
        noun = "a list" if expected is list else "an object"
        problems.add(where, f"{path} must be {noun}, not {value!r}")
    elif kind == "structure":
        _check_members(value, shape, path, where, problems)
    elif kind == "list":
        for index, item in enumerate(value):
            _check(item, shape.member, f"{path}[{index}]", where, problems)
    elif kind == "map":
        for name, item in value.items():
            _check(item, shape.value, f"{path}[{name!r}]", where, problems)
    else:
        try:
            shapes.check_value(value, shape)
        except ServiceError as error:
            problems.add(where, f"{path}: {error.message.rstrip('.')}")


def _check_members(value: dict[str, Any], shape: Any, path: str, where: str, problems: Problems) -> None:
    for name in shape.required_members:
        if name not in value:
            problems.add(where, f"{path} lacks {name}")
    for name, item in value.items():
        if name not in shape.members:
            problems.add(where, f"{path}.{name} is no member of {shape.name}")
        else:
            _check(item, shape.members[name], f"{path}.{name}", where, problems)
