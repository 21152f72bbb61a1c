"""What the benchmarks of the demo and of the definitions make of their runs."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import definitions, demo
from benchmarks.harness import Sample


def run(seconds: float, phases: float) -> demo.Run:
    result: dict[str, Any] = {
        "total_seconds": phases,
        "phases": {"deploy": phases},
        "execution": {"seconds": 5.0},
        "outputs": {"FunctionUrl": "https://localhost"},
    }
    return demo.Run(seconds, result)


@pytest.mark.parametrize(
    ("first", "second", "holds"), [(150.0, 47.0, True), (47.0, 60.5, False), (60.5, 60.0, True)]
)
def test_the_second_demo_is_held_against_the_bound(first: float, second: float, holds: bool) -> None:
    figures = demo.figures([run(first, 40.0), run(second, 39.0)])
    assert figures["holds"] is holds
    assert [r["wall_s"] for r in figures["runs"]] == [first, second]
    assert figures["runs"][1] == {
        "wall_s": second,
        "phases_s": 39.0,
        "phases": {"deploy": 39.0},
        "pipeline_s": 5.0,
    }


@pytest.mark.parametrize(("wall", "holds"), [((15.0, 16.0, 90.0), True), ((31.0, 15.0, 40.0), False)])
def test_the_median_build_is_held_against_the_bound(wall: tuple[float, ...], holds: bool) -> None:
    figures = definitions.figures(Sample(wall), Sample((12.0, 12.0, 12.0)))
    assert figures["holds"] is holds
    assert figures["definitions"] >= 6


def test_a_missing_sdk_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(definitions, "PYTHON", tmp_path / "python")
    with pytest.raises(RuntimeError, match=r"tools/setup\.py sdk"):
        definitions.measure()
