"""What the soak makes of its samples and answers."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import soak
from benchmarks.growth import Sample, by_role, trend
from benchmarks.traffic import Answer, Traffic, percentile

TIMES = [2.0 * number for number in range(120)]


def test_noise_is_no_growth() -> None:
    chance = random.Random(3)
    found = trend(TIMES, [100 + chance.gauss(0, 2) for _ in TIMES], bound=3.0)
    assert found.low < 0 < found.high
    assert found.holds


def test_a_leak_below_the_noise_is_found_and_its_size_is_right() -> None:
    chance = random.Random(3)
    leak = [100 + at / TIMES[-1] * 6 + chance.gauss(0, 2) for at in TIMES]
    found = trend(TIMES, leak, bound=3.0)
    assert not found.holds
    assert found.low < 6 < found.high
    assert abs(found.growth - 6) < 1.5


def test_too_few_samples_say_nothing() -> None:
    with pytest.raises(ValueError, match="sample for longer"):
        trend([0.0, 1.0], [1.0, 1.0], bound=1.0)


def sample(at: float, pid: int, role: str = "server", rss_mb: float = 10.0) -> Sample:
    return Sample(at=at, pid=pid, role=role, rss_mb=rss_mb, handles=5, threads=2)


def test_only_processes_that_last_count() -> None:
    samples = [sample(0, 1), sample(0, 2), sample(1, 1), sample(1, 3), sample(2, 1), sample(2, 2)]
    samples += [sample(at, 9, "cloud", 50.0) for at in range(3)] + [sample(1, 7, "passing")]
    totals = by_role(samples)
    assert [each.rss_mb for each in totals["server"]] == [10.0, 10.0, 10.0]
    assert set(totals) == {"server", "cloud"}


def test_the_share_of_the_requests_within_a_time() -> None:
    answers = [Answer(at=0.0, seconds=number / 100, status=200) for number in range(100)]
    assert (percentile(answers, 0.5), percentile(answers, 0.99), percentile(answers, 1.0)) == (
        0.5,
        0.99,
        0.99,
    )


class FakeCaller:
    def ask(self, at: float | None = None) -> Answer:
        return Answer(at=at or 0.0, seconds=0.0, status=503, code="not_ready")


def test_traffic_keeps_its_timetable() -> None:
    caller: Any = FakeCaller()
    with Traffic(caller, callers=2, per_second=200.0) as traffic:
        while len(traffic.answers) < 20:
            time.sleep(0.01)
    times = sorted(answer.at for answer in traffic.answers)
    steps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(step == pytest.approx(0.005, abs=1e-6) for step in steps)
    assert len(traffic.failed) == len(traffic.answers)


class FakeChurn:
    def __init__(self) -> None:
        self.done = Counter({"approved": 3})
        self.problems: list[str] = []


def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, status: int = 200, leak: float = 0.0) -> Any:
    monkeypatch.setattr(soak, "OUT", tmp_path)
    samples = [
        sample(at, number, role, rss_mb=100.0 + leak * at)
        for at in TIMES
        for number, role in enumerate((soak.SERVERS, soak.CLOUD))
    ]
    answers = [Answer(at=at, seconds=0.01, status=200, model="m", version=1) for at in TIMES]
    answers.append(Answer(at=0, seconds=0.02, status=status, code="" if status == 200 else "not_ready"))
    churn: Any = FakeChurn()
    return soak.summary(4.0, 100.0, answers, samples, churn)


def test_a_soak_without_failure_and_growth_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = figures(tmp_path, monkeypatch)
    assert found["holds"]
    assert (found["failed"], found["asked_per_second"]) == ({}, 70.0)
    assert ElementTree.fromstring((tmp_path / "soak.svg").read_text()).tag.endswith("svg")


def test_one_failed_request_or_a_leak_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = figures(tmp_path, monkeypatch, status=503)
    assert (failed["holds"], failed["failed"]) == (False, {"503 not_ready": 1})
    assert not figures(tmp_path, monkeypatch, leak=0.1)["holds"]
