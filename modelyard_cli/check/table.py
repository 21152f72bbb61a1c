"""The table of rules in docs/check.md: `python -m modelyard_cli.check.table` writes it anew."""

from __future__ import annotations

import sys
from pathlib import Path

from modelyard_cli.check.registry import all_rules

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "check.md"
START, END = "<!-- rules -->", "<!-- end of rules -->"


def table() -> str:
    """Every rule with its title and remedy, in Markdown."""
    rows = ["| Rule | Finds | Remedy |", "|---|---|---|"]
    for rule in all_rules().values():
        rows.append(
            "| " + " | ".join(text.replace("|", "\\|") for text in (rule.id, rule.title, rule.remedy)) + " |"
        )
    return "\n".join(rows)


def write() -> None:
    """Put the table between its marks."""
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{START}\n{table()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    write()
    sys.stdout.write(f"{DOCUMENT}\n")
