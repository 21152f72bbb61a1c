"""How executions grow: cached re-runs, many steps, what has run before, and memory.

- `cached`: a pipeline of four steps again, every step cached. Bound: 2 s.
- `step`: the cloud's processor time for a step in a chain of 200 empty ones over that in one of 10, both from
  start to end of the execution, run in turn: the median of the pairs. Bound: 1.1.
- `old_over_fresh`: the same for what has run before: a step of 200 in a cloud that has run these eight times,
  and as many small ones as well, over one in a cloud that has run them once, in turn. Bound: 1.1.
- `memory`: what the cloud's processes grow by in the seven runs after the first, and by each of the last
  three, when what is filled once is full. Bounds: 30 MB, and 2 MB a run.

Processor time is that of the cloud's own process, which is all that could grow: containers are not in it. It
is told in units of a fixed piece of work, measured before and after each run, so that a machine that others
make slow for a while does not look like growth. Wall time has the same bounds.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.catalogue import fresh_cloud, run, seconds
from benchmarks.critical_path import sleeping
from benchmarks.empty_step import empty_chain, make_image, make_role
from localcloud import lifecycle

CACHED_S, GROWTH, MEMORY_MB, LATER_MB = 2.0, 1.1, 30.0, 2.0
SMALL, LARGE, RUNS, LARGE_RUNS, FRESH_RUNS = 10, 200, 3, 7, 7
# Runs at the end, when what is filled once is full.
LATER = 3
_DOCUMENT = {"a": [{"b": [1.5, "c", None]}] * 40}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a step of an execution cost: the cloud's processor time, also in pieces of work; wall time."""

    cpu_s: float
    work: float
    wall_s: float


Pair = tuple[Cost, Cost]


def measure() -> dict[str, Any]:
    with ExitStack() as clouds:
        old = clouds.enter_context(_yard())
        old.run("sleeps")
        cached = [old.run("sleeps") for _ in range(RUNS)]
        old.cost("large", LARGE)
        memory, steps = [old.megabytes()], []
        for _ in range(LARGE_RUNS):
            # As many steps in the small chains as make their processor time measurable.
            steps.append((old.cost("small", SMALL, times=4), old.cost("large", LARGE)))
            memory.append(old.megabytes())
        fresh = clouds.enter_context(_yard())
        fresh.cost("large", LARGE)
        ages = [(fresh.cost("large", LARGE), old.cost("large", LARGE)) for _ in range(FRESH_RUNS)]
    return summary(cached, steps, ages, memory)


@dataclass(frozen=True, kw_only=True)
class Yard:
    """A cloud with the pipelines that are measured, of which nothing has run."""

    sagemaker: Any
    root: Path

    def run(self, name: str) -> float:
        """Seconds of an execution."""
        return seconds(run(self.sagemaker, name))

    def megabytes(self) -> float:
        return float(lifecycle.status(self.root)["memory_bytes"]) / 1e6

    def cost(self, name: str, steps: int, times: int = 1) -> Cost:
        """Of a step, on the mean of `times` executions of so many."""
        server = psutil.Process(lifecycle.status(self.root)["pid"])
        before = [_work() for _ in range(3)]
        began, wall = _cpu(server), 0.0
        for _ in range(times):
            wall += self.run(name)
        used = _cpu(server) - began
        piece = statistics.median(before + [_work() for _ in range(3)])
        return Cost(
            cpu_s=used / steps / times, work=used / piece / steps / times, wall_s=wall / steps / times
        )


@contextmanager
def _yard() -> Iterator[Yard]:
    with fresh_cloud() as (cloud, administrator, folder):
        image, role = make_image(cloud, administrator, folder), make_role(cloud, administrator)
        sagemaker = cloud.client("sagemaker", administrator)
        definitions = {
            "sleeps": sleeping(image, role),
            "small": empty_chain(SMALL, image, role),
            "large": empty_chain(LARGE, image, role),
        }
        for name, document in definitions.items():
            sagemaker.create_pipeline(
                PipelineName=name, RoleArn=role, PipelineDefinition=json.dumps(document)
            )
        yield Yard(sagemaker=sagemaker, root=cloud.folder.root)


def summary(
    cached: Sequence[float], steps: Sequence[Pair], ages: Sequence[Pair], memory: Sequence[float]
) -> dict[str, Any]:
    """The figures, and whether they hold.

    Args:
        cached: seconds of cached runs.
        steps: a step of 10, and one of 200.
        ages: a step of 200 in the fresh cloud, and one in the old.
        memory: megabytes before, and after each of `steps`.
    """
    grown, later = memory[-1] - memory[0], (memory[-1] - memory[-1 - LATER]) / LATER
    ratios = {
        "step": _ratios(steps, "small", "large"),
        "old_over_fresh": _ratios(ages, "fresh", "old"),
    }
    return {
        "cached": {
            "median_s": round(statistics.median(cached), 3),
            "max_s": round(max(cached), 3),
            "bound_s": CACHED_S,
        },
        **ratios,
        "memory": {
            "after_each_mb": [round(value, 1) for value in memory],
            "grown_mb": round(grown, 1),
            "bound_mb": MEMORY_MB,
            "later_mb_a_run": round(later, 2),
            "later_bound_mb": LATER_MB,
        },
        "holds": max(cached) <= CACHED_S
        and all(max(found["cpu_ratio"], found["wall_ratio"]) <= GROWTH for found in ratios.values())
        and grown <= MEMORY_MB
        and later <= LATER_MB,
    }


def _ratios(pairs: Sequence[Pair], reference: str, measured: str) -> dict[str, Any]:
    """Medians of the pairs' ratios, and what each side cost."""
    found: dict[str, Any] = {"bound": GROWTH}
    for measure, name in (("work", "cpu"), ("wall_s", "wall")):
        of_pairs = [getattr(second, measure) / getattr(first, measure) for first, second in pairs]
        found[f"{name}_ratio"] = round(statistics.median(of_pairs), 3)
        found[f"{name}_of_each_pair"] = [round(ratio, 3) for ratio in of_pairs]
    for side, name in enumerate((reference, measured)):
        costs = [pair[side] for pair in pairs]
        found[name] = {
            "cpu_ms": [round(cost.cpu_s * 1000, 2) for cost in costs],
            "wall_ms": [round(cost.wall_s * 1000, 2) for cost in costs],
        }
    return found


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
