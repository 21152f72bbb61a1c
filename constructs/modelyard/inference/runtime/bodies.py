"""Request bodies by content type. A further format is one more function in `PARSERS`."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from .errors import ApiError, invalid_instances, malformed

_EXAMPLE = '{"model": "<name>", "instances": [{"<feature>": <value>, ...}, ...]}'
_KINDS = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
_LARGEST = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What is asked: rows of features, by name, for one model."""

    model: str
    instances: list[dict[str, Any]]


def parse(media_type: str, body: bytes, max_rows: int) -> Prediction:
    """Raises ApiError that says what is wrong and where; it never repeats values of rows."""
    parser = PARSERS.get(media_type)
    if parser is None:
        known = ", ".join(PARSERS)
        raise ApiError(415, "unsupported_media_type", f"content-type must be one of: {known}")
    if not body:
        raise malformed(f"the body is empty; send {_EXAMPLE}")
    return parser(body, max_rows)


def _parse_json(body: bytes, max_rows: int) -> Prediction:
    try:
        content = json.loads(body.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise malformed(f"the body is not UTF-8 (byte {error.start})") from error
    except RecursionError as error:
        raise malformed("the body is nested too deeply") from error
    except ValueError as error:
        raise malformed(f"the body is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise malformed(f"the body is {_kind(content)}; send {_EXAMPLE}")
    unknown = [name[:40] for name in content if name not in ("model", "instances")]
    if unknown:
        raise malformed(f"unknown member {unknown[0]!r}; send {_EXAMPLE}")
    for name, kind in (("model", str), ("instances", list)):
        if not isinstance(content.get(name), kind):
            found = f"is {_kind(content[name])}" if name in content else "is missing"
            raise malformed(f"{name} {found}; send {_EXAMPLE}")
    return Prediction(model=content["model"], instances=_rows(content["instances"], max_rows))


def _rows(instances: list[Any], max_rows: int) -> list[dict[str, Any]]:
    if not instances:
        raise invalid_instances("instances is empty; send at least one row")
    if len(instances) > max_rows:
        message = f"instances holds {len(instances)} rows; send at most {max_rows} per request"
        raise ApiError(422, "too_many_rows", message)
    for position, row in enumerate(instances):
        if not isinstance(row, dict) or not row:
            found = "an empty object" if row == {} else _kind(row)
            raise invalid_instances(f"instances[{position}] is {found}; a row is an object of features")
        for feature, value in row.items():
            problem = _problem(value)
            if problem:
                raise invalid_instances(f"instances[{position}].{feature[:100]} is {problem}")
    return instances


def _problem(value: Any) -> str | None:
    kind = type(value)
    if kind is float:
        return None if math.isfinite(value) else "outside the range of a 64-bit float"
    if kind is int:
        return None if -_LARGEST <= value < _LARGEST else "outside the range of a 64-bit integer"
    if kind in (dict, list):
        return f"{_KINDS[kind]}; a feature is a string, a number, a boolean or null"
    return None


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "a number")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


PARSERS: Mapping[str, Callable[[bytes, int], Prediction]] = {"application/json": _parse_json}
