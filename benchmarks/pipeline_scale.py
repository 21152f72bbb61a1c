"""How executions grow: cached re-runs, many steps, what has run before, and memory.

- `cached`: a pipeline of four steps again, every step cached. Bound: 2 s.
- `step`: the cloud's processor time for a step in a chain of 200 empty ones over that in one of 10, both from
  start to end of the execution, run in turn: the median of the pairs. Bound: 1.1.
- `last_over_first`: the same for what has run before: of seven runs of 200 after a first one, the last three
  over the first three. Bound: 1.1.
- `memory`: what the cloud's processes grow by in the seven runs after the first, and by each of the last
  three, when what is filled once is full. Bounds: 30 MB, and 2 MB a run.

Processor time is that of the cloud's own process, which is all that could grow: containers are not in it. It
is told in units of a fixed piece of work, measured before and after each run, so that a machine that others
make slow for a while does not look like growth. Wall time has the same bounds.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.catalogue import run, seconds
from benchmarks.critical_path import sleeping
from benchmarks.empty_step import empty_chain, make_image, make_role
from localcloud import lifecycle
from localcloud.connect import connect

CACHED_S, GROWTH, MEMORY_MB, LATER_MB = 2.0, 1.1, 30.0, 2.0
SMALL, LARGE, RUNS, LARGE_RUNS, ENDS = 10, 200, 3, 7, 3
_DOCUMENT = {"a": [{"b": [1.5, "c", None]}] * 40}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a step of an execution cost: the cloud's processor time, also in pieces of work; wall time."""

    cpu_s: float
    work: float
    wall_s: float


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "state"
        lifecycle.up(root)
        try:
            return summary(*_measure(root, Path(folder)))
        finally:
            lifecycle.down(root)


def _measure(root: Path, folder: Path) -> tuple[list[float], list[tuple[Cost, Cost]], list[float]]:
    """Seconds of cached runs; pairs of a step of 10 and one of 200; megabytes before, and after each pair."""
    cloud, administrator = connect(root)
    image, role = make_image(cloud, administrator, folder), make_role(cloud, administrator)
    sagemaker = cloud.client("sagemaker", administrator)
    server = psutil.Process(lifecycle.status(root)["pid"])
    definitions = {
        "sleeps": sleeping(image, role),
        "small": empty_chain(SMALL, image, role),
        "large": empty_chain(LARGE, image, role),
    }
    for name, document in definitions.items():
        sagemaker.create_pipeline(PipelineName=name, RoleArn=role, PipelineDefinition=json.dumps(document))
    run(sagemaker, "sleeps")
    cached = [seconds(run(sagemaker, "sleeps")) for _ in range(RUNS)]

    def megabytes() -> float:
        return float(lifecycle.status(root)["memory_bytes"]) / 1e6

    def cost(name: str, steps: int, times: int = 1) -> Cost:
        before = [_work() for _ in range(3)]
        began, wall = _cpu(server), 0.0
        for _ in range(times):
            wall += seconds(run(sagemaker, name))
        used = _cpu(server) - began
        piece = statistics.median(before + [_work() for _ in range(3)])
        return Cost(
            cpu_s=used / steps / times, work=used / piece / steps / times, wall_s=wall / steps / times
        )

    cost("large", LARGE)
    memory, pairs = [megabytes()], []
    for _ in range(LARGE_RUNS):
        # As many steps in the small chains as make their processor time measurable.
        pairs.append((cost("small", SMALL, times=4), cost("large", LARGE)))
        memory.append(megabytes())
    return cached, pairs, memory


def summary(
    cached: Sequence[float], pairs: Sequence[tuple[Cost, Cost]], memory: Sequence[float]
) -> dict[str, Any]:
    """The figures, and whether they hold."""
    of_pairs = [large.work / small.work for small, large in pairs]
    large = [pair[1] for pair in pairs]
    slower, later_wall = (
        _median(large[-ENDS:], measure) / _median(large[:ENDS], measure) for measure in ("work", "wall_s")
    )
    wall = statistics.median(large.wall_s / small.wall_s for small, large in pairs)
    grown, later = memory[-1] - memory[0], (memory[-1] - memory[-1 - ENDS]) / ENDS
    step = statistics.median(of_pairs)
    return {
        "cached": {
            "median_s": round(statistics.median(cached), 3),
            "max_s": round(max(cached), 3),
            "bound_s": CACHED_S,
        },
        "step": {
            "cpu_ratio": round(step, 3),
            "wall_ratio": round(wall, 3),
            "of_each_pair": [round(ratio, 3) for ratio in of_pairs],
            "bound": GROWTH,
            **{
                name: {
                    "cpu_ms": round(_median(costs, "cpu_s") * 1000, 2),
                    "wall_ms": round(_median(costs, "wall_s") * 1000, 2),
                }
                for name, costs in {"small": [pair[0] for pair in pairs], "large": large}.items()
            },
        },
        "last_over_first": {
            "cpu_ratio": round(slower, 3),
            "wall_ratio": round(later_wall, 3),
            "cpu_ms_a_step": [round(cost.cpu_s * 1000, 2) for cost in large],
            "wall_ms_a_step": [round(cost.wall_s * 1000, 2) for cost in large],
            "bound": GROWTH,
        },
        "memory": {
            "after_each_mb": [round(value, 1) for value in memory],
            "grown_mb": round(grown, 1),
            "bound_mb": MEMORY_MB,
            "later_mb_a_run": round(later, 2),
            "later_bound_mb": LATER_MB,
        },
        "holds": max(cached) <= CACHED_S
        and max(step, slower, wall, later_wall) <= GROWTH
        and grown <= MEMORY_MB
        and later <= LATER_MB,
    }


def _median(costs: Sequence[Cost], measure: str) -> float:
    return statistics.median(getattr(cost, measure) for cost in costs)


def _cpu(process: psutil.Process) -> float:
    """Seconds of its own; those of its children are of containers."""
    used = process.cpu_times()
    return float(used.user + used.system)


def _work() -> float:
    """Seconds of processor time of a piece of work, as the cloud does it: documents to text and back."""
    started = time.process_time()
    for _ in range(1500):
        json.loads(json.dumps(_DOCUMENT))
    return time.process_time() - started
