"""docs/failures.md names each fault that is tried, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_names_each_test_of_a_fault_once() -> None:
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs" / "failures.md").read_text(encoding="utf-8"))
    written = [
        name
        for path in sorted((ROOT / "tests" / "local" / "faults").glob("test_serving_faults_*.py"))
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), flags=re.M)
    ]
    assert sorted(named) == sorted(written)
