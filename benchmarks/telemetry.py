"""What telemetry takes from training: CPU time and memory of a step that is noted, and of a line.

CPU time of the calling thread, which another load on the machine hardly changes: a step through `batches` and
`step`, less the same loop without; and a line of as many steps as there are between two. Bound: both together
below 1 % of a step of 50 ms, at a line every 10 s, on the first rank, which tells the most.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.vision.telemetry.lines import Output
from training.vision.telemetry.recorder import Process, Telemetry
from training.vision.telemetry.settings import Settings

STEP_SECONDS, LINE_SECONDS = 0.05, 10.0
STEPS = round(LINE_SECONDS / STEP_SECONDS)
ROUNDS = 30
BOUND = 0.01


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        output = Output(Path(folder) / "rank.jsonl")
        # Its own thread sleeps: lines are made here, one after each round.
        telemetry = Telemetry(Settings(seconds=3600, price=1.0), Process(world=8, hosts=8), output=output)
        telemetry.begin(total=STEPS * rounds)
        plain, noted, lines = [], [], []
        for _ in range(rounds):
            plain.append(_without(range(STEPS)))
            noted.append(_with(telemetry, range(STEPS)))
            lines.append(_line(telemetry))
        tracemalloc.start()
        _with(telemetry, range(STEPS))
        step_bytes = tracemalloc.get_traced_memory()[0] / STEPS
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        telemetry.emit()
        line_bytes = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        output.close()
    return summary(plain, noted, lines) | {
        "bytes_held_by_a_step_until_the_next_line": round(step_bytes),
        "bytes_for_a_line_at_most": line_bytes,
    }


def summary(plain: Sequence[float], noted: Sequence[float], lines: Sequence[float]) -> dict[str, Any]:
    """CPU seconds of each round: of the bare loop, of the loop with telemetry, and of its line."""
    steps = [max(0.0, ours - bare) / STEPS for bare, ours in zip(plain, noted, strict=True)]
    shares = [(step + line / STEPS) / STEP_SECONDS for step, line in zip(steps, lines, strict=True)]
    return {
        "step_us": _spread(steps),
        "line_us": _spread(lines),
        "share_of_a_50_ms_step": {name: round(value, 6) for name, value in _of(shares).items()},
        "bound": BOUND,
        "holds": statistics.median(shares) < BOUND,
    }


def _without(items: range) -> float:
    started = time.thread_time()
    for _ in items:
        pass
    return time.thread_time() - started


def _with(telemetry: Telemetry, items: range) -> float:
    started = time.thread_time()
    for number in telemetry.batches(items):
        norm = 1.0 if telemetry.wants_norm else None
        telemetry.step(number, epoch=1, loss=0.5, images=256.0, rate=0.001, norm=norm)
    return time.thread_time() - started


def _line(telemetry: Telemetry) -> float:
    started = time.thread_time()
    telemetry.emit()
    return time.thread_time() - started


def _spread(seconds: Sequence[float]) -> Mapping[str, float]:
    return {name: round(1e6 * value, 2) for name, value in _of(seconds).items()}


def _of(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
