"""What ECS publishes about services: the share of their processors and memory that their tasks use.

One sample of each running task a minute, so that the number of samples is that of the tasks. A task that
reserves nothing uses 0 %.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cloudwatch-metrics.html
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from localcloud.aws.metrics import put_metric
from localcloud.aws.minutely import EveryMinute
from localcloud.context import Cloud
from localcloud.ecs.runner import Runner, key_of

NAMESPACE = "AWS/ECS"
_UNITS = 1024  # of a processor
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """Of all processes of a task: processor seconds since their start, and bytes of memory."""

    seconds: float = 0.0
    memory: int = 0


class Utilization(EveryMinute):
    """Measures the tasks of services in the background, by the cloud's clock."""

    def __init__(self, cloud: Cloud, runner: Runner) -> None:
        super().__init__("ecs-metrics", cloud)
        self._runner = runner
        self._before: dict[str, tuple[float, float]] = {}  # when, and processor seconds until then, by task

    def publish(self) -> None:
        """Measure each task of each service once."""
        tasks = self._runner.active(
            lambda task: task["lastStatus"] == "RUNNING" and task["group"].startswith("service:")
        )
        if not tasks:
            self._before = {}
            return
        used = usage({key_of(task): self._runner.processes(key_of(task)) for task in tasks})
        moment, before = time.monotonic(), self._before
        self._before = {key: (moment, one.seconds) for key, one in used.items()}
        for task in tasks:
            key, found = key_of(task), used[key_of(task)]
            since, seconds = before.get(key, (moment, found.seconds))
            shares = {
                "CPUUtilization": cpu_share(task, found.seconds - seconds, moment - since),
                "MemoryUtilization": memory_share(task, found.memory),
            }
            names = {
                "ClusterName": task["_cluster"],
                "ServiceName": task["group"].removeprefix("service:"),
            }
            for name, value in shares.items():
                put_metric(self._cloud, NAMESPACE, name, value, "Percent", names)


def cpu_share(task: Mapping[str, Any], used: float, seconds: float) -> float:
    """Percent of a task's units, of `used` processor seconds within so many.

    Example:
        >>> cpu_share({"cpu": "512"}, 15.0, 60.0)
        50.0
    """
    reserved = int(task["cpu"]) / _UNITS * seconds
    return round(100 * max(0.0, used) / reserved, 2) if reserved else 0.0


def memory_share(task: Mapping[str, Any], used: int) -> float:
    """Percent of a task's memory, of so many bytes."""
    reserved = int(task["memory"]) * _MEBIBYTE
    return round(100 * used / reserved, 2) if reserved else 0.0


def usage(firsts: Mapping[str, Iterable[int]]) -> dict[str, Usage]:
    """What the processes of tasks use, with all that they started.

    Args:
        firsts: the processes that each was started with.
    """
    children: dict[int, list[int]] = {}
    for process in psutil.process_iter(["ppid"]):
        children.setdefault(process.info["ppid"], []).append(process.pid)
    return {key: _used(_tree(list(first), children)) for key, first in firsts.items()}


def _tree(processes: list[int], children: Mapping[int, Sequence[int]]) -> list[int]:
    for process in processes:
        processes += children.get(process, ())
    return processes


def _used(processes: Iterable[int]) -> Usage:
    seconds, memory = 0.0, 0
    for pid in processes:
        try:
            process = psutil.Process(pid)
            times = process.cpu_times()
            # What ended children used counts for their parents.
            seconds += times.user + times.system
            seconds += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
            memory += process.memory_info().rss
        except psutil.Error:
            continue
    return Usage(seconds, memory)
