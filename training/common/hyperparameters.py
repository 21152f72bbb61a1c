"""Hyperparameters, which SageMaker hands over as a JSON file of strings, into a typed dataclass."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, TypeVar

from training.common.failure import UserError
from training.common.paths import base_dir


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


T = TypeVar("T", bound=_Dataclass)


def read_hyperparameters(kind: type[T]) -> T:
    """`input/config/hyperparameters.json` as an instance of `kind`, whose fields are int, float or str.

    Raises UserError for an unknown name, a value of another type, or one that `kind` refuses with ValueError.
    """
    return build(kind, read_values())


def read_values() -> dict[str, Any]:
    """`input/config/hyperparameters.json` as it is; nothing where there is no such file."""
    path = base_dir() / "input" / "config" / "hyperparameters.json"
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise UserError(f"{path} must hold an object of names and values")
    return document


def build(kind: type[T], given: Mapping[str, Any]) -> T:
    """The values `given` as an instance of `kind`; raises UserError as `read_hyperparameters` does."""
    readers = {item.name: _READERS[str(item.type)] for item in dataclasses.fields(kind)}
    unknown = sorted(set(given) - set(readers))
    if unknown:
        raise UserError(f"unknown hyperparameter {unknown[0]!r}; known: {', '.join(sorted(readers))}")
    values: dict[str, Any] = {}
    for name, text in given.items():
        try:
            # The SDK quotes strings once more; numbers arrive as plain text.
            values[name] = readers[name](str(text).strip('"'))
        except ValueError:
            expected = readers[name].__name__
            raise UserError(f"hyperparameter {name} needs a value of type {expected}, got {text!r}") from None
    try:
        return kind(**values)
    except ValueError as error:
        raise UserError(f"hyperparameter {error}") from None


_READERS: dict[str, type[int] | type[float] | type[str]] = {"int": int, "float": float, "str": str}
