"""Pipeline parameters: their declaration in the definition and their values in an execution.

Follows https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-parameters.html.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from localcloud.sagemaker.pipelines.expressions import Scalar

PARAMETER_TYPES = ("String", "Integer", "Float", "Boolean")


class ParameterError(ValueError):
    """A value that a parameter does not take, or a parameter that is not declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A declared parameter. `default` is None when each execution must give a value."""

    name: str
    type: str
    default: Scalar | None = None
    allowed: tuple[str, ...] = ()

    def accepts(self, value: object) -> bool:
        """Whether a value as JSON writes it (a declared default) is of this parameter's type."""
        if self.type == "Boolean":
            return isinstance(value, bool)
        if isinstance(value, bool):
            return False
        expected = {"String": str, "Integer": int, "Float": int | float}[self.type]
        return isinstance(value, expected)

    def parse(self, text: str) -> Scalar:
        """Read a value as `StartPipelineExecution` sends it, which is always text.

        Raises:
            ParameterError: the text is not of the parameter's type or not one of its allowed values.
        """
        value = self._convert(text)
        if value is None:
            raise ParameterError(
                f"Parameter [{self.name}] has the value [{text}], which is not of its type {self.type}."
            )
        if self.allowed and value not in self.allowed:
            raise ParameterError(
                f"Parameter [{self.name}] has the value [{text}], which is not in its enum value set: "
                f"[{', '.join(self.allowed)}]."
            )
        return value

    def _convert(self, text: str) -> Scalar | None:
        if self.type == "String":
            return text
        if self.type == "Boolean":
            return {"true": True, "false": False}.get(text.lower())
        try:
            # Python alone reads 1_000, blanks, foreign digits, NaN and Infinity.
            if self.type == "Integer":
                return int(text) if re.fullmatch(r"[+-]?[0-9]+", text) else None
            if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
                return None
            number = float(text)
        except ValueError:
            return None
        return number if math.isfinite(number) else None


def bind(declared: Mapping[str, Parameter], given: Iterable[Mapping[str, str]]) -> dict[str, Scalar]:
    """Values of all parameters in one execution.

    Args:
        declared: the definition's parameters by name.
        given: `[{"Name": ..., "Value": ...}]`, as `StartPipelineExecution` takes them.

    Raises:
        ParameterError: one is unknown, given twice, of the wrong type, outside its enum, or missing.
    """
    values: dict[str, Scalar] = {}
    for item in given:
        name = item["Name"]
        if name not in declared:
            raise ParameterError(
                f"Parameter [{name}] is not defined in the pipeline definition. "
                f"Defined parameters: [{', '.join(declared)}]."
            )
        if name in values:
            raise ParameterError(f"Parameter [{name}] is given more than once.")
        values[name] = declared[name].parse(item["Value"])
    missing = [p.name for p in declared.values() if p.default is None and p.name not in values]
    if missing:
        raise ParameterError(
            f"Missing required parameters: [{', '.join(missing)}]. They have no default value."
        )
    defaults = {p.name: p.default for p in declared.values() if p.default is not None}
    return {**defaults, **values}
