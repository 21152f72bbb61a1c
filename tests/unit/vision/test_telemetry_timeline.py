"""The picture of a job's recoveries, from the lines that its telemetry wrote."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import recovery_timeline
from benchmarks.recovery_timeline import as_svg, lives, read
from tests.unit.vision.telemetry_support import BEGAN, Clock, Job
from training.vision.telemetry.lines import Output


def story(folder: Path) -> None:
    """Killed after step 12, whose last checkpoint was at 10, back after 8 s on one host; then stopped."""
    clock = Clock()
    first = Job(folder / "one", clock=clock)
    first.path = folder / "attempt-001-rank-00000.jsonl"
    first.telemetry._output = Output(first.path)
    first.telemetry.begin(total=20)
    for number in range(1, 13):
        first.step(number, wait=0.0, computes=1.0)
        if number == 10:
            record = first.telemetry.record()
            first.telemetry.saved(record, 10)
    first.telemetry.emit()
    clock.passed += 8.0
    second = Job(folder / "two", clock=clock)
    second.telemetry._output = first.telemetry._output
    second.telemetry.begin(total=20, done=10, record=record)
    for number in range(11, 15):
        second.step(number, wait=0.0, computes=1.0)
    with second.telemetry:
        second.telemetry.saved(second.telemetry.record(closed=True), 14)
    with first.path.open("a") as file:
        file.write('{"event":"trai')


def test_lives_are_told_apart(tmp_path: Path) -> None:
    story(tmp_path)
    first, second = lives(read(tmp_path))
    assert (first.began, first.last, first.reason) == (BEGAN, (BEGAN + 12, 12), "")
    assert first.checkpoints == [(BEGAN + 10, 10)]
    assert (second.began, second.points[0], second.reason) == (BEGAN + 20, (BEGAN + 20, 10), "stopped")
    assert second.last == (BEGAN + 24, 14)


def test_the_picture_says_how_long_nobody_trained_and_what_was_lost(tmp_path: Path) -> None:
    story(tmp_path)
    target = tmp_path / "out.svg"
    assert recovery_timeline.main([str(tmp_path), str(target), "Killed & back"]) == 0
    root = ElementTree.parse(target).getroot()
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "8.0 s, 2 steps lost" in texts
    assert {"Killed & back", "24 s", "14"} <= set(texts)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}polyline"))) == 2


def test_without_lines_there_is_no_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert recovery_timeline.main([str(tmp_path), str(tmp_path / "out.svg")]) == 1
    assert recovery_timeline.main([]) == 2
    assert "holds no lines" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no line says"):
        as_svg("nothing", [])
