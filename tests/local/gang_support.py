"""Hosts of a training job as processes of this machine, with a folder each, as SageMaker lays it out."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

REPO = Path(__file__).parents[2]
# For whatever a test waits for: a bound, not a measure.
PATIENCE = 240.0


class Hosts:
    """The hosts of a job; `start` starts those named by number, from 0.

    Args:
        root: for their folders.
        driver: the program of each, which gets its arguments from `start`.
        addresses: the first three numbers of their loopback addresses, which stand in the place of names:
            each test has its own, so that tests may run side by side.
    """

    def __init__(self, root: Path, driver: str, addresses: str, count: int) -> None:
        self.names = [f"{addresses}.{index + 1}" for index in range(count)]
        self.roots = [root / name for name in self.names]
        self.processes: list[subprocess.Popen[str]] = []
        self._driver = driver

    def start_each(self, numbers: tuple[int, ...], *arguments: object) -> None:
        """Start hosts with the driver's arguments."""
        for number in numbers:
            environment = os.environ | {
                "SAGEMAKER_BASE_DIR": str(self.roots[number]),
                "OMP_WAIT_POLICY": "passive",
                "PYTHONUNBUFFERED": "1",
            }
            with (self.roots[number] / "log").open("w") as log:
                self.processes.append(
                    subprocess.Popen(
                        [sys.executable, "-c", self._driver, *map(str, arguments)],
                        cwd=REPO,
                        env=environment,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        text=True,
                    )
                )

    def codes(self, seconds: float = PATIENCE) -> list[int]:
        """Exit codes of the started ones, in the order of their starts."""
        deadline = time.monotonic() + seconds
        try:
            return [process.wait(max(0.1, deadline - time.monotonic())) for process in self.processes]
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not all hosts ended within {seconds:g} s:\n{self.logs()}") from None

    def log(self, number: int) -> str:
        return (self.roots[number] / "log").read_text()

    def logs(self) -> str:
        """Of all that were started."""
        paths = [root / "log" for root in self.roots]
        return "".join(path.read_text() for path in paths if path.exists())

    def reason(self, number: int) -> str:
        """What the host left as the reason of its failure."""
        return (self.roots[number] / "output" / "failure").read_text()

    def wait_for(self, progress: str, seconds: float = PATIENCE) -> None:
        """Until a host has logged this; it fails if one ends before."""
        deadline = time.monotonic() + seconds
        while progress not in self.logs():
            assert time.monotonic() < deadline, self.logs()
            assert all(process.poll() is None for process in self.processes), self.logs()
            time.sleep(0.05)

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
