"""A step's Arguments against the request that the step will make, as far as they are known beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.sagemaker import shapes
from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.pipelines.assignments import misfit
from localcloud.sagemaker.pipelines.expressions import ExpressionError, is_expression, parse_reference
from localcloud.sagemaker.pipelines.model import Definition, Step
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


def check_arguments(step: Step, definition: Definition, problems: Problems) -> None:
    """Add a problem for each member that is unknown, missing, or of a wrong type or value.

    A `Get` must be of the type that is wanted; any other computed value is checked when it is known.
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
    walk = _Walk(definition, where, problems)
    for name, value in arguments.items():
        if name not in shape.members:
            problems.add(where, f"Arguments.{name} is no member of {operation}")
        else:
            walk.check(value, shape.members[name], f"Arguments.{name}")


class _Walk:
    def __init__(self, definition: Definition, where: str, problems: Problems) -> None:
        self._definition = definition
        self._where = where
        self._problems = problems

    def check(self, value: Any, shape: Any, path: str) -> None:
        if value is None:
            return
        if is_expression(value):
            self._check_expression(value, shape, path)
            return
        kind = shape.type_name
        expected = {"structure": dict, "map": dict, "list": list}.get(kind)
        if expected is not None and not isinstance(value, expected):
            noun = "a list" if expected is list else "an object"
            self._add(f"{path} must be {noun}, not {value!r}")
        elif kind == "structure":
            self._check_members(value, shape, path)
        elif kind == "list":
            for index, item in enumerate(value):
                self.check(item, shape.member, f"{path}[{index}]")
        elif kind == "map":
            for name, item in value.items():
                self.check(item, shape.value, f"{path}[{name!r}]")
        else:
            try:
                shapes.check_value(value, shape)
            except ServiceError as error:
                self._add(f"{path}: {error.message.rstrip('.')}")

    def _check_expression(self, value: dict[str, Any], shape: Any, path: str) -> None:
        if "Get" not in value:
            return
        try:
            problem = misfit(parse_reference(value["Get"]), shape, self._definition)
        except ExpressionError:
            return  # told of by check_references
        if problem is not None:
            self._add(f"{path}: {problem}")

    def _check_members(self, value: dict[str, Any], shape: Any, path: str) -> None:
        for name in shape.required_members:
            if name not in value:
                self._add(f"{path} lacks {name}")
        for name, item in value.items():
            if name not in shape.members:
                self._add(f"{path}.{name} is no member of {shape.name}")
            else:
                self.check(item, shape.members[name], f"{path}.{name}")

    def _add(self, what: str) -> None:
        self._problems.add(self._where, what)
