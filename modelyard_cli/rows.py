"""Rows to predict, from the files people have: JSON, JSON lines, CSV with a header."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from modelyard_cli.errors import CliError

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """Feature rows of `path`, by its suffix: .json (a list, or {"instances": [...]}), .jsonl, .csv.

    Raises:
        CliError: not readable, another format, or no rows; the message names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{path}: cannot be read as text ({error})") from error
    match path.suffix.lower():
        case ".json":
            rows = _json(path, text)
        case ".jsonl" | ".ndjson":
            rows = [
                _json_line(path, number, line) for number, line in enumerate(text.splitlines(), 1) if line
            ]
        case ".csv":
            rows = [
                {name: _number_or_text(value) for name, value in row.items() if value != ""}
                for row in csv.DictReader(io.StringIO(text))
            ]
        case other:
            raise CliError(f"{path}: {other or 'no suffix'} is not a known format; use .json, .jsonl or .csv")
    if not rows:
        raise CliError(f"{path}: no rows")
    return rows


def _json(path: Path, text: str) -> list[Row]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise CliError(f"{path}: not JSON ({error})") from error
    rows = document.get("instances") if isinstance(document, dict) else document
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise CliError(f'{path}: expected a list of objects, or {{"instances": [...]}}')
    return rows


def _json_line(path: Path, number: int, line: str) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise CliError(f"{path} line {number}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise CliError(f"{path} line {number}: expected an object")
    return row


def _number_or_text(value: str) -> float | str:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
