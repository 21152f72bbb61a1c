"""Request bodies by content type. A further format is one more function in `PARSERS`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import parse_qs

from . import csv_rows
from .errors import ApiError, invalid_images, invalid_instances, malformed, too_many_rows
from .http import Request
from .values import kind, problem, shown

_EXAMPLE = '{"model": "<name>", "instances": [{"<feature>": <value>, ...}, ...]}'
_IMAGES_EXAMPLE = '{"model": "<name>", "images": ["s3://<bucket>/<key>", ...]}'
_CSV_EXAMPLE = "POST /?model=<name> with a first line that names the features, and a line for each row"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What is asked of one model: rows of features, by name, or addresses of images, as they came."""

    model: str
    instances: list[dict[str, Any]] = field(default_factory=list)
    images: list[str] = field(default_factory=list)


def parse(request: Request, max_rows: int) -> Prediction:
    """Raises ApiError that says what is wrong and where; it never repeats values of rows."""
    parser = PARSERS.get(request.media_type)
    if parser is None:
        known = ", ".join(PARSERS)
        raise ApiError(415, "unsupported_media_type", f"content-type must be one of: {known}")
    if not request.body:
        raise malformed(f"the body is empty; send {_EXAMPLE}, or CSV: {_CSV_EXAMPLE}")
    return parser(request, max_rows)


def _parse_json(request: Request, max_rows: int) -> Prediction:
    try:
        content = json.loads(request.body.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise malformed(f"the body is not UTF-8 (byte {error.start})") from error
    except RecursionError as error:
        raise malformed("the body is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise malformed(f"the body is not JSON: {error}") from error
    except ValueError as error:
        # Python's bound on the digits of an integer.
        raise malformed("the body holds a number of thousands of digits; a feature has 64 bits") from error
    if not isinstance(content, dict):
        raise malformed(f"the body is {kind(content)}; send {_EXAMPLE}")
    unknown = [name[:40] for name in content if name not in ("model", "instances", "images")]
    if unknown:
        raise malformed(f"unknown member {unknown[0]!r}; send {_EXAMPLE}")
    if "instances" in content and "images" in content:
        raise malformed(f"instances and images are both given; send {_EXAMPLE}, or {_IMAGES_EXAMPLE}")
    items, example = ("images", _IMAGES_EXAMPLE) if "images" in content else ("instances", _EXAMPLE)
    for name, wanted in (("model", str), (items, list)):
        if not isinstance(content.get(name), wanted):
            found = f"is {kind(content[name])}" if name in content else "is missing"
            raise malformed(f"{name} {found}; send {example}")
    if items == "images":
        return Prediction(model=content["model"], images=_addresses(content["images"]))
    return Prediction(model=content["model"], instances=_rows(content["instances"], max_rows))


def _addresses(images: list[Any]) -> list[str]:
    if not images:
        raise invalid_images("images is empty; send at least one")
    for position, address in enumerate(images):
        if not isinstance(address, str):
            raise invalid_images(f"images[{position}] is {kind(address)}; send the address of an object")
    return images


def _rows(instances: list[Any], max_rows: int) -> list[dict[str, Any]]:
    if not instances:
        raise invalid_instances("instances is empty; send at least one row")
    if len(instances) > max_rows:
        message = f"instances holds {len(instances)} rows; send at most {max_rows} per request"
        raise too_many_rows(message)
    for position, row in enumerate(instances):
        if not isinstance(row, dict) or not row:
            found = "an empty object" if row == {} else kind(row)
            raise invalid_instances(f"instances[{position}] is {found}; a row is an object of features")
        for feature, value in row.items():
            wrong = problem(value)
            if wrong:
                raise invalid_instances(f"instances[{position}].{shown(feature)} is {wrong}")
    return instances


def _refuse_constant(name: str) -> NoReturn:
    raise malformed(f"the body is not JSON: {name} is no JSON number")


def _parse_csv(request: Request, max_rows: int) -> Prediction:
    try:
        named = parse_qs(request.query, keep_blank_values=True, errors="strict", max_num_fields=10)
    except ValueError as error:
        raise malformed(f"the query is not of the form ?model=<name>; send {_CSV_EXAMPLE}") from error
    unknown = [name[:40] for name in named if name != "model"]
    if unknown:
        raise malformed(f"unknown parameter {unknown[0]!r}; send {_CSV_EXAMPLE}")
    if len(named.get("model", [])) != 1:
        found = "is given twice" if named else "is missing in the query"
        raise malformed(f"model {found}; send {_CSV_EXAMPLE}")
    return Prediction(model=named["model"][0], instances=csv_rows.rows(request.body, max_rows))


PARSERS: Mapping[str, Callable[[Request, int], Prediction]] = {
    "application/json": _parse_json,
    "text/csv": _parse_csv,
}
