"""What a soak saw, every ten seconds: answers, instances, the machine, and each role's processes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.growth import MEASURES, Sample
from benchmarks.soak_sampler import SERVERS, Moment
from benchmarks.traffic import Answer, percentile

WINDOW_S = 10.0


def timeline(
    seconds: float, answers: Sequence[Answer], samples: Sequence[Sample], machine: Sequence[Moment]
) -> list[dict[str, Any]]:
    """One entry for each window that has begun.

    Args:
        seconds: how long the soak was.
        answers, samples, machine: with times in seconds since it began.
    """
    cpu = _cpu(samples)
    entries = []
    for number in range(max(1, round(seconds / WINDOW_S))):
        begin, end = number * WINDOW_S, (number + 1) * WINDOW_S
        ours = [each for each in answers if begin <= each.at < end]
        seen = [each for each in samples if begin <= each.at < end]
        moments = [each for each in machine if begin <= each.at < end]
        before = [each for each in machine if each.at < begin]
        entries.append(
            {
                "at": begin,
                "requests": len(ours),
                "failed": sum(each.status != 200 for each in ours),
                "p50_ms": round(percentile(ours, 0.5) * 1000, 1) if ours else None,
                "p99_ms": round(percentile(ours, 0.99) * 1000, 1) if ours else None,
                "load": round(moments[-1].load, 2) if moments else None,
                "steal_s": round(moments[-1].steal_s - (before or moments)[-1 if before else 0].steal_s, 2)
                if moments
                else None,
                "instances": _instances(seen),
                "cpu_s": {
                    role: round(sum(used for at, of, used in cpu if of == role and begin <= at < end), 2)
                    for role in sorted({each.role for each in seen})
                },
                "processes": _processes(seen),
            }
        )
    return entries


def _cpu(samples: Sequence[Sample]) -> list[tuple[float, str, float]]:
    """Seconds of CPU between two samples of a process; what one used before its first is not known."""
    last: dict[int, Sample] = {}
    found = []
    for each in sorted(samples, key=lambda each: each.at):
        before = last.get(each.pid)
        if before is not None and each.cpu_s >= before.cpu_s:
            found.append((each.at, each.role, each.cpu_s - before.cpu_s))
        last[each.pid] = each
    return found


def _instances(samples: Sequence[Sample]) -> int:
    """The most processes that served at one moment."""
    moments: dict[float, int] = {}
    for each in samples:
        if each.role == SERVERS:
            moments[each.at] = moments.get(each.at, 0) + 1
    return max(moments.values(), default=0)


def _processes(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """Each role's processes together, on average over the moments."""
    sums: dict[str, dict[float, dict[str, float]]] = {}
    for each in samples:
        total = sums.setdefault(each.role, {}).setdefault(each.at, dict.fromkeys(MEASURES, 0.0))
        for measure in MEASURES:
            total[measure] += getattr(each, measure)
    return {
        role: {
            measure: round(statistics.mean(total[measure] for total in moments.values()), 1)
            for measure in MEASURES
        }
        for role, moments in sorted(sums.items())
    }
