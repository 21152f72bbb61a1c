"""Step 1: is the table what the pipeline needs? A JSON report either way, and one line on what is wrong.

Input `data`: CSV files with a header. Output `report`: data_report.json.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.common.failure import UserError, run, say
from training.common.features import Feature, Kind
from training.common.paths import files_in, processing_input, processing_output
from training.common.table import Line, header_of, read_lines
from training.tabular.arguments import parse_schema
from training.tabular.datasets import TableSchema

SHOWN_PROBLEMS = 20
MIN_ROWS = 20


def main(arguments: Sequence[str]) -> None:
    schema = parse_schema("validate", arguments)
    paths = files_in(processing_input("data"))
    if not paths:
        raise UserError("the input holds no file; check the parameter InputData")
    lines = read_lines(paths, schema.header)
    audit = TableAudit(schema)
    audit.read(lines)
    ignored = sorted({name for path in paths for name in header_of(path)} - set(schema.header))
    report = audit.report() | {
        "files": [path.name for path in paths],
        "sha256": content_digest(paths),
        "ignored_columns": ignored,
    }
    text = json.dumps(report, indent=1, allow_nan=False) + "\n"
    (processing_output("report") / "data_report.json").write_text(text, encoding="utf-8")
    problems = audit.problems()
    if problems:
        more = f" (and {audit.problem_count - 1} more)" if audit.problem_count > 1 else ""
        raise UserError(problems[0] + more)
    say(f"{audit.rows} rows, {len(schema.columns)} features: as expected")


def content_digest(paths: Sequence[Path]) -> str:
    """The version of the data: SHA-256 of the file, or of the digests of several, in order."""
    digests = []
    for path in paths:
        with path.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


@dataclass(slots=True)
class ColumnAudit:
    """Running statistics of one column."""

    feature: Feature
    missing: int = 0
    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    smallest: float = math.inf
    largest: float = -math.inf
    categories: set[str] = field(default_factory=set)

    def add(self, cell: str) -> None:
        """Raises ValueError if the cell is not what the column holds."""
        value = self.feature.parse(cell)
        if value is None:
            self.missing += 1
        elif isinstance(value, str):
            self.count += 1
            if len(self.categories) < 10_000:
                self.categories.add(value)
        else:
            # Welford's update: one pass, and no cancellation for large values.
            self.count += 1
            delta = value - self.mean
            self.mean += delta / self.count
            self.squares += delta * (value - self.mean)
            self.smallest = min(self.smallest, value)
            self.largest = max(self.largest, value)

    def report(self) -> dict[str, Any]:
        base: dict[str, Any] = {"kind": self.feature.kind, "present": self.count, "missing": self.missing}
        if self.feature.kind == "categorical":
            return base | {"categories": len(self.categories)}
        if not self.count:
            return base
        spread = math.sqrt(self.squares / self.count)
        return base | {
            "min": self.smallest,
            "max": self.largest,
            "mean": self.mean,
            "standard_deviation": spread,
        }


class TableAudit:
    """Checks rows against a schema, one at a time, and remembers the first problems."""

    def __init__(self, schema: TableSchema, target_kind: Kind = "numeric") -> None:
        self.schema = schema
        self.target = ColumnAudit(Feature(schema.target, target_kind))
        self.columns = [ColumnAudit(column.feature) for column in schema.columns]
        self.rows = 0
        self._ids: set[str] = set()
        self._row_problems: list[str] = []
        self._row_problem_count = 0

    def read(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self.add(line)

    def add(self, line: Line) -> None:
        self.rows += 1
        identifier, target, *cells = line.cells
        if not identifier:
            self._problem(f"{line.place}: {self.schema.id} is empty")
        elif identifier in self._ids:
            self._problem(f"{line.place}: {self.schema.id} {identifier!r} appears twice")
        self._ids.add(identifier)
        if not target:
            self._problem(f"{line.place}: target {self.schema.target} is empty")
        for audit, cell in zip([self.target, *self.columns], [target, *cells], strict=True):
            try:
                audit.add(cell)
            except ValueError as error:
                self._problem(f"{line.place}: column {audit.feature.name}: {error}")

    @property
    def problem_count(self) -> int:
        return self._row_problem_count + len(self.table_problems())

    def problems(self) -> list[str]:
        """The first problems, those of single rows first: they explain most of the others."""
        return (self._row_problems + self.table_problems())[:SHOWN_PROBLEMS]

    def report(self) -> dict[str, Any]:
        """What `data_report.json` holds."""
        return {
            "rows": self.rows,
            "valid": not self.problem_count,
            "problem_count": self.problem_count,
            "problems": self.problems(),
            "target": {"name": self.schema.target, **self.target.report()},
            "columns": {audit.feature.name: audit.report() for audit in self.columns},
        }

    def table_problems(self) -> list[str]:
        """What is wrong with the table as a whole, known when all rows were read."""
        if not self.rows:
            return ["the table has a header but no rows"]
        problems = []
        if self.rows < MIN_ROWS:
            problems.append(f"the table has {self.rows} rows, at least {MIN_ROWS} are needed to split it")
        if self.target.count > 1 and self.target.smallest == self.target.largest:
            value = self.target.smallest
            problems.append(
                f"target {self.schema.target} is {value:g} in every row: there is nothing to learn"
            )
        for column, audit in zip(self.schema.columns, self.columns, strict=True):
            share = audit.missing / self.rows
            if share > column.max_missing:
                limit = f"at most {column.max_missing:.0%} may be" if column.max_missing else "none may be"
                problems.append(f"column {column.name} is empty in {share:.1%} of the rows, {limit}")
        return problems

    def _problem(self, text: str) -> None:
        self._row_problem_count += 1
        if len(self._row_problems) < SHOWN_PROBLEMS:
            self._row_problems.append(text)


if __name__ == "__main__":
    raise SystemExit(run(main))
