"""What follows when hosts were lost or an attempt ended.

Progress is a checkpoint with a higher step than the last one that was known; nothing else counts, for
nothing else would survive the next loss. Waits grow with the attempts since the last progress, and each is
drawn between nothing and its bound ("full jitter"): jobs that fell together do not come back together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Cause(StrEnum):
    """Why the hosts no longer train as they did."""

    FINISHED = "finished"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"  # hosts were taken away: Spot, or a fault of the machine
    STALLED = "stalled"  # they are there and make no step: something hangs, nobody knows what
    FAILED = "failed"  # the program ended by itself
    REFUSED = "refused"  # likewise, by a mistake in what was asked for: it would be one again
    NO_CAPACITY = "no-capacity"  # not all hosts came before the deadline, nothing was run


class Action(StrEnum):
    """What to do now."""

    COMPLETE = "complete"
    STOP = "stop"  # cancelled
    CONTINUE = "continue"  # with the hosts that are left
    REQUEUE = "requeue"  # a new attempt with all hosts, after a wait
    GIVE_UP = "give-up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a job is kept going.

    Args:
        hosts: Of a whole gang.
        min_hosts: Fewest that an elastic job goes on with.
        elastic: Whether it goes on with fewer at all.
        poison_limit: Failures of the program itself without progress between them; the last one ends the job.
        fruitless_limit: Attempts of any end without progress between them; None for no limit. Larger than
            the poison limit: on Spot hosts several attempts in a row may be lost before they saved anything.
            In `benchmarks/spot_simulation`, 0.3 losses per node-hour, a limit of 3 ends 8 % of all jobs that
            restart, one of 5 ends 0.5 %, one of 10 none.
        first_wait_s: Bound of the first wait, doubled with each attempt without progress.
        longest_wait_s: Bound of all waits.
        budget: Cost at which the job ends, in the unit of `Ended.cost`; None for no bound.
        longest_s: Time with hosts at which the job ends; None for no bound.
        patience_s: For which attempts in a row may get no hosts before the job ends; None for no bound.

    Raises:
        ValueError: for rules that contradict each other.
    """

    hosts: int
    min_hosts: int = 1
    elastic: bool = True
    poison_limit: int = 3
    fruitless_limit: int | None = 10
    first_wait_s: float = 15.0
    longest_wait_s: float = 900.0
    budget: float | None = None
    longest_s: float | None = None
    patience_s: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.min_hosts <= self.hosts:
            raise ValueError(f"min_hosts is {self.min_hosts}; it lies between 1 and hosts, {self.hosts}")
        if self.poison_limit < 1 or (self.fruitless_limit is not None and self.fruitless_limit < 1):
            raise ValueError("poison_limit and fruitless_limit are 1 or more")
        if not 0 <= self.first_wait_s <= self.longest_wait_s:
            raise ValueError(
                f"first_wait_s is {self.first_wait_s}; it lies between 0 and {self.longest_wait_s}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What is remembered of a job's attempts.

    Args:
        checkpoint_step: Of the newest checkpoint that was seen; -1 for none.
        failures: Of the program itself, since the last progress.
        fruitless: Attempts that ran and ended without progress, since the last progress.
        unplaced: Attempts in a row that never got their hosts.
        unplaced_since: When the first of them ended (epoch seconds).
    """

    checkpoint_step: int = -1
    failures: int = 0
    fruitless: int = 0
    unplaced: int = 0
    unplaced_since: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What is left of the gang.

    Args:
        cause: Why it is no longer whole.
        hosts_left: That can still train.
        checkpoint_step: Of the job's newest checkpoint; -1 for none.
        cost: Of the whole job so far.
        seconds: For which it had hosts so far.
        now: When it happened (epoch seconds).
    """

    cause: Cause
    hosts_left: int = 0
    checkpoint_step: int = -1
    cost: float = 0.0
    seconds: float = 0.0
    now: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do, with how many hosts, after how many seconds, and why in words."""

    action: Action
    reason: str
    hosts: int = 0
    wait_s: float = 0.0


def wait_bound(rules: Rules, misses: int) -> float:
    """Longest wait (s) after that many attempts without progress; it doubles until `longest_wait_s`."""
    # 2 ** 64 times any sensible first wait is above every bound, and no float overflows.
    return min(rules.longest_wait_s, rules.first_wait_s * 2.0 ** min(misses, 64))


def after(rules: Rules, tally: Tally, ended: Ended, draw: float) -> tuple[Decision, Tally]:
    """Decide.

    Args:
        rules: Of the job.
        tally: As the last decision left it; a new job's is `Tally()`.
        ended: What happened.
        draw: Uniform in [0, 1): which part of the longest wait is waited.

    Returns:
        What to do, and the tally for the next time.

    Example:
        >>> ended = Ended(cause=Cause.INTERRUPTED, hosts_left=3, checkpoint_step=1200)
        >>> decision, _ = after(Rules(hosts=4, min_hosts=2), Tally(), ended, draw=0.5)
        >>> decision.action, decision.hosts
        (<Action.CONTINUE: 'continue'>, 3)
    """
    if ended.cause is Cause.FINISHED:
        return Decision(action=Action.COMPLETE, reason="finished"), tally
    if ended.cause is Cause.CANCELLED:
        return Decision(action=Action.STOP, reason="cancelled"), tally
    if ended.cause is Cause.REFUSED:
        return Decision(action=Action.GIVE_UP, reason="the trainer refuses it"), tally
    continues = rules.elastic and ended.cause is not Cause.NO_CAPACITY and ended.hosts_left >= rules.min_hosts
    tally = _counted(tally, ended, attempt_ended=not continues)
    if reason := _hopeless(rules, tally, ended):
        return Decision(action=Action.GIVE_UP, reason=reason), tally
    if continues:
        hosts = min(ended.hosts_left, rules.hosts)
        reason = f"{ended.cause}: goes on with {hosts} of {rules.hosts} hosts"
        return Decision(action=Action.CONTINUE, reason=reason, hosts=hosts), tally
    # Without misses there was progress, and the first wait is that of a first attempt.
    misses = max(tally.fruitless, tally.failures, tally.unplaced)
    wait = wait_bound(rules, max(misses - 1, 0)) * draw
    reason = f"{ended.cause}: again with {rules.hosts} hosts in {wait:.0f} s"
    return Decision(action=Action.REQUEUE, reason=reason, hosts=rules.hosts, wait_s=wait), tally


def _counted(tally: Tally, ended: Ended, *, attempt_ended: bool) -> Tally:
    if ended.cause is Cause.NO_CAPACITY:
        # Records of before it was counted have no time.
        since = tally.unplaced_since or ended.now
        return replace(tally, unplaced=tally.unplaced + 1, unplaced_since=since)
    if ended.checkpoint_step > tally.checkpoint_step:
        return Tally(checkpoint_step=ended.checkpoint_step)
    return replace(
        tally,
        failures=tally.failures + (ended.cause is Cause.FAILED),
        fruitless=tally.fruitless + attempt_ended,
        unplaced=0,
        unplaced_since=0.0,
    )


def _hopeless(rules: Rules, tally: Tally, ended: Ended) -> str:
    place = f"checkpoint at step {tally.checkpoint_step}" if tally.checkpoint_step >= 0 else "no checkpoint"
    if rules.budget is not None and ended.cost >= rules.budget:
        return f"the budget of {rules.budget:g} is spent ({ended.cost:.2f}); {place}"
    if rules.longest_s is not None and ended.seconds >= rules.longest_s:
        return f"the {rules.longest_s / 3600:g} hours are over; {place}"
    waited = ended.now - tally.unplaced_since
    if tally.unplaced and rules.patience_s is not None and waited >= rules.patience_s:
        days = rules.patience_s / 86_400
        return f"{tally.unplaced} attempts in {days:g} days got no hosts; {place}: use other instance types"
    if tally.failures >= rules.poison_limit:
        return f"failed {tally.failures} times without progress; {place}: read the log of the last attempt"
    if rules.fruitless_limit is not None and tally.fruitless >= rules.fruitless_limit:
        return (
            f"{tally.fruitless} attempts in a row saved nothing; {place}: save more often or use other hosts"
        )
    return ""
