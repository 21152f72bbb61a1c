"""Timing that survives noisy machines: interleaved runs, medians and spread, ratios to a named reference."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "bench"


class UnmeasurableError(Exception):
    """What is measured cannot be had on this machine; the message says what is missing, in a line."""


@dataclass(frozen=True)
class Sample:
    """Seconds of several runs of one thing."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def as_json(self) -> dict[str, Any]:
        return {
            "median_s": round(self.median, 4),
            "min_s": round(min(self.seconds), 4),
            "max_s": round(max(self.seconds), 4),
            "runs": len(self.seconds),
        }


def interleave(
    subjects: Mapping[str, Callable[[], object]], runs: int, warm_up: int = 1
) -> dict[str, Sample]:
    """Run the subjects in turn, A B A B ..., so that a change of the machine's speed meets all of them.

    Args:
        subjects: name to a callable that does one run.
        runs: counted runs of each.
        warm_up: runs of each that are not counted, first.
    """
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(warm_up + runs):
        for name, subject in subjects.items():
            started = time.perf_counter()
            subject()
            if number >= warm_up:
                seconds[name].append(time.perf_counter() - started)
    return {name: Sample(tuple(values)) for name, values in seconds.items()}


def ratio(ours: Sample, reference: Sample) -> dict[str, float]:
    """Ratio pair by pair of two interleaved samples: median, smallest, largest."""
    pairs = [a / b for a, b in zip(ours.seconds, reference.seconds, strict=True)]
    return {
        "median": round(statistics.median(pairs), 3),
        "min": round(min(pairs), 3),
        "max": round(max(pairs), 3),
    }


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cpus": os.cpu_count(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def write(name: str, figures: Mapping[str, Any]) -> Path:
    """Write `build/bench/<name>.json`."""
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **figures}, indent=2) + "\n")
    return path
