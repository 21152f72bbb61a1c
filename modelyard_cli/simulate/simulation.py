"""A trace, minute by minute, through a plan. What decides is the code of the local cloud's scaling."""

from __future__ import annotations

import math
from dataclasses import dataclass

from localcloud.autoscaling.rules.alarm import LOOK_BACK
from localcloud.autoscaling.rules.tracking import (
    Bounds,
    Change,
    Memory,
    Signal,
    Suspended,
    decide,
    look,
    remember,
)
from modelyard_cli.simulate.plan import Machine, Plan
from modelyard_cli.simulate.trace import MINUTE, Trace
from modelyard_cli.simulate.waiting import Waiting, of_minute, quantile

_RUNNING = Suspended()


@dataclass(frozen=True, slots=True)
class Minute:
    """What a minute was like.

    Args:
        serving: instances in service, on average.
        paid: instances that run, those that start included.
        saturated: there was more to serve than could be, or some of it was left over.
    """

    load: float
    serving: float
    paid: float
    saturated: bool
    waiting: Waiting


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a plan made of a trace.

    Args:
        changes: (minute, instances asked for), in order.
        lost: share of requests that were given up.
    """

    plan: Plan
    minutes: tuple[Minute, ...]
    changes: tuple[tuple[int, int], ...]
    lost: float

    @property
    def instance_hours(self) -> float:
        """Paid for."""
        return math.fsum(minute.paid for minute in self.minutes) / 60

    @property
    def saturated(self) -> int:
        """Minutes."""
        return sum(minute.saturated for minute in self.minutes)

    def wait(self, share: float = 0.99) -> float:
        """Seconds that this share of requests does not wait longer than."""
        return quantile((minute.waiting for minute in self.minutes), share)


@dataclass(slots=True)
class _Pending:
    """A change on its way; `change` is None for one that a policy did not ask for."""

    wanted: int
    decided: float
    ready: float
    change: Change | None


class _Run:
    """The endpoint while the trace passes."""

    def __init__(self, plan: Plan, machine: Machine, start: float) -> None:
        self.plan, self.machine, self.now = plan, machine, start
        self.capacity, self.bounds = plan.initial, plan.bounds
        self.pending: _Pending | None = None
        self.memory = Memory()
        self.signal = None if plan.policy is None else Signal(policy=plan.policy)
        self.points: list[float | None] = []
        self.hold = True
        self.backlog = self.lost = 0.0
        self.due = [timed.schedule.next_after(start - 0.001) for timed in plan.schedules]
        self.changes: list[tuple[int, int]] = []
        self.minutes: list[Minute] = []

    def minute(self, load: float | None) -> None:
        """One minute of traffic, and what is decided at its end."""
        end = self.now + MINUTE
        serving = paid = float(self.capacity)
        inverse = 1 / max(1, self.capacity)
        if self.pending is not None and self.pending.wanted > self.capacity:
            share = min(1.0, max(0.0, (end - self.pending.ready) / MINUTE))
            serving += share * (self.pending.wanted - self.capacity)
            inverse = (1 - share) * inverse + share / self.pending.wanted
            paid = float(self.pending.wanted)
        self.points.append(None if load is None else load * inverse)
        self._serve(load or 0.0, serving, paid)
        self.now = end
        self._scheduled(end)
        if self.pending is not None and self.pending.ready <= end:
            self._complete(self.pending)
        self._scale()

    def _serve(self, load: float, serving: float, paid: float) -> None:
        machine = self.machine
        servers = serving * machine.concurrency
        waiting, self.backlog, lost = of_minute(
            load, servers=servers, service=machine.service, backlog=self.backlog, patience=machine.patience
        )
        self.lost += lost
        saturated = self.backlog > 0 or lost > 0 or load * machine.service >= servers * MINUTE > 0
        self.minutes.append(Minute(load, serving, paid, saturated, waiting))

    def _scheduled(self, end: float) -> None:
        for index, timed in enumerate(self.plan.schedules):
            due = self.due[index]
            if due is None or due > end:
                continue
            self.due[index] = timed.schedule.next_after(end)
            minimum = self.bounds.minimum if timed.minimum is None else timed.minimum
            maximum = self.bounds.maximum if timed.maximum is None else timed.maximum
            if minimum <= maximum:
                self.bounds, self.hold = Bounds(minimum=minimum, maximum=maximum), True

    def _complete(self, pending: _Pending) -> None:
        self.pending, self.capacity = None, pending.wanted
        if pending.change is not None:
            self.memory = remember(self.memory, pending.change, pending.decided, pending.ready)

    def _scale(self) -> None:
        if self.signal is not None:
            policy = self.signal.policy
            longest = policy.low.periods if policy.low else policy.high.periods
            self.signal = look(self.signal, self.points[-(longest + LOOK_BACK) :])
        if self.pending is not None:
            return
        hold, self.hold = self.hold, False
        if hold and (wanted := self.bounds.hold(self.capacity)) != self.capacity:
            self._change(wanted, None)
        elif self.signal is not None:
            found = decide([self.signal], self.capacity, self.bounds, _RUNNING, self.memory, self.now)
            if isinstance(found, Change):
                self._change(found.capacity, found)

    def _change(self, wanted: int, change: Change | None) -> None:
        self.changes.append((len(self.minutes), wanted))
        wait = self.machine.start if wanted > self.capacity else 0.0
        pending = _Pending(wanted, self.now, self.now + wait, change)
        if wait:
            self.pending = pending
        else:
            self._complete(pending)


def simulate(trace: Trace, plan: Plan, machine: Machine) -> Outcome:
    """Send a trace through a plan.

    New instances serve after `machine.start` seconds, and nothing else is decided meanwhile, as SageMaker
    takes no other change of an endpoint that is being updated. Instances that go are gone at once.
    """
    run = _Run(plan, machine, trace.start)
    for load in trace.loads:
        run.minute(load)
    total = math.fsum(load or 0.0 for load in trace.loads)
    return Outcome(plan, tuple(run.minutes), tuple(run.changes), run.lost / total if total else 0.0)
