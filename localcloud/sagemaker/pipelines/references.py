"""Whether everything that a definition refers to exists."""

from typing import Any

from localcloud.sagemaker.pipelines.expressions import (
    EXECUTION_VARIABLES,
    ExpressionError,
    Reference,
    check_function,
    functions,
    parse_reference,
)
from localcloud.sagemaker.pipelines.model import Definition, Step
from localcloud.sagemaker.pipelines.paths import PathError, parse_path
from localcloud.sagemaker.pipelines.problems import Problems
from localcloud.sagemaker.pipelines.step_types import STEP_TYPES, TARGETS
from localcloud.sagemaker.shapes import service_model


def check_references(definition: Definition, problems: Problems) -> None:
    """Add a problem for each reference that cannot resolve."""
    _check("PipelineExperimentConfig", dict(definition.experiment), definition, problems)
    for step in definition.steps.values():
        where = f"Step {step.name!r}"
        _check(where, list(step.values), definition, problems)
        for name in step.depends_on:
            if name not in definition.steps:
                problems.add(where, f"DependsOn names the step {name!r}, which does not exist")
            elif definition.steps[name].type == "Fail":
                problems.add(where, f"{step.name} can not depends on {name}, which is a Fail step")
        if step.type == "Processing":
            _check_property_files(step, problems)


def _check(where: str, value: Any, definition: Definition, problems: Problems) -> None:
    for function, argument in functions(value):
        try:
            check_function(function, argument)
        except ExpressionError as error:
            problems.add(where, str(error))
            continue
        if function == "Get":
            problem = _problem(parse_reference(argument), definition)
            if problem is not None:
                problems.add(where, f"refers to {argument!r}, but {problem}")


def _problem(reference: Reference, definition: Definition) -> str | None:
    if reference.root == "Parameters":
        if reference.name in definition.parameters:
            return None
        return f"the parameters are: {', '.join(definition.parameters) or 'none'}"
    if reference.root == "Execution":
        if reference.name in EXECUTION_VARIABLES:
            return None
        return f"the execution variables are: {', '.join(sorted(EXECUTION_VARIABLES))}"
    return _property_problem(reference, definition)


def _property_problem(reference: Reference, definition: Definition) -> str | None:
    step = definition.steps.get(reference.name)
    if step is None:
        return f"there is no step {reference.name!r}"
    if step.type == "Fail":
        return f"{step.name!r} is a Fail step, which has no properties"
    if reference.property_file is not None:
        if reference.property_file in step.property_files:
            return None
        return f"the property files of {step.name!r} are: {', '.join(step.property_files) or 'none'}"
    return _path_problem(step, reference.path)


def _path_problem(step: Step, path: str) -> str | None:
    try:
        parts = parse_path(path)
        property_shape(step, parts)
    except PathError as error:
        return str(error)
    if step.type in TARGETS or step.type == "Condition":
        return _own_property_problem(step, parts)
    if step.type != "Processing" or len(parts) < 3 or parts[:2] != ("ProcessingOutputConfig", "Outputs"):
        return None
    names = _output_names(step)
    if isinstance(parts[2], int) or names is None or parts[2] in names:
        return None
    return f"the outputs of {step.name!r} are: {', '.join(names) or 'none'}"


def _own_property_problem(step: Step, parts: tuple[str | int, ...]) -> str | None:
    """Of the steps whose properties are no Describe operation's answer."""
    known: dict[tuple[str | int, ...], str] = {("Outcome",): "Outcome"}
    if step.type != "Condition":
        known = {("OutputParameters", name): f"OutputParameters['{name}']" for name in step.outputs}
    if parts in known:
        return None
    return f"the properties of {step.name!r} are: {', '.join(known.values()) or 'none'}"


def _response(step_type: str, member: str | int) -> str | None:
    """The shape in which a property starts."""
    traits = STEP_TYPES[step_type]
    if traits.listing is not None and member in service_model().shape_for(traits.listing).members:
        return traits.listing
    return traits.response


def property_shape(step: Step, parts: tuple[str | int, ...]) -> Any:
    """The botocore shape of a step's property, None where its type follows no shape.

    Raises:
        PathError: the path leaves the shape of the Describe operation's answer.
    """
    response = _response(step.type, parts[0])
    if response is None:
        return None
    shape: Any = service_model().shape_for(response)
    for part in parts:
        if shape.type_name == "structure" and part in shape.members:
            shape = shape.members[part]
        elif shape.type_name == "map" and isinstance(part, str):
            shape = shape.value
        elif shape.type_name == "list":
            shape = shape.member
        else:
            raise PathError(f"{shape.name} has no {part!r}")
    return shape


def _check_property_files(step: Step, problems: Problems) -> None:
    names = _output_names(step)
    for file in step.property_files.values():
        if names is not None and file.output not in names:
            problems.add(
                f"Step {step.name!r}",
                f"the property file {file.name!r} lies in the output {file.output!r}, "
                f"but its outputs are: {', '.join(names) or 'none'}",
            )


def _output_names(step: Step) -> list[str] | None:
    """The names of a processing step's outputs; None when they are not written out literally."""
    config = step.arguments.get("ProcessingOutputConfig", {})
    outputs = config.get("Outputs", []) if isinstance(config, dict) else None
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        return None
    names = [output.get("OutputName") for output in outputs]
    return [str(name) for name in names] if all(isinstance(name, str) for name in names) else None
