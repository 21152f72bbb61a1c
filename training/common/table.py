"""Reads CSV tables row by row, so that a table may be larger than memory."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.common.failure import UserError

csv.field_size_limit(1024 * 1024)
MAX_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Line:
    """A data row and the place that a message names."""

    file: str
    number: int
    cells: list[str]

    @property
    def place(self) -> str:
        return f"{self.file} line {self.number}"


def read_lines(paths: Sequence[Path], wanted: Sequence[str]) -> Iterator[Line]:
    """The rows of CSV files with a header, each with the cells of the columns `wanted`, in that order.

    Files are read in the order given, and may have their columns in different orders, and more columns.
    Raises UserError for a file that is not a CSV, a missing or doubled column, and a row of another length
    than its header.
    """
    for path in paths:
        yield from _read_file(path, wanted)


def header_of(path: Path) -> list[str]:
    """The column names in a file's first line; raises UserError when it is no CSV."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return _header(path, _rows(path, csv.reader(stream, strict=True)))


def _read_file(path: Path, wanted: Sequence[str]) -> Iterator[Line]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        rows = _rows(path, reader)
        header = _header(path, rows)
        missing = [name for name in wanted if name not in header]
        if len(missing) == len(wanted):
            shown = ",".join(header)[:MAX_SHOWN]
            raise UserError(
                f"{path.name} is not the expected CSV: its first line, {shown!r}, names no known column"
            )
        if missing:
            raise UserError(f"{path.name}: column {', '.join(missing)} is missing from the header")
        places = [header.index(name) for name in wanted]
        for cells in rows:
            if len(cells) != len(header):
                if not cells:
                    continue  # an empty line
                line = f"{path.name} line {reader.line_num}"
                raise UserError(f"{line}: has {len(cells)} cells, the header has {len(header)}")
            yield Line(path.name, reader.line_num, [cells[place] for place in places])


def _header(path: Path, rows: Iterator[list[str]]) -> list[str]:
    header = next(rows, None)
    if not header:
        raise UserError(f"{path.name} is empty")
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise UserError(f"{path.name}: column {', '.join(doubled)} appears more than once in the header")
    return header


def _rows(path: Path, rows: Iterator[list[str]]) -> Iterator[list[str]]:
    try:
        yield from rows
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name} is not a CSV file: not UTF-8 text ({error.reason})") from error
    except csv.Error as error:
        raise UserError(f"{path.name} is not a CSV file: {error}") from error
