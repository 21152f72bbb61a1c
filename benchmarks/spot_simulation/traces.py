"""When hosts are lost: by chance, or as a file says."""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

COLUMNS = ("time_s", "node", "event")
LOST, AVAILABLE = "lost", "available"


class TraceError(Exception):
    """A trace cannot be used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A host is lost at `at` and can be launched again from `back` on, both in seconds."""

    at: float
    back: float


NEVER = Outage(math.inf, math.inf)


class Trace(Protocol):
    """Outages of each host of a run."""

    def outages(self, seed: int, hosts: int) -> Sequence[Iterator[Outage]]:
        """For each host, in order of time, without overlap; the same for the same seed."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """No host is ever lost."""

    def outages(self, _seed: int, hosts: int) -> Sequence[Iterator[Outage]]:
        return [iter(()) for _ in range(hosts)]


@dataclass(frozen=True, slots=True)
class Poisson:
    """Each host is lost by chance, as if it had no memory; capacity is there again at once.

    Args:
        rate: Losses per host and hour, 0 or more.
    """

    rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.rate < math.inf:
            raise TraceError(f"a rate of {self.rate} losses per host and hour cannot be; give 0 or more")

    def outages(self, seed: int, hosts: int) -> Sequence[Iterator[Outage]]:
        return [self._one(seed, host) for host in range(hosts)]

    def _one(self, seed: int, host: int) -> Iterator[Outage]:
        # A stream of its own for each host: what happens to one changes nothing for the others, and all
        # policies of a seed meet the same losses. With another rate the same losses come closer together.
        chance, at = random.Random(f"losses/{seed}/{host}"), 0.0
        while self.rate > 0:
            at += chance.expovariate(1.0) / self.rate * 3600
            yield Outage(at, at)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A trace from a file, which starts at a random moment and from its beginning again when it ends.

    Args:
        nodes: Outages by node; `back` is infinite where the file does not say when.
        seconds: Length of the trace.
    """

    nodes: dict[str, tuple[Outage, ...]]
    seconds: float

    @property
    def rate(self) -> float:
        """Losses per node and hour."""
        losses = sum(len(outages) for outages in self.nodes.values())
        return losses / (len(self.nodes) * self.seconds / 3600)

    def outages(self, seed: int, hosts: int) -> Sequence[Iterator[Outage]]:
        """Raises TraceError when there are fewer nodes than hosts."""
        if len(self.nodes) < hosts:
            raise TraceError(
                f"the trace names {len(self.nodes)} nodes and the job has {hosts} hosts; "
                f"give --hosts {len(self.nodes)} or a longer trace (a node that is never lost is named by "
                f"an `{AVAILABLE}` event)"
            )
        chance = random.Random(f"trace/{seed}")
        start = chance.random() * self.seconds
        return [self._one(node, start) for node in chance.sample(sorted(self.nodes), hosts)]

    def _one(self, node: str, start: float) -> Iterator[Outage]:
        outages = self.nodes[node]
        if not outages:
            return
        for turn in count():
            shift = turn * self.seconds - start
            for outage in outages:
                back = min(outage.back, self.seconds) + shift
                if back >= 0:
                    yield Outage(outage.at + shift, back)


def read_trace(path: Path) -> Recorded:
    """Read a CSV file with the columns time_s, node, event, in order of time.

    `lost`: the node is gone. `available`: there is capacity for it again. In a file without any `available`
    after a loss, capacity is there again at once. The last event is where the trace ends.

    Raises:
        TraceError: with the line for the first thing that is wrong.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"{path} is not a CSV file in UTF-8: {error}") from error
    if not rows or tuple(name.strip() for name in rows[0]) != COLUMNS:
        raise TraceError(f"{path}, line 1: the columns are {','.join(COLUMNS)}, in this order")
    events = [_event(path, line, row) for line, row in enumerate(rows[1:], start=2) if row]
    if not events or events[-1][1] <= 0:
        raise TraceError(f"{path}: no event after second 0")
    return _recorded(path, events)


def _event(path: Path, line: int, row: Sequence[str]) -> tuple[int, float, str, str]:
    place = f"{path}, line {line}"
    if len(row) != len(COLUMNS):
        raise TraceError(f"{place}: {len(row)} values instead of {len(COLUMNS)}")
    told, node, event = (value.strip() for value in row)
    try:
        at = float(told)
    except ValueError as error:
        raise TraceError(f"{place}: time_s is {told[:40]!r}, no number") from error
    if not 0 <= at < math.inf:
        raise TraceError(f"{place}: time_s is {told[:40]}; seconds from the start of the trace are wanted")
    if not node:
        raise TraceError(f"{place}: node is empty")
    if event not in (LOST, AVAILABLE):
        raise TraceError(f"{place}: event is {event[:40]!r}; known: {LOST}, {AVAILABLE}")
    return line, at, node, event


def _recorded(path: Path, events: Sequence[tuple[int, float, str, str]]) -> Recorded:
    # An `available` of a node that was not lost only names it.
    lost_once: set[str] = set()
    says_when = False
    for _, _, node, event in events:
        says_when |= event == AVAILABLE and node in lost_once
        if event == LOST:
            lost_once.add(node)
    nodes: dict[str, list[Outage]] = {}
    gone: dict[str, float] = {}
    before = 0.0
    for line, at, node, event in events:
        if at < before:
            raise TraceError(f"{path}, line {line}: second {at:g} comes after second {before:g}")
        before = at
        outages = nodes.setdefault(node, [])
        if event == AVAILABLE:
            if node in gone:
                outages.append(Outage(gone.pop(node), at))
        elif not says_when:
            outages.append(Outage(at, at))
        elif node in gone:
            raise TraceError(
                f"{path}, line {line}: node {node} is lost again before it was {AVAILABLE}; "
                f"name all {AVAILABLE} events or none"
            )
        else:
            gone[node] = at
    for node, at in gone.items():
        nodes[node].append(Outage(at, math.inf))
    return Recorded({node: tuple(outages) for node, outages in nodes.items()}, before)
