"""What caches of a given size reach on a trace that is known beforehand."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate


def zipf(items: int, exponent: float, length: int, seed: int = 7) -> list[int]:
    """Independent draws: item k of `items`, counted from 0, with a probability as (k + 1) ** -exponent."""
    source = random.Random(seed)
    weights = list(accumulate((place + 1) ** -exponent for place in range(items)))
    return source.choices(range(items), cum_weights=weights, k=length)


def lru_hits(trace: Sequence[int], size: int) -> list[bool]:
    """For each request whether a cache finds it that drops what was not used for longest."""
    held: OrderedDict[int, None] = OrderedDict()
    hits = []
    for item in trace:
        hits.append(item in held)
        held[item] = None
        held.move_to_end(item)
        if len(held) > size:
            held.popitem(last=False)
    return hits


def optimal_hits(trace: Sequence[int], size: int) -> list[bool]:
    """The same for one that knows the future, and drops what is used again last (Belady)."""
    never = len(trace)
    following = [never] * len(trace)
    last: dict[int, int] = {}
    for place in range(len(trace) - 1, -1, -1):
        following[place] = last.get(trace[place], never)
        last[trace[place]] = place
    held: dict[int, int] = {}
    hits = []
    for place, item in enumerate(trace):
        hits.append(item in held)
        if item not in held and len(held) == size:
            del held[max(held, key=held.__getitem__)]
        held[item] = following[place]
    return hits
