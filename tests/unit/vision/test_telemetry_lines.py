"""Lines of metrics: what CloudWatch takes, whatever the figures are and however the process ends."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localcloud.aws.differences.embedded_metrics import parse
from training.vision.telemetry import names
from training.vision.telemetry.lines import Output, json_line, metric_line
from training.vision.telemetry.window import MOST_VALUES, Step, Window, spread

NOW = 1_800_000_000.0
DIMENSIONS = {names.CLUSTER: "gpu", names.JOB: "dogs", names.RANK: "3"}
numbers = st.floats() | st.integers(-(2**1000), 2**1000)


def strict(line: str) -> Any:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(line, parse_constant=refuse)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(sorted(names.UNITS)),
        st.none() | st.floats() | st.lists(st.floats(), max_size=MOST_VALUES),
    ),
    st.dictionaries(st.text(max_size=5), st.floats() | st.lists(st.floats(), max_size=3), max_size=3),
)
def test_any_figures_make_a_line_that_cloudwatch_takes(metrics: dict[str, Any], others: dict) -> None:
    line = metric_line(int(NOW * 1000), DIMENSIONS, metrics, {"about": others})
    members = strict(line)
    told = {datum.name for datum in parse(line, NOW)}
    usable = {
        name
        for name, value in metrics.items()
        if any(
            math.isfinite(each) and abs(each) <= 2**360
            for each in (value if isinstance(value, list) else [value])
            if each is not None
        )
    }
    assert told == usable == set(members) & set(names.UNITS)


def test_a_loss_that_is_no_number_is_counted_and_no_metric() -> None:
    line = metric_line(int(NOW * 1000), DIMENSIONS, {names.LOSS: math.nan, names.NON_FINITE: 1}, {})
    found = {(datum.name, *datum.dimensions): datum.values for datum in parse(line, NOW)}
    assert found == {
        (names.NON_FINITE, names.CLUSTER): [1.0],
        (names.NON_FINITE, names.CLUSTER, names.JOB): [1.0],
    }


def test_each_metric_is_told_by_the_dimensions_that_it_is_watched_by() -> None:
    line = metric_line(int(NOW * 1000), DIMENSIONS, dict.fromkeys(names.UNITS, 1.0), {})
    by_dimensions: dict[tuple[str, ...], set[str]] = {}
    for datum in parse(line, NOW):
        by_dimensions.setdefault(tuple(datum.dimensions), set()).add(datum.name)
    assert by_dimensions == {key: set(value) for key, value in names.SETS.items()}


def test_the_longest_line_goes_through_a_pipe_as_one() -> None:
    longest = dict.fromkeys(names.UNITS, -1.23456e-100) | {names.STEP_TIME: [12_345.678] * MOST_VALUES}
    dimensions = {names.CLUSTER: "c" * 255, names.JOB: "j" * 255, names.RANK: "99999"}
    line = metric_line(int(NOW * 1000), dimensions, longest, {"event": "training", "attempt": 999})
    assert len(line) < 4096


def test_numbers_without_a_word_in_json_become_text() -> None:
    line = json_line({"a": math.nan, "b": [math.inf, 1.0], "c": {"d": -math.inf}})
    assert strict(line) == {"a": "nan", "b": ["inf", 1.0], "c": {"d": "-inf"}}


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
def test_too_many_values_keep_their_range_and_middle(values: list[float]) -> None:
    kept = spread(values)
    assert len(kept) == min(len(values), MOST_VALUES)
    assert set(kept) <= set(values)
    assert (min(kept), max(kept)) == (min(values), max(values))


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(), st.none() | st.floats()), max_size=20))
def test_steps_that_cannot_be_learned_from_are_counted(steps: list[tuple[float, float | None]]) -> None:
    window = Window()
    for number, (loss, norm) in enumerate(steps):
        window.add(
            Step(number=number, epoch=1, seconds=0.1, wait=0.0, images=1, loss=loss, rate=0.1, norm=norm)
        )
    expected = [math.isfinite(loss) and (norm is None or math.isfinite(norm)) for loss, norm in steps]
    assert window.broken == expected.count(False)
    finite = [loss for loss, _ in steps if math.isfinite(loss)]
    assert (window.loss is None) == (not finite)


WRITER = """
import itertools, sys
from pathlib import Path
from training.vision.telemetry.lines import Output, json_line
output = Output(Path(sys.argv[1]))
for number in itertools.count():
    output.write(json_line({"number": number, "text": "x" * 500}))
    print(number, flush=True)
"""


def test_what_was_written_outlives_a_kill(tmp_path: Path) -> None:
    target = tmp_path / "rank.jsonl"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE) as process:
        assert process.stdout
        told = 0
        while told < 50:
            told = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
    last = int(rest[-1]) if rest else told
    # The line that was being written may be cut off: of those that were, each was told of.
    found = [strict(line)["number"] for line in target.read_text().split("\n")[:-1]]
    assert found == list(range(len(found)))
    assert len(found) > last


def test_a_line_after_a_torn_one_stands_alone(tmp_path: Path) -> None:
    target = tmp_path / "rank.jsonl"
    target.write_text('{"a": 1}\n{"b": ')
    output = Output(target)
    output.write('{"c":3}')
    output.close()
    assert target.read_text().splitlines() == ['{"a": 1}', '{"b": ', '{"c":3}']


def test_lines_of_several_writers_in_one_pipe_stay_whole() -> None:
    reading, writing = os.pipe()
    count, writers = 100, 4

    def write(name: int) -> None:
        output = Output(writing)
        for number in range(count):
            output.write(json_line({"writer": name, "number": number, "text": "x" * 3000}))

    threads = [threading.Thread(target=write, args=(name,)) for name in range(writers)]
    for thread in threads:
        thread.start()
    lines = []
    with os.fdopen(reading) as pipe:
        while len(lines) < count * writers:
            lines.append(strict(pipe.readline()))
        for thread in threads:
            thread.join()
        os.close(writing)
        assert pipe.read() == ""
    for name in range(writers):
        assert [line["number"] for line in lines if line["writer"] == name] == list(range(count))


@pytest.mark.parametrize("broken", ["full", "gone"])
def test_a_line_that_cannot_be_written_is_counted(broken: str) -> None:
    if broken == "full":
        output = Output(Path("/dev/full"))
    else:
        reading, writing = os.pipe()
        os.close(reading)
        output = Output(writing)
    output.write("{}")
    assert output.lost == 1
    output.close()
