"""Whether processes grow: memory, handles and threads sampled over time, a line through them, its confidence.

Each process is judged for itself, from its own first steady sample on: an instance that scale-out started, or
one that took another's place, is no growth of those that were there. Samples of one process depend on those
before; so the line goes through a figure of each block of them, and its interval is Student's, 95 %, of as
many points as there are blocks. Memory's figure is the mean. Of handles and threads it is the least: requests
take some and give them back, what leaks is never given back and raises the floor. Of a process that was not
there long enough nothing is known.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

BLOCKS = 12
# Student's t, two-sided 95 %, by degrees of freedom.
_T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23}
Figure = Callable[[Sequence[float]], float]
FIGURES: Mapping[str, Figure] = {"rss_mb": statistics.mean, "handles": min, "threads": min}
MEASURES = tuple(FIGURES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A process at a moment, seconds; `cpu_s` is what it has used so far."""

    at: float
    pid: int
    role: str
    rss_mb: float
    handles: int
    threads: int
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """`first` and `last` on the line; growth by it over a span of time, and by its interval's ends."""

    first: float
    last: float
    growth: float
    low: float
    high: float
    bound: float

    @property
    def holds(self) -> bool:
        """Growth above the bound is ruled out, not merely indistinguishable from chance."""
        return self.high <= self.bound

    def as_json(self) -> dict[str, float | bool]:
        names = ("first", "last", "growth", "low", "high", "bound")
        return {name: round(getattr(self, name), 2) for name in names} | {"holds": self.holds}


def courses(
    samples: Sequence[Sample],
    *,
    warm_up: float,
    least: float,
    changes: Mapping[str, Sequence[float]] | None = None,
) -> dict[str, list[list[Sample]]]:
    """By role the steady samples of each process, in the order of time.

    Args:
        samples: of all roles and processes.
        warm_up: seconds of a process, since its own first sample, that do not count.
        least: seconds of steady samples without which nothing is said of a process.
        changes: moments, by role, from which its processes have others to deal with: of each process the
            longest stretch between two of them counts.
    """
    found: dict[tuple[str, int], list[Sample]] = {}
    for each in sorted(samples, key=lambda each: each.at):
        found.setdefault((each.role, each.pid), []).append(each)
    lasting: dict[str, list[list[Sample]]] = {}
    for (role, _), ours in sorted(found.items()):
        steady = [each for each in ours if each.at >= ours[0].at + warm_up]
        steady = _longest(steady, (changes or {}).get(role, ()))
        if len(steady) >= 3 and steady[-1].at - steady[0].at >= least:
            lasting.setdefault(role, []).append(steady)
    return lasting


def _longest(samples: Sequence[Sample], changes: Sequence[float]) -> list[Sample]:
    edges = [-math.inf, *sorted(changes), math.inf]
    stretches = [
        [each for each in samples if start <= each.at < end] for start, end in itertools.pairwise(edges)
    ]
    return max(stretches, key=lambda stretch: stretch[-1].at - stretch[0].at if stretch else 0.0)


def trend(
    times: Sequence[float],
    values: Sequence[float],
    bound: float,
    span: float | None = None,
    figure: Figure = statistics.mean,
) -> Trend:
    """A line through figures of blocks. Raises ValueError for fewer than three samples.

    Args:
        times: seconds.
        values: at these.
        bound: largest growth over `span`.
        span: seconds that growth is told of; all of the times if None.
        figure: of a block's values.
    """
    if len(times) < 3:
        raise ValueError(f"{len(times)} samples make no trend; sample for longer")
    blocks = min(BLOCKS, len(times))
    edges = [round(len(times) * number / blocks) for number in range(blocks + 1)]
    pairs = list(itertools.pairwise(edges))
    x = [statistics.mean(times[a:b]) for a, b in pairs]
    y = [float(figure(values[a:b])) for a, b in pairs]
    slope, start = statistics.linear_regression(x, y)
    squares = sum((at - statistics.mean(x)) ** 2 for at in x)
    left = sum((value - start - slope * at) ** 2 for at, value in zip(x, y, strict=True))
    error = math.sqrt(left / (blocks - 2) / squares)
    half = _T[blocks - 2] * error
    duration = times[-1] - times[0] if span is None else span
    return Trend(
        first=start + slope * times[0],
        last=start + slope * times[-1],
        growth=slope * duration,
        low=(slope - half) * duration,
        high=(slope + half) * duration,
        bound=bound,
    )
