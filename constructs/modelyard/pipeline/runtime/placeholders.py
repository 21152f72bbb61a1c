"""`${Name}` in a definition's strings becomes the value that the stack knows only at deployment."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from .errors import PipelineError

_PLACEHOLDER = re.compile(r"\$\{([A-Za-z][A-Za-z0-9]*)\}")


def substitute(definition: Any, values: Mapping[str, str]) -> Any:
    """The definition with every placeholder replaced; the argument stays as it is.

    Works on parsed JSON, so that no value can break out of its string, and in one pass, so that no value
    is read as a placeholder itself.

    Raises PipelineError for a placeholder without a value (with the place), a value that no placeholder
    asks for, an empty value, and for `${` that is no placeholder.
    """
    for name, value in values.items():
        if not value or "${" in value:
            raise PipelineError(f"the value of ${{{name}}} is empty or holds a placeholder itself")
    used: set[str] = set()

    def replace(text: str, place: str) -> str:
        if "${" not in text:
            return text
        names = _PLACEHOLDER.findall(text)
        if text.count("${") != len(names):
            raise PipelineError(f"{place}: {text!r} holds '${{' that is no placeholder of the form ${{Name}}")
        missing = sorted({name for name in names if name not in values})
        if missing:
            known = ", ".join(sorted(values)) or "none"
            raise PipelineError(f"{place}: no value for ${{{missing[0]}}}; values given: {known}")
        used.update(names)
        return _PLACEHOLDER.sub(lambda match: values[match[1]], text)

    result = map_strings(definition, replace)
    unknown = sorted(values.keys() - used)
    if unknown:
        raise PipelineError(f"value given for {', '.join(unknown)}, which the definition does not ask for")
    return result


def map_strings(value: Any, change: Callable[[str, str], str], place: str = "") -> Any:
    """Applies `change(text, place)` to every string value; a place reads `Steps[Train].Arguments.RoleArn`."""
    if isinstance(value, str):
        return change(value, place)
    if isinstance(value, dict):
        for key in value:
            if "${" in key:
                raise PipelineError(f"{place}: the name {key!r} holds a placeholder; only values may")
        return {
            key: map_strings(member, change, f"{place}.{key}" if place else key)
            for key, member in value.items()
        }
    if isinstance(value, list):
        return [map_strings(item, change, f"{place}[{_label(item, i)}]") for i, item in enumerate(value)]
    return value


def _label(item: Any, index: int) -> str:
    name = item.get("Name") if isinstance(item, dict) else None
    return name if isinstance(name, str) else str(index)
