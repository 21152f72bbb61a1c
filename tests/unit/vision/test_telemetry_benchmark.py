"""The benchmark of telemetry counts what it says, and its bound bites."""

from __future__ import annotations

import pytest

from benchmarks import telemetry


def test_the_share_is_of_a_step_and_its_part_of_a_line() -> None:
    # 100 us a step, and 20 ms a line every 200 steps: 200 us of 50 ms.
    figures = telemetry.summary([0.0, 0.01], [0.02, 0.03], [0.02, 0.02])
    assert figures["step_us"] == {"median": 100.0, "min": 100.0, "max": 100.0}
    assert figures["line_us"]["median"] == 20_000.0
    assert figures["share_of_a_50_ms_step"]["median"] == pytest.approx(0.004)
    assert figures["holds"]
    assert not telemetry.summary([0.0], [0.08], [0.02])["holds"]


def test_it_runs() -> None:
    figures = telemetry.measure(rounds=2)
    assert figures["line_us"]["min"] > 0
    assert figures["bytes_held_by_a_step_until_the_next_line"] > 0
