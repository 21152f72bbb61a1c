"""All pipeline definitions built with the SageMaker SDK, as `make definitions` does; bound: 30 s.

Built with --check, which writes nothing and compares: a measurement leaves the committed files alone. Its
processor time stands beside it, which other work on the machine does not lengthen.
"""

from __future__ import annotations

import resource
import subprocess
import time
from typing import Any

from benchmarks.harness import ROOT, Sample
from pipeline_defs.catalog import PIPELINES

BOUND_S = 30.0
RUNS = 3
PYTHON = ROOT / ".venv-sdk" / "bin" / "python"


def measure() -> dict[str, Any]:
    if not PYTHON.exists():
        raise RuntimeError("the SageMaker SDK is not installed: python3 tools/setup.py sdk")
    wall, cpu = [], []
    for _ in range(RUNS):
        before, started = _cpu(), time.perf_counter()
        done = subprocess.run(
            [str(PYTHON), "-m", "pipeline_defs.build", "--check"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        wall.append(time.perf_counter() - started)
        cpu.append(_cpu() - before)
        if done.returncode:
            raise RuntimeError(f"pipeline_defs.build ended with {done.returncode}: {done.stderr[-2000:]}")
    return figures(Sample(tuple(wall)), Sample(tuple(cpu)))


def _cpu() -> float:
    """Processor seconds of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def figures(wall: Sample, cpu: Sample) -> dict[str, Any]:
    """Figures of several builds of all definitions."""
    return {
        "definitions": len(PIPELINES),
        "wall": wall.as_json(),
        "cpu": cpu.as_json(),
        "bound_s": BOUND_S,
        "holds": wall.median <= BOUND_S,
    }
