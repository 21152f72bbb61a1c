"""A step of a pipeline as a process in a container's folders, and what it took."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import ROOT


@dataclass(frozen=True, slots=True)
class Run:
    """A process that ended well: seconds on the clock and on processors, bytes of memory at its peak."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int

    def as_json(self) -> dict[str, float]:
        return {
            "seconds": round(self.seconds, 1),
            "cpu_seconds": round(self.cpu_seconds, 1),
            "peak_mb": round(self.peak_bytes / 1e6),
        }


def run_step(root: Path, module: str, arguments: Sequence[str] = ()) -> Run:
    """Run a step's module with `root` in place of /opt/ml; RuntimeError with its last words if it fails."""
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(root), "PYTHONPATH": str(ROOT)}
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        said = process.stderr.read()
        # Of this one child, which `resource.getrusage` would mix with others.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{module} ended with {process.returncode}: {said.decode()[-500:]}")
    # Linux counts kilobytes, macOS bytes.
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Run(time.perf_counter() - started, used.ru_utime + used.ru_stime, peak)
