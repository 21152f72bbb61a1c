"""Four pipelines at once on two cores: wall time over the CPU time of everything that ran, divided by two.

The four tabular regressions, from validation to batch scoring, on data that no cache knows. The CPU time is
that of the cloud's process and of all processes it started, by the kernel's account. Bound: 1.15.

Waiting threads that spin would make this ratio small and the work slow. So the same four run one after the
other in turn with that: `cpu_over_one_by_one` says how much more CPU time they take side by side.

The ratio is of the pipelines only on a machine that does nothing else: `others_cpu_s` is what the rest used.
`ratio_from_idle` tells more on a busy one: it samples how many threads of the cloud and its containers could
run, and counts a core as lost only while there are too few for two. Linux only.
"""

from __future__ import annotations

import os
import statistics
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.catalogue import REGRESSIONS, Pipelines, fresh_cloud
from localcloud import lifecycle

BOUND = 1.15
CORES = 2
RUNS = 3
SAMPLE_S = 0.1


def measure() -> dict[str, Any]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:CORES])  # the cloud and its containers inherit it
    try:
        with fresh_cloud() as (cloud, administrator, folder):
            server = psutil.Process(lifecycle.status(cloud.folder.root)["pid"])
            pipelines = Pipelines(cloud, administrator, folder / "data", "bench")
            for spec in REGRESSIONS:
                pipelines.put(spec)
            _run(pipelines, server, "warm-up", at_once=True)
            at_once, one_by_one = [], []
            for number in range(RUNS):
                at_once.append(_run(pipelines, server, f"at-once-{number}", at_once=True))
                one_by_one.append(_run(pipelines, server, f"one-by-one-{number}", at_once=False))
    finally:
        os.sched_setaffinity(0, allowed)
    median = statistics.median(run["ratio"] for run in at_once)
    return {
        "pipelines": len(REGRESSIONS),
        "cores": min(CORES, len(allowed)),
        "ratio": median,
        "ratio_from_idle": statistics.median(run["ratio_from_idle"] for run in at_once),
        "cpu_over_one_by_one": round(
            statistics.median(a["cpu_s"] / b["cpu_s"] for a, b in zip(at_once, one_by_one, strict=True)), 3
        ),
        "at_once": at_once,
        "one_by_one": one_by_one,
        "bound": BOUND,
        "holds": median <= BOUND,
    }


def _run(pipelines: Pipelines, server: psutil.Process, version: str, *, at_once: bool) -> dict[str, float]:
    parameters = [(spec, pipelines.upload(spec, version)) for spec in REGRESSIONS]
    machine, before = _machine(), _cpu(server)
    with Idle(server) as idle:
        if at_once:
            executions = [pipelines.wait(arn) for arn in [pipelines.start(*pair) for pair in parameters]]
        else:
            executions = [pipelines.wait(pipelines.start(*pair)) for pair in parameters]
    after = _cpu(server)
    cpu = sum(after) - sum(before)
    begun = min(execution["CreationTime"] for execution in executions)
    ended = max(execution["LastModifiedTime"] for execution in executions)
    wall = (ended - begun).total_seconds()
    return {
        "wall_s": round(wall, 2),
        "cpu_s": round(cpu, 2),
        "of_it_the_clouds_s": round(after[0] - before[0], 2),
        "others_cpu_s": round(_machine() - machine - cpu, 2),
        "ratio": round(wall / (cpu / CORES), 3),
        "ratio_from_idle": round(1 + idle.cores * wall / cpu, 3),
    }


def _cpu(server: psutil.Process) -> tuple[float, float]:
    """Seconds so far, user and system: of the cloud's process, and of all below it, ended or running."""
    times = server.cpu_times()
    below = times.children_user + times.children_system
    for process in server.children(recursive=True):
        try:
            below += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue  # it counts among the ended ones at the next look
    return times.user + times.system, below


def _machine() -> float:
    """Seconds in which the machine's CPUs were busy, or taken by its host."""
    times = psutil.cpu_times()
    return float(times.user + times.system + times.nice + times.irq + times.softirq + times.steal)


@dataclass
class Idle:
    """Samples how many of the cores, `cores` in the mean, the cloud and its containers leave idle."""

    server: psutil.Process
    cores: float = 0.0

    def __enter__(self) -> Idle:
        self._lost: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.cores = statistics.mean(self._lost)

    def _sample(self) -> None:
        while not self._lost or not self._ended.wait(SAMPLE_S):
            pids = [self.server.pid, *(process.pid for process in self.server.children(recursive=True))]
            self._lost.append(max(0, CORES - sum(map(_runnable, pids))))


def _runnable(pid: int) -> int:
    """Threads of a process that run or wait for a CPU."""
    found = 0
    try:
        for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
            # The state follows the name, which stands in parentheses and may hold anything.
            found += stat.read_text().rpartition(") ")[2].startswith("R")
    except OSError:  # it has ended
        return found
    return found
