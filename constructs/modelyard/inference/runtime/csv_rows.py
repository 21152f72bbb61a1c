"""Rows from CSV (RFC 4180, UTF-8): the first line names the features.

A value that is written as JSON writes numbers is a number, an empty one is null, all else is text; so is a
number in quotes, for categories that look like numbers, and a number with leading zeros.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from modelyard.runtime.limits import INVOKE_BYTES

from .errors import ApiError, invalid_instances, malformed, too_many_rows
from .values import problem

# A value and what ends it. `csv` does not tell which values were in quotes, nor in which column it failed.
_CELL = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^",\r\n]*))(,|\r\n|\n|\Z)')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
# Characters; longer ones do not fit into 64 bits, and Python refuses to read very long ones.
_LONGEST_INTEGER = 21

_FORM = "quotes enclose a whole value and are doubled in it, lines end in LF or CRLF"

Cell = tuple[str, bool]


def rows(body: bytes, max_rows: int) -> list[dict[str, Any]]:
    """Raises ApiError with line and column, both from 1."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise malformed(f"the body is not UTF-8 (byte {error.start})") from error
    records = _records(text)
    names = _header(next(records)[1])
    json_row = len(json.dumps(dict.fromkeys(names)))
    found: list[dict[str, Any]] = []
    for line, cells in records:
        if len(found) == max_rows:
            raise too_many_rows(f"more than {max_rows} rows; send at most {max_rows} per request")
        if len(cells) != len(names):
            raise malformed(f"line {line} has {len(cells)} values; the header names {len(names)}")
        # Each row repeats the names: a short body with long ones would fill the memory.
        if len(body) + json_row * (len(found) + 1) > INVOKE_BYTES:
            message = f"the rows are over {INVOKE_BYTES} bytes as JSON; send them in several requests"
            raise ApiError(413, "body_too_large", message)
        found.append(_row(line, names, cells))
    if not found:
        raise invalid_instances("there is no row after the header; send at least one")
    return found


def _records(text: str) -> Iterator[tuple[int, list[Cell]]]:
    """Each record with the number of its first line. The last line may lack its end."""
    position, line, lines = 0, 1, 1
    cells: list[Cell] = []
    while True:
        match = _CELL.match(text, position)
        if match is None:
            place = f"line {line}, column {len(cells) + 1}"
            raise malformed(f"{place}: {_FORM}")
        quoted, plain, end = match.groups()
        cells.append((plain, False) if quoted is None else (quoted.replace('""', '"'), True))
        position = match.end()
        lines += 0 if quoted is None else quoted.count("\n")
        if end == ",":
            continue
        yield line, cells
        if position == len(text):
            return
        lines += 1
        line, cells = lines, []


def _header(cells: list[Cell]) -> list[str]:
    names = [name for name, _ in cells]
    seen: set[str] = set()
    for column, name in enumerate(names, 1):
        if not name:
            raise malformed(f"line 1, column {column} has no name; the first line names the features")
        if name in seen:
            raise malformed(f"line 1, column {column}: {name[:100]!r} is named twice")
        seen.add(name)
    return names


def _row(line: int, names: list[str], cells: list[Cell]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, (text, quoted) in zip(names, cells, strict=True):
        value = _value(text, quoted)
        wrong = problem(value)
        if wrong:
            place = f"line {line}, column {len(row) + 1} ({name[:100]!r})"
            raise invalid_instances(f"{place} is {wrong}")
        row[name] = value
    return row


def _value(text: str, quoted: bool) -> Any:
    if not text:
        return None
    number = None if quoted else _NUMBER.fullmatch(text)
    if number is None:
        return text
    # What is cut off decides nothing: so many digits are outside the range.
    return int(text[:_LONGEST_INTEGER]) if number.lastindex is None else float(text)
