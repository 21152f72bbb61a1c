"""Properties of a template in the types that an API takes: parameters make strings of everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_SCALARS: dict[str, Callable[[Any], Any]] = {
    "string": lambda value: str(value).lower() if isinstance(value, bool) else str(value),
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": lambda value: (
        value if isinstance(value, bool) else {"true": True, "false": False}[value.lower()]
    ),
}


class PropertyError(Exception):
    """A property that the type does not take, or takes otherwise."""


def typed(properties: Any, shape: Any) -> Any:
    """Convert properties to a botocore shape; members that the shape lacks are left out.

    Example:
        >>> typed({"InitialInstanceCount": "1"}, variant_shape)
        {'InitialInstanceCount': 1}

    Raises:
        PropertyError: a value cannot be what the shape wants.
    """
    return _typed(properties, shape, "")


def refuse_unknown(
    logical_id: str, properties: Mapping[str, Any], known: frozenset[str], unsupported: frozenset[str]
) -> None:
    """Refuse properties as CloudFormation does, and by name those that only the local cloud lacks."""
    for name in properties:
        if name in unsupported:
            raise PropertyError(f"{logical_id}: the local cloud does not support the property {name}.")
        if name not in known:
            raise PropertyError(
                f"Properties validation failed for resource {logical_id} with message: #: extraneous key "
                f"[{name}] is not permitted"
            )


def _typed(value: Any, shape: Any, path: str) -> Any:
    kind = shape.type_name
    try:
        if kind == "structure":
            return {
                name: _typed(value[name], member, f"{path}/{name}")
                for name, member in shape.members.items()
                if value.get(name) is not None
            }
        if kind == "list":
            return [_typed(item, shape.member, f"{path}/{index}") for index, item in enumerate(value)]
        if kind == "map":
            return {str(key): _typed(item, shape.value, f"{path}/{key}") for key, item in value.items()}
        return _SCALARS[kind](value)
    except (TypeError, ValueError, AttributeError, KeyError):
        raise PropertyError(f"Property validation failure: #{path}: {value!r} is no {kind}") from None
