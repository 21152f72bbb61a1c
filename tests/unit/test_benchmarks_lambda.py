"""What the benchmark of the inference function computes, and that it runs."""

from __future__ import annotations

import pytest

from benchmarks.lambda_overhead import measure, summary


def start(wall: float, cpu: float = 1.0) -> dict[str, float]:
    return {"wall": wall, "cpu": cpu}


def calls(*milliseconds: float) -> dict[str, list[float]]:
    return {"wall": list(milliseconds), "cpu": [value / 2 for value in milliseconds]}


def test_a_slow_round_changes_neither_figure() -> None:
    """A machine that halves its speed in one round does so for both."""
    figures = summary(
        {"handler": [start(1.0), start(2.0)], "boto3": [start(1.0, 2.0), start(2.0, 2.0)]},
        [
            {"bare": calls(2.0, 3.0, 90.0), "handler": calls(2.4, 3.5, 4.0)},
            {"bare": calls(4.0), "handler": calls(5.0)},
            {"bare": calls(2.0), "handler": calls(2.3)},
        ],
    )
    assert figures["cold_ratio"]["median"] == 1.0
    assert figures["cold_ratio_cpu"]["median"] == 0.5
    assert figures["overhead_p50_ms"] == {"median": 0.5, "min": 0.3, "max": 1.0}
    assert figures["overhead_cpu_ms"]["median"] == 0.25
    assert figures["requests"] == 5
    assert figures["holds"]


@pytest.mark.parametrize(
    ("handler", "over", "holds"), [(1.15, 1.0, True), (1.16, 1.0, False), (1.0, 1.1, False)]
)
def test_each_bound_holds_or_not(handler: float, over: float, holds: bool) -> None:
    cold = {"handler": [start(handler)], "boto3": [start(1.0)]}
    assert summary(cold, [{"bare": calls(2.0), "handler": calls(2.0 + over)}])["holds"] is holds


@pytest.mark.timeout(180)
def test_it_runs() -> None:
    figures = measure(starts=1, rounds=1, requests=5)
    assert figures["requests"] == 5
    assert 0.2 < figures["cold_ratio_cpu"]["median"] < 5
    assert 0 < figures["bare_cpu_ms"] < figures["handler_p50_ms"]
