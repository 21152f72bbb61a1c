"""Hosts that are launched, lost and launched again; what they cost."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator
from itertools import chain
from typing import Any

import simpy

from benchmarks.spot_simulation.assumptions import Assumptions
from benchmarks.spot_simulation.traces import NEVER, Outage, Trace


class Fleet:
    """The hosts of one run, by number.

    Args:
        env: Its time is in seconds.
        assumptions: Of the hosts.
        trace: When they are lost.
        seed: Of the trace, the start-ups and the notices.
        heeds_notices: Whether a host with a notice leaves `usable` at once.
    """

    def __init__(
        self,
        env: simpy.Environment,
        assumptions: Assumptions,
        trace: Trace,
        seed: int,
        *,
        heeds_notices: bool,
    ) -> None:
        self._env, self._assumptions, self._seed = env, assumptions, seed
        self._notice = assumptions.notice_s if heeds_notices else 0.0
        self._paid = 0.0
        self._launched: dict[int, float] = {}
        self.usable: set[int] = set()
        self.leaving: set[int] = set()
        self.changed = env.event()
        for host, outages in enumerate(trace.outages(seed, assumptions.hosts)):
            env.process(self._live(host, chain(outages, (NEVER,))))

    @property
    def host_seconds(self) -> float:
        """Paid until now."""
        return self._paid + sum(self._env.now - at for at in self._launched.values())

    def _live(self, host: int, outages: Iterator[Outage]) -> Generator[simpy.Event, Any, None]:
        env, assumptions = self._env, self._assumptions
        # As with losses: streams of its own, so that all policies of a seed meet the same host.
        starts = random.Random(f"starts/{self._seed}/{host}")
        notices = random.Random(f"notices/{self._seed}/{host}")
        for outage in outages:
            if outage.at > env.now:
                yield from self._up(host, outage, starts.uniform(*assumptions.start_s), notices.random())
            if outage.back > env.now:
                yield env.timeout(outage.back - env.now)

    def _up(
        self, host: int, outage: Outage, start_s: float, draw: float
    ) -> Generator[simpy.Event, Any, None]:
        env = self._env
        self._launched[host] = env.now
        if env.now + start_s < outage.at:
            yield env.timeout(start_s)
            self.usable.add(host)
            self._tell()
            if self._notice and draw < self._assumptions.noticed:
                yield env.timeout(max(0.0, outage.at - self._notice - env.now))
                self.usable.remove(host)
                self.leaving.add(host)
                self._tell()
        yield env.timeout(max(0.0, outage.at - env.now))
        self._paid += env.now - self._launched.pop(host)
        self.usable.discard(host)
        self.leaving.discard(host)
        self._tell()

    def _tell(self) -> None:
        told, self.changed = self.changed, self._env.event()
        told.succeed()
