"""Requests and responses against botocore's service model of SageMaker.

botocore's own validator skips enums, patterns, lengths and ranges, which the service enforces. The messages
are those of the service, see https://docs.aws.amazon.com/sagemaker/latest/APIReference/CommonErrors.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

import botocore.loaders
import botocore.model

from localcloud.sagemaker.errors import ServiceError, validation

_SHOWN_CHARACTERS = 1024  # a rejected body must not come back whole in its error
_SCALARS: dict[str, tuple[str, tuple[type, ...]]] = {
    "string": ("String", (str,)),
    "integer": ("Integer", (int,)),
    "long": ("Long", (int,)),
    "float": ("Float", (int, float)),
    "double": ("Double", (int, float)),
    "boolean": ("Boolean", (bool,)),
    "timestamp": ("Timestamp", (int, float)),
    "blob": ("Blob", (bytes, str)),
}
# Java's character classes, as near as Python's expressions come.
_JAVA_CLASSES = {
    "L": r"\w",
    "N": r"\w",
    "Z": " \u00a0\u2000-\u200a\u202f\u205f\u3000",
    "M": "\u0300-\u036f",
    "S": r"$+<=>^`|~\u00a2-\u00bf\u20a0-\u2bff\U0001f000-\U0001faff",
    "P": r"!-#%-*,-/:;?@\[-\]_{}\u00a1-\u00bf\u2010-\u205e",
    "Alnum": "a-zA-Z0-9",
    "ASCII": r"\x00-\x7f",
    "Print": r"\x20-\x7e",
}


@cache
def service_model(service: str = "sagemaker") -> botocore.model.ServiceModel:
    """Load a service's model once, at the first request that needs it (9 MB for `sagemaker`)."""
    description = botocore.loaders.Loader().load_service_model(service, "service-2")
    return botocore.model.ServiceModel(description, service)


def input_shape(operation: str, service: str = "sagemaker") -> Any:
    """The shape of an operation's request, or None when it takes nothing."""
    return service_model(service).operation_model(operation).input_shape


def output_shape(operation: str, service: str = "sagemaker") -> Any:
    """The shape of an operation's answer, or None when it is empty."""
    return service_model(service).operation_model(operation).output_shape


def check(request: dict[str, Any], shape: Any) -> dict[str, Any]:
    """Check a request and return it without nulls and without members the shape does not have.

    Raises:
        ServiceError: SerializationException for a wrong type, ValidationException for wrong values, with
            every violation in one message as the service writes it.
    """
    if shape is None:
        return {}
    clean: dict[str, Any] = _typed(request, shape)
    violations = list(_violations(clean, shape, ""))
    if violations:
        count = len(violations)
        noun = "error" if count == 1 else "errors"
        raise validation(f"{count} validation {noun} detected: {'; '.join(violations)}")
    return clean


def check_value(value: Any, shape: Any) -> None:
    """Check one value against the shape of a scalar, as `check` does within a request."""
    _typed(value, shape)
    rules = (_length_rule(value, shape), _text_rule(value, shape), _range_rule(value, shape))
    if broken := [rule for rule in rules if rule]:
        raise validation(f"'{_shown(value)}' is refused: {'; '.join(broken)}")


