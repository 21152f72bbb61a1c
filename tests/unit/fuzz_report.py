"""What a fuzz run did, in one line: `make fuzz` shows it."""

from __future__ import annotations

import time
from collections.abc import Mapping


def report(what: str, cases: int, began: float, seen: Mapping[object, int]) -> None:
    """Print how many cases it were, the seconds since `began` (of time.monotonic), and what came of them."""
    counts = ", ".join(f"{outcome}: {count}" for outcome, count in sorted(seen.items(), key=str))
    print(f"\nfuzz: {what}: {cases} cases in {time.monotonic() - began:.0f} s; {counts}")  # noqa: T201
