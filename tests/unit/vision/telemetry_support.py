"""A clock that tests set, and the lines of a telemetry that goes by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from training.vision.telemetry.lines import Output
from training.vision.telemetry.recorder import Process, Telemetry
from training.vision.telemetry.settings import Settings

BEGAN = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> float:
        return BEGAN + self.passed

    def monotonic(self) -> float:
        return self.passed


class Job:
    """One process's telemetry, by a clock of its own, into a file. Its thread never wakes by itself."""

    def __init__(self, folder: Path, *, clock: Clock | None = None, rank: int = 0, **settings: Any) -> None:
        self.clock = clock or Clock()
        self.path = folder / f"{rank}.jsonl"
        self.telemetry = Telemetry(
            Settings(**{"target": "off", "seconds": 3600.0, **settings}),
            Process(rank=rank, world=2, hosts=2),
            output=Output(self.path),
            now=self.clock.now,
            clock=self.clock.monotonic,
        )

    def passes(self, seconds: float) -> None:
        self.clock.passed += seconds

    def step(self, number: int, *, wait: float = 0.01, computes: float = 0.04, **figures: Any) -> None:
        """One batch of the loop."""

        def batches() -> Any:
            self.passes(wait)
            yield "batch"

        for _ in self.telemetry.batches(batches()):
            self.passes(computes)
            self.telemetry.step(number, **{"epoch": 1, "loss": 0.5, "images": 32.0, "rate": 0.001, **figures})

    def lines(self, event: str = "training") -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [line for line in found if line["event"] == event]