def serialise(value: Any, shape: Any) -> Any:
    """Keep what the shape has: private members and request members that Describe omits fall away."""
    if shape is None:
        return {}
    if shape.type_name == "structure" and isinstance(value, dict):
        return {
            name: serialise(value[name], member)
            for name, member in shape.members.items()
            if value.get(name) is not None
        }
    if shape.type_name == "list" and isinstance(value, list | tuple):
        return [serialise(item, shape.member) for item in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {key: serialise(item, shape.value) for key, item in value.items()}
    return value


def _typed(value: Any, shape: Any) -> Any:
    kind = shape.type_name
    if kind == "structure":
        _expect(value, dict, "Structure")
        return {
            name: _typed(value[name], member)
            for name, member in shape.members.items()
            if value.get(name) is not None
        }
    if kind == "list":
        _expect(value, list, "List")
        return [None if item is None else _typed(item, shape.member) for item in value]
    if kind == "map":
        _expect(value, dict, "Map")
        return {key: None if item is None else _typed(item, shape.value) for key, item in value.items()}
    name, types = _SCALARS[kind]
    if not isinstance(value, types) or (isinstance(value, bool) and kind != "boolean"):
        raise _wrong_type(value, name)
    return value


def _expect(value: Any, kind: type, name: str) -> None:
    if not isinstance(value, kind):
        raise _wrong_type(value, name)


def _wrong_type(value: Any, wanted: str) -> ServiceError:
    if isinstance(value, bool):
        found = "TRUE_VALUE" if value else "FALSE_VALUE"
    else:
        tokens = {"str": "STRING_VALUE", "dict": "START_OBJECT", "list": "START_ARRAY"}
        found = tokens.get(type(value).__name__, "NUMBER_VALUE")
    return ServiceError(
        "SerializationException", f"{found} can not be converted to {_article(wanted)} {wanted}"
    )


def _article(noun: str) -> str:
    return "an" if noun[0] in "AEIOU" else "a"


def _violations(value: Any, shape: Any, path: str) -> Iterator[str]:
    if value is None:
        yield _violation(None, path, "Member must not be null")
        return
    kind = shape.type_name
    if kind == "structure":
        for name in shape.required_members:
            if name not in value:
                yield _violation(None, _join(path, name), "Member must not be null")
        for name, item in value.items():
            yield from _violations(item, shape.members[name], _join(path, name))
        return
    rules = [_length_rule(value, shape), _text_rule(value, shape), _range_rule(value, shape)]
    # What the model calls sensitive, a request's body for one, stays out of messages.
    shown = "***" if shape.metadata.get("sensitive") else value
    yield from (_violation(shown, path, rule) for rule in rules if rule)
    if kind == "list":
        for index, item in enumerate(value, start=1):
            yield from _violations(item, shape.member, f"{path}.{index}.member")
    elif kind == "map":
        for key, item in value.items():
            yield from _violations(key, shape.key, f"{path}.key")
            yield from _violations(item, shape.value, f"{path}.{key}.member")


def _length_rule(value: Any, shape: Any) -> str | None:
    if shape.type_name not in ("list", "map", "string", "blob"):
        return None
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and len(value) < low:
        return f"Member must have length greater than or equal to {low}"
    if high is not None and len(value) > high:
        return f"Member must have length less than or equal to {high}"
    return None


def _text_rule(value: Any, shape: Any) -> str | None:
    if shape.type_name != "string":
        return None
    if "\0" in value:
        return "Member must not contain null characters"
    if shape.enum and value not in shape.enum:
        return f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
    pattern = shape.metadata.get("pattern")
    if pattern and not compiled(pattern).fullmatch(value):
        return f"Member must satisfy regular expression pattern: {pattern}"
    return None


def _range_rule(value: Any, shape: Any) -> str | None:
    if shape.type_name not in ("integer", "long", "float", "double"):
        return None
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and value < low:
        return f"Member must have value greater than or equal to {low}"
    if high is not None and value > high:
        return f"Member must have value less than or equal to {high}"
    return None


@lru_cache(maxsize=512)
def compiled(pattern: str) -> re.Pattern[str]:
    """Translate one of the model's Java patterns. Raises re.error for what Python cannot say."""
    # Java writes characters beyond the first plane as two halves.
    pattern = pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF")
    parts = re.split(r"(\\p\{\w+\}|\\.|\[|\])", pattern)
    inside, translated = False, ""
    for part in parts:
        if part.startswith(r"\p{"):
            members = _JAVA_CLASSES[part[3:-1]]
            translated += members if inside else f"[{members}]"
        elif part == r"\z":
            translated += r"\Z"
        else:
            inside = {"[": True, "]": False}.get(part, inside)
            translated += part
    # Two patterns carry a length after the end anchor, which means nothing in Java and is refused here.
    return re.compile(re.sub(r"\$\{\d+,\d+\}$", "$", translated))


def _violation(value: Any, path: str, rule: str) -> str:
    shown = "null" if value is None else f"'{_shown(value)}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {rule}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        text = f"[{', '.join(_shown(item) for item in value)}]"
    elif isinstance(value, dict):
        text = f"{{{', '.join(f'{key}={_shown(item)}' for key, item in value.items())}}}"
    else:
        text = str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def _join(path: str, name: str) -> str:
    # The service names members as its Java code does, with a lower-case first letter.
    member = name[0].lower() + name[1:]
    return f"{path}.{member}" if path else member
