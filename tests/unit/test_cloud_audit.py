"""Whoever decides does not wait for the disk."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localcloud.aws.audit import Audit


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Audit]:
    made = Audit(tmp_path / "audit.jsonl")
    yield made
    made.close()


def actions(path: Path) -> list[str]:
    return [json.loads(line)["action"] for line in path.read_text().splitlines()]


def test_a_decision_is_noted_while_others_are_written(audit: Audit, tmp_path: Path) -> None:
    writing, free = threading.Event(), threading.Event()
    file: Any = audit._file

    class Slow:
        closed = False

        def write(self, text: str) -> None:
            writing.set()
            assert free.wait(60)
            file.write(text)

        def flush(self) -> None:
            file.flush()

        def close(self) -> None:
            file.close()

    audit._file = Slow()  # type: ignore[assignment]
    audit.record("p", "first", "*", "Allow")
    assert writing.wait(60)
    done = threading.Thread(target=audit.record, args=("p", "second", "*", "Allow"), daemon=True)
    done.start()
    done.join(30)
    waited = done.is_alive()
    free.set()
    audit.close()
    assert not waited
    assert actions(tmp_path / "audit.jsonl") == ["first", "second"]


def test_lines_stay_whole_and_in_order(audit: Audit, tmp_path: Path) -> None:
    for number in range(500):
        audit.record("p", str(number), "*", "Allow")
        if number % 7 == 0:
            audit.flush()
    audit.close()
    assert actions(tmp_path / "audit.jsonl") == [str(number) for number in range(500)]
