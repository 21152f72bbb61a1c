"""What the local cloud has dropped is the system's again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from localcloud import memory

ROOT = Path(__file__).resolve().parents[2]
# Long lines give way to short ones, which take their memory from elsewhere.
SCRIPT = """
import psutil
from localcloud.memory import give_back
process = psutil.Process()
long = ["x" * 10_000 for _ in range(4000)]
last = "x" * 10_000  # above them, so that the heap cannot shrink by itself
del long
before = process.memory_info().rss
give_back()
print(before - process.memory_info().rss)
"""


def test_freed_memory_is_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    )
    # Another C library has no such call.
    assert int(done.stdout) > 20_000_000 or memory._trim() is None


def test_without_that_call_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_trim", lambda: None)
    memory.give_back()
