"""Work on many items in threads: decoding leaves the interpreter free, so that threads use all CPUs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from training.common.hosts import usable_cpus

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered(
    work: Callable[[Item], Result], items: Iterable[Item], ahead: int = 16, threads: int | None = None
) -> Iterator[Result]:
    """`map(work, items)`, in that order, up to `ahead` items before they are asked for.

    Threads: one for each CPU, or `threads`, for work that waits for others.

    >>> list(ordered(str.upper, ["a", "b"]))
    ['A', 'B']
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads or usable_cpus()) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= max(1, ahead):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
