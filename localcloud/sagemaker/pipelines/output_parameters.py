"""What a Lambda or Callback step gives to later steps: its declared output parameters.

Follows https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_OutputParameter.html.
"""

from collections.abc import Mapping
from typing import Any

from localcloud.sagemaker.pipelines.expressions import ExpressionError, Scalar, to_text
from localcloud.sagemaker.pipelines.parameters import PARAMETER_TYPES, Parameter, ParameterError
from localcloud.sagemaker.pipelines.problems import Problems

_MAX_OUTPUTS = 50
_MAX_TEXT = 1024


class OutputError(ValueError):
    """An answer without a declared output, or with one of another type."""


def parse_outputs(where: str, item: dict[str, Any], problems: Problems) -> dict[str, str]:
    """The declared outputs: name to type."""
    outputs: dict[str, str] = {}
    for entry in problems.objects(where, item, "OutputParameters"):
        problems.members(where, entry, ("OutputName", "OutputType"))
        name = problems.text(where, entry, "OutputName")
        kind = entry.get("OutputType", "String")
        if kind not in PARAMETER_TYPES:
            problems.add(where, f"OutputType is {kind!r}, it must be one of {', '.join(PARAMETER_TYPES)}")
        elif name in outputs:
            problems.add(where, f"has two output parameters named {name!r}")
        elif name is not None:
            outputs[name] = kind
    if len(outputs) > _MAX_OUTPUTS:
        problems.add(where, f"has {len(outputs)} output parameters, the limit is {_MAX_OUTPUTS}")
    return outputs


def take_outputs(declared: Mapping[str, str], answer: Any) -> dict[str, Scalar]:
    """The declared outputs out of an answer, each with its type.

    Args:
        declared: name to type, as `parse_outputs` gives it.
        answer: what the function returned or the callback brought; what is not declared falls away.

    Raises:
        OutputError: the answer is no object, lacks an output, or has one that its type does not take.

    Example: `take_outputs({"n": "Integer"}, {"n": "3", "body": "..."})` is `{"n": 3}`.
    """
    if not declared:
        return {}
    if not isinstance(answer, Mapping):
        raise OutputError(f"the answer must be an object with {', '.join(declared)}, not {_short(answer)}")
    missing = [name for name in declared if answer.get(name) is None]
    if missing:
        raise OutputError(f"the answer lacks the output {', '.join(missing)}; it has: {', '.join(answer)}")
    return {name: _typed(name, kind, answer[name]) for name, kind in declared.items()}


def listed(outputs: Mapping[str, Scalar]) -> list[dict[str, str]]:
    """Outputs as the step list shows them: names and texts."""
    return [{"Name": name, "Value": to_text(value)} for name, value in outputs.items()]


def _typed(name: str, kind: str, value: Any) -> Scalar:
    try:
        text = to_text(value)
        typed = Parameter(name=name, type=kind).parse(text)
    except (ExpressionError, ParameterError):
        raise OutputError(f"the output {name} is {_short(value)}, which is no {kind}") from None
    if len(text) > _MAX_TEXT:
        raise OutputError(f"the output {name} has {len(text)} characters, the limit is {_MAX_TEXT}")
    return typed


def _short(value: Any) -> str:
    return f"{value!r:.200}"
