"""One job on hosts that are lost, kept going by the same rules as on AWS."""

from __future__ import annotations

import math
import random
from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import simpy

from benchmarks.spot_simulation.assumptions import Assumptions
from benchmarks.spot_simulation.fleet import Fleet
from benchmarks.spot_simulation.traces import Trace
from modelyard.training.runtime.attempts import Action, Cause, Ended, Rules, Tally, after

# Times are sums of floats: what is closer than this is the same moment.
_SAME_S = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a job does about losses.

    Args:
        name: Shown in the results.
        saves: Whether it writes checkpoints.
        elastic: Whether it goes on with fewer hosts.
        drains: Whether it saves when a notice comes.
    """

    name: str
    saves: bool = True
    elastic: bool = False
    drains: bool = False


NO_CHECKPOINT = Policy(name="no checkpoint", saves=False)
RESTART = Policy(name="restart from checkpoint")
ELASTIC = Policy(name="elastic", elastic=True)
DRAIN = Policy(name="elastic with drain", elastic=True, drains=True)
POLICIES = (NO_CHECKPOINT, RESTART, ELASTIC, DRAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of a job.

    Args:
        finished: False for one that was cut or gave up.
        seconds: Until then.
        host_seconds: Paid until then.
        lost: Work done twice, in seconds of one host of the whole gang.
        losses: That hit the job while it trained, saved or recovered.
        attempts: Starts with a whole gang.
        gave_up: Why, or empty.
    """

    finished: bool
    seconds: float
    host_seconds: float
    lost: float
    losses: int
    attempts: int
    gave_up: str


class _Phase(Enum):
    WAITING = auto()  # for all hosts
    RECOVERING = auto()
    WORKING = auto()
    SAVING = auto()


def simulate(
    assumptions: Assumptions, policy: Policy, trace: Trace, seed: int, *, limit_s: float = math.inf
) -> Run:
    """Run one job to its end.

    Args:
        assumptions: See `assumptions.MEANING`.
        policy: What it does about losses.
        trace: When hosts are lost.
        seed: Decides all that is drawn; runs of several policies with one seed meet the same hosts.
        limit_s: When to cut it.
    """
    env = simpy.Environment()
    fleet = Fleet(env, assumptions, trace, seed, heeds_notices=policy.drains)
    gang = _Gang(env, assumptions, policy, fleet, seed)
    job = env.process(gang.run())
    env.run(until=job if math.isinf(limit_s) else job | env.timeout(limit_s))
    return Run(
        finished=gang.finished,
        seconds=env.now,
        host_seconds=fleet.host_seconds,
        lost=gang.lost,
        losses=gang.losses,
        attempts=gang.attempts,
        gave_up=gang.gave_up,
    )


class _Gang:
    def __init__(
        self, env: simpy.Environment, assumptions: Assumptions, policy: Policy, fleet: Fleet, seed: int
    ) -> None:
        self._env, self._assumptions, self._policy, self._fleet = env, assumptions, policy, fleet
        self._rules = Rules(
            hosts=assumptions.hosts,
            min_hosts=assumptions.min_hosts,
            elastic=policy.elastic,
            fruitless_limit=Rules(hosts=1).fruitless_limit if policy.saves else None,
            first_wait_s=assumptions.first_wait_s,
            longest_wait_s=assumptions.longest_wait_s,
        )
        self._chance = random.Random(f"waits/{seed}")
        self._tally = Tally()
        self._all = assumptions.hours * 3600
        self._phase, self._ends = _Phase.WAITING, 0.0
        self._world: set[int] = set()
        self._done = self._saved = self._aim = 0.0
        self._over = self.finished = False
        self.gave_up = ""
        self.lost, self.losses, self.attempts = 0.0, 0, 0

    def run(self) -> Generator[simpy.Event, Any, None]:
        while not self._over:
            before, speed = self._env.now, self._assumptions.speed(len(self._world))
            wake = self._fleet.changed
            if math.isfinite(self._ends):
                yield wake | self._env.timeout(max(0.0, self._ends - before))
            else:
                yield wake
            if self._phase is _Phase.WORKING:
                self._done = min(self._aim, self._done + speed * (self._env.now - before))
            self._look()
            if not self._over and self._env.now >= self._ends - _SAME_S:
                self._next()

    def _enter(self, phase: _Phase, seconds: float) -> None:
        self._phase, self._ends = phase, self._env.now + seconds

    def _look(self) -> None:
        """What changed about the hosts."""
        if self._phase is _Phase.WAITING:
            if len(self._fleet.usable) == self._assumptions.hosts and math.isinf(self._ends):
                self._ends = self._env.now
            return
        if gone := self._world - self._fleet.usable - self._fleet.leaving:
            self.losses += len(gone)
            self.lost += self._done - self._saved
            self._done = self._saved
            self._after_loss()
        elif self._policy.drains and self._phase is _Phase.WORKING:
            self._regroup_if_changed()

    def _next(self) -> None:
        """The phase is over."""
        match self._phase:
            case _Phase.WAITING if len(self._fleet.usable) < self._assumptions.hosts:
                self._ends = math.inf
            case _Phase.WAITING:
                self.attempts += 1
                self._world = set(self._fleet.usable)
                # What the first start takes is part of every host's own start.
                self._enter(_Phase.RECOVERING, self._assumptions.restart_s if self.attempts > 1 else 0.0)
            case _Phase.RECOVERING:
                self._work()
            case _Phase.WORKING if self._aim >= self._all:
                self.finished = self._over = True
            case _Phase.WORKING:
                self._done = self._aim
                self._enter(_Phase.SAVING, self._assumptions.checkpoint_s)
            case _Phase.SAVING:
                self._saved = self._done
                self._work()

    def _work(self) -> None:
        """Train until the next checkpoint or the end, or in another world first."""
        self._phase = _Phase.WORKING
        if self._policy.elastic and self._regroup_if_changed():
            return
        speed, missing = self._assumptions.speed(len(self._world)), self._all - self._done
        pause = self._assumptions.cadence_s if self._policy.saves else math.inf
        if missing <= speed * (pause + _SAME_S):
            self._aim = self._all
        else:
            self._aim = self._done + speed * pause
        self._enter(_Phase.WORKING, (self._aim - self._done) / speed)

    def _regroup_if_changed(self) -> bool:
        """Take in hosts that came, let go those with a notice; nothing is lost, since it saves first."""
        if self._world == self._fleet.usable:
            return False
        if self._done > self._saved:
            self._enter(_Phase.SAVING, self._assumptions.checkpoint_s)
        elif leaving := self._world - self._fleet.usable:
            self.losses += len(leaving)
            self._after_loss()
        else:
            self._world = set(self._fleet.usable)
            self._enter(_Phase.RECOVERING, self._assumptions.recovery_s)
        return True

    def _after_loss(self) -> None:
        left = set(self._fleet.usable)
        # Steps of a real trainer are whole numbers; here a step is one second of one host.
        ended = Ended(
            cause=Cause.INTERRUPTED,
            hosts_left=len(left),
            checkpoint_step=int(self._saved) if self._saved > 0 else -1,
        )
        decision, self._tally = after(self._rules, self._tally, ended, self._chance.random())
        self._world = left if decision.action is Action.CONTINUE else set()
        match decision.action:
            case Action.CONTINUE:
                self._enter(_Phase.RECOVERING, self._assumptions.recovery_s)
            case Action.REQUEUE:
                self._enter(_Phase.WAITING, decision.wait_s)
            case _:
                self.gave_up, self._over = decision.reason, True
