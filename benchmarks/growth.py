"""Whether processes grow: memory, handles and threads sampled over time, a line through them, its confidence.

Pure but for `sample`. Samples of one process depend on those before; so the line goes through the means of
blocks of them, and its interval is Student's, 95 %, of as many points as there are blocks.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import psutil

BLOCKS = 12
# Student's t, two-sided 95 %, by degrees of freedom.
_T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23}
MEASURES = ("rss_mb", "handles", "threads")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A process at a moment, seconds."""

    at: float
    pid: int
    role: str
    rss_mb: float
    handles: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """`first` and `last` on the line; growth over all of the time by it, and by its interval's ends."""

    first: float
    last: float
    growth: float
    low: float
    high: float
    bound: float

    @property
    def holds(self) -> bool:
        """No growth above the bound can be told from chance, and the line itself stays below it."""
        return self.low <= self.bound and self.growth <= self.bound

    def as_json(self) -> dict[str, float | bool]:
        names = ("first", "last", "growth", "low", "high", "bound")
        return {name: round(getattr(self, name), 2) for name in names} | {"holds": self.holds}


def sample(roles: Mapping[str, Iterable[psutil.Process]], at: float) -> list[Sample]:
    """Look at processes by role; those that end meanwhile are left out."""
    found = []
    for role, processes in roles.items():
        for process in processes:
            try:
                with process.oneshot():
                    found.append(
                        Sample(
                            at=at,
                            pid=process.pid,
                            role=role,
                            rss_mb=process.memory_info().rss / 1e6,
                            handles=process.num_fds(),
                            threads=process.num_threads(),
                        )
                    )
            except psutil.Error:
                continue
    return found


def by_role(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """At each moment the sum over the processes of a role that were there from the first to the last one."""
    moments = sorted({each.at for each in samples})
    totals: dict[str, list[Sample]] = {}
    for role in sorted({each.role for each in samples}):
        ours = [each for each in samples if each.role == role]
        lasting = [
            pid
            for pid in {each.pid for each in ours}
            if sum(each.pid == pid for each in ours) == len(moments)
        ]
        if not lasting:
            continue
        totals[role] = []
        for moment in moments:
            there = [each for each in ours if each.at == moment and each.pid in lasting]
            totals[role].append(
                Sample(
                    at=moment,
                    pid=0,
                    role=role,
                    rss_mb=sum(each.rss_mb for each in there),
                    handles=sum(each.handles for each in there),
                    threads=sum(each.threads for each in there),
                )
            )
    return totals


def trend(times: Sequence[float], values: Sequence[float], bound: float) -> Trend:
    """A line through the means of blocks. Raises ValueError for fewer than three samples.

    Args:
        times: seconds.
        values: at these.
        bound: largest growth over all of the time.
    """
    if len(times) < 3:
        raise ValueError(f"{len(times)} samples make no trend; sample for longer")
    blocks = min(BLOCKS, len(times))
    edges = [round(len(times) * number / blocks) for number in range(blocks + 1)]
    pairs = list(itertools.pairwise(edges))
    x = [statistics.mean(times[a:b]) for a, b in pairs]
    y = [statistics.mean(values[a:b]) for a, b in pairs]
    slope, start = statistics.linear_regression(x, y)
    squares = sum((at - statistics.mean(x)) ** 2 for at in x)
    left = sum((value - start - slope * at) ** 2 for at, value in zip(x, y, strict=True))
    error = math.sqrt(left / (blocks - 2) / squares)
    half = _T[blocks - 2] * error
    duration = times[-1] - times[0]
    return Trend(
        first=start + slope * times[0],
        last=start + slope * times[-1],
        growth=slope * duration,
        low=(slope - half) * duration,
        high=(slope + half) * duration,
        bound=bound,
    )
