"""What a feature's value may be, whatever the format it came in."""

import math
from typing import Any

_KINDS = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
_LARGEST = 2**63


def problem(value: Any) -> str | None:
    """What is wrong with a feature's value, or None."""
    kind_of = type(value)
    if kind_of is float:
        return None if math.isfinite(value) else "outside the range of a 64-bit float"
    if kind_of is int:
        return None if -_LARGEST <= value < _LARGEST else "outside the range of a 64-bit integer"
    if kind_of in (dict, list):
        return f"{_KINDS[kind_of]}; a feature is a string, a number, a boolean or null"
    return None


def kind(value: Any) -> str:
    """Its JSON type, with an article."""
    return _KINDS.get(type(value), "a number")


def shown(name: str) -> str:
    """A feature's name, to be read in one line."""
    return name[:100] if name.isprintable() else ascii(name[:100])
