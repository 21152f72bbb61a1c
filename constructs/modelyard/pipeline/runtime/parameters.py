"""Defaults of pipeline parameters: CloudFormation delivers strings, SageMaker wants each type's own JSON."""

import math
import re
from collections.abc import Mapping
from typing import Any

from .errors import PipelineError

_BOOLEANS = {"true": True, "false": False}


def set_defaults(definition: dict[str, Any], defaults: Mapping[str, str]) -> dict[str, Any]:
    """The definition with the defaults set; the argument stays as it is.

    Raises PipelineError for a parameter that is not declared, and for a value of another type or outside
    the declared enumeration.
    """
    declared = {parameter["Name"]: parameter for parameter in definition.get("Parameters", [])}
    unknown = sorted(defaults.keys() - declared.keys())
    if unknown:
        known = ", ".join(declared) or "none"
        raise PipelineError(f"default for unknown parameter {', '.join(unknown)}; declared: {known}")
    changed = [
        {**parameter, "DefaultValue": typed(parameter, defaults[name])} if name in defaults else parameter
        for name, parameter in declared.items()
    ]
    for parameter in changed:
        _check_enumeration(parameter)
    return {**definition, "Parameters": changed} if changed else definition


def typed(parameter: Mapping[str, Any], text: str) -> str | int | float | bool:
    """The text as a JSON value of the parameter's type."""
    kind = parameter["Type"]
    if kind == "String":
        return text
    if kind == "Integer" and re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        return int(text)
    if kind == "Float" and re.fullmatch(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?", text):
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
    if kind == "Boolean" and text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    raise PipelineError(f"default of parameter {parameter['Name']} is {text!r}, which is not of type {kind}")


def _check_enumeration(parameter: Mapping[str, Any]) -> None:
    allowed, default = parameter.get("EnumValues"), parameter.get("DefaultValue")
    if allowed and default is not None and default not in allowed:
        values = ", ".join(str(value) for value in allowed)
        raise PipelineError(f"default of parameter {parameter['Name']} is {default!r}; allowed: {values}")
