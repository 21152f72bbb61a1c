"""Step 1: is the table what the pipeline needs? A JSON report either way, and one line on what is wrong.

Input `data`: CSV files with a header. Output `report`: data_report.json.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from training.classification.arguments import Split, parse_split
from training.classification.datasets import ClassSchema
from training.common.failure import UserError, run, say
from training.common.paths import files_in, processing_input, processing_output
from training.common.table import Line, header_of, read_lines
from training.tabular.validate import TableAudit, content_digest

MAX_CLASSES = 100
# Cross-validation needs each class in every fold, the test split at least one row of it.
MIN_CLASS_ROWS = 10


def main(arguments: Sequence[str]) -> None:
    schema, split = parse_split("validate", arguments)
    paths = files_in(processing_input("data"))
    if not paths:
        raise UserError("the input holds no file; check the parameter InputData")
    audit = ClassAudit(schema, split)
    audit.read(read_lines(paths, schema.table.header))
    ignored = sorted({name for path in paths for name in header_of(path)} - set(schema.table.header))
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
    shown = ", ".join(f"{name} {rows}" for name, rows in sorted(audit.classes.items()))
    say(f"{audit.rows} rows, {len(schema.table.columns)} features, classes {shown}: as expected")


class ClassAudit(TableAudit):
    """Checks rows as for any table, and the classes that they are labelled with."""

    def __init__(self, schema: ClassSchema, split: Split) -> None:
        super().__init__(schema.table, target_kind="categorical")
        self._positive = schema.positive
        self._split = split
        self.classes: Counter[str] = Counter()

    def add(self, line: Line) -> None:
        super().add(line)
        if line.cells[1]:
            self.classes[line.cells[1]] += 1

    def report(self) -> dict[str, Any]:
        report = super().report()
        return report | {"target": {**report["target"], "rows_by_class": dict(sorted(self.classes.items()))}}

    def table_problems(self) -> list[str]:
        return [*super().table_problems(), *self._class_problems()] if self.rows else super().table_problems()

    def _class_problems(self) -> list[str]:
        target, found = self.schema.target, self.classes
        if len(found) == 1:
            return [f"target {target} is {next(iter(found))!r} in every row: a classifier needs two classes"]
        if len(found) > MAX_CLASSES:
            return [f"target {target} has {len(found)} classes, at most {MAX_CLASSES}: is it a number?"]
        problems = []
        if self._positive and len(found) == 2 and self._positive not in found:
            names = " and ".join(sorted(found))
            problems.append(f"target {target} is {names}, one of them must be {self._positive!r}")
        if self._positive and len(found) > 2:
            problems.append(f"target {target} has {len(found)} classes, {self._positive!r} is one of two")
        # Where classes are not kept in proportion, chance decides how many rows of each are left to train on.
        least = max(MIN_CLASS_ROWS, math.ceil(1 / self._split.test_size) if self._split.stratify else 0)
        for name, rows in sorted(found.items()):
            if rows < least:
                problems.append(
                    f"target {target}: class {name!r} has {rows} rows, at least {least} are needed to split "
                    "and cross-validate it"
                )
        return problems


if __name__ == "__main__":
    raise SystemExit(run(main))
