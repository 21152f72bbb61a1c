"""Values of a definition that are computed while it runs: `Get`, `Std:Join` and `Std:JsonGet`.

Follows https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-properties.html.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from localcloud.sagemaker.pipelines.paths import PathError, lookup

Scalar = str | int | float | bool

EXECUTION_VARIABLES = frozenset(
    {
        "CurrentDateTime",
        "PipelineArn",
        "PipelineExecutionArn",
        "PipelineExecutionId",
        "PipelineName",
        "ProcessingJobName",
        "StartDateTime",
        "TrainingJobName",
    }
)
_FUNCTIONS = frozenset({"Get", "Std:Join", "Std:JsonGet"})
_ROOTS: tuple[Literal["Parameters", "Execution", "Steps"], ...] = ("Parameters", "Execution", "Steps")


class ExpressionError(ValueError):
    """An expression that cannot be read, or that has no value in this execution."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What a `Get` names: a parameter, an execution variable, or, by `path`, a property of a step."""

    root: Literal["Parameters", "Execution", "Steps"]
    name: str
    path: str = ""

    @property
    def property_file(self) -> str | None:
        """The name of the property file, when a step's property file is meant."""
        _, marker, name = self.path.partition("PropertyFiles.")
        return name if marker and self.path.startswith(marker) else None


class Scope(Protocol):
    """Where an expression finds its values; each method raises ExpressionError when there is none."""

    def parameter(self, name: str) -> Scalar:
        """The value of a pipeline parameter."""

    def execution_variable(self, name: str) -> Scalar:
        """The value of an execution variable, such as `PipelineExecutionId`."""

    def properties(self, step: str) -> Any:
        """What the step's Describe operation answers."""

    def property_file(self, step: str, name: str) -> Any:
        """The parsed content of a step's property file."""

    def document(self, uri: str) -> Any:
        """The parsed content of a JSON object in S3."""


def parse_reference(text: Any) -> Reference:
    """Read the text of a `Get`.

    Example: `parse_reference("Steps.Train.ModelArtifacts.S3ModelArtifacts")` is
    `Reference("Steps", "Train", "ModelArtifacts.S3ModelArtifacts")`.
    """
    if isinstance(text, str):
        for root in _ROOTS:
            start, _, rest = text.partition(".")
            if start != root or not rest:
                continue
            if root != "Steps":
                return Reference(root, rest)
            name, _, path = rest.partition(".")
            if name and path:
                return Reference(root, name, path)
    raise ExpressionError(
        f"cannot read the reference {text!r}: write Parameters.NAME, Execution.NAME or Steps.STEP.PROPERTY"
    )


def is_expression(value: Any) -> bool:
    """Whether a value of the definition is computed rather than literal."""
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _FUNCTIONS


def functions(value: Any) -> Iterator[tuple[str, Any]]:
    """Every function inside a value of the definition with its argument, however deep."""
    if isinstance(value, list):
        for item in value:
            yield from functions(item)
    elif isinstance(value, dict):
        if is_expression(value):
            yield from value.items()
        for item in value.values():
            yield from functions(item)


def references(value: Any) -> Iterator[Reference]:
    """Every reference inside a value of the definition, however deep."""
    return (parse_reference(argument) for function, argument in functions(value) if function == "Get")


def check_function(function: str, argument: Any) -> None:
    """Refuse an argument that its function does not take.

    Raises:
        ExpressionError: with the form that the function takes.
    """
    if function == "Get":
        parse_reference(argument)
    elif function == "Std:Join":
        if not isinstance(argument, dict) or not isinstance(argument.get("Values"), list):
            raise ExpressionError("Std:Join takes {'On': text, 'Values': [...]}")
    elif (
        not isinstance(argument, dict)
        or not isinstance(argument.get("Path"), str)
        or ("S3Uri" in argument) == ("PropertyFile" in argument)
    ):
        raise ExpressionError("Std:JsonGet takes {'PropertyFile': {'Get': ...}, 'Path': text}")
    elif "PropertyFile" in argument:
        file = argument["PropertyFile"]
        if not is_expression(file) or not parse_reference(file.get("Get")).property_file:
            raise ExpressionError(
                "Std:JsonGet takes the PropertyFile {'Get': 'Steps.STEP.PropertyFiles.NAME'}"
            )


def resolve(value: Any, scope: Scope) -> Any:
    """Replace every expression inside a value by what it stands for.

    Args:
        value: JSON of the definition: a step's arguments, one side of a condition, an error message.
        scope: where parameters, variables, properties and property files come from.

    Raises:
        ExpressionError: something has no value; the message names it.
    """
    if isinstance(value, list):
        return [resolve(item, scope) for item in value]
    if not isinstance(value, dict):
        return value
    if not is_expression(value):
        return {key: resolve(item, scope) for key, item in value.items()}
    function, argument = next(iter(value.items()))
    check_function(function, argument)
    if function == "Get":
        return _get(argument, scope)
    if function == "Std:Join":
        return _join(argument, scope)
    return _json_get(argument, scope)


def to_text(value: Any) -> str:
    """A scalar as `Std:Join` writes it: booleans in lower case, as AWS does.

    Raises:
        ExpressionError: the value is a list, an object or null.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ExpressionError(f"Std:Join takes texts, numbers and booleans, not {value!r}")


def _get(argument: Any, scope: Scope) -> Any:
    reference = parse_reference(argument)
    if reference.root == "Parameters":
        return scope.parameter(reference.name)
    if reference.root == "Execution":
        return scope.execution_variable(reference.name)
    if reference.property_file:
        raise ExpressionError(
            f"the property file {argument!r} is read with Std:JsonGet, which takes a Path too"
        )
    try:
        return lookup(scope.properties(reference.name), reference.path)
    except PathError as error:
        raise ExpressionError(f"{argument} has no value: {error}") from error


def _join(argument: dict[str, Any], scope: Scope) -> str:
    return str(argument.get("On", "")).join(to_text(resolve(item, scope)) for item in argument["Values"])


def _json_get(argument: dict[str, Any], scope: Scope) -> Any:
    path = argument["Path"]
    if "S3Uri" in argument:
        source = str(resolve(argument["S3Uri"], scope))
        content = scope.document(source)
    else:
        reference = parse_reference(argument["PropertyFile"]["Get"])
        name = reference.property_file or ""
        source = f"the property file {name!r} of step {reference.name!r}"
        content = scope.property_file(reference.name, name)
    try:
        value = lookup(content, path)
    except PathError as error:
        raise ExpressionError(f"{source} has no value at {path!r}: {error}") from error
    if not isinstance(value, str | int | float | bool):
        raise ExpressionError(f"{source} holds no text, number or boolean at {path!r}")
    return value
