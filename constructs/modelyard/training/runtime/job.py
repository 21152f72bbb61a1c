"""What is known of a job, and how it may change.

    queued > waiting > starting > running > completed
                ^          |         |
                '--- backing-off <---'

From everywhere but an end a job may be cancelled or fail; one that has hosts is `cancelling` until they are
gone. A job that failed or was cancelled can be resumed: it is queued again and starts from its checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from .attempts import Action, Decision, Ended, Rules, Tally, after
from .errors import TransitionError
from .job_request import JobRequest

# Of world sizes, and of tasks: a DynamoDB item holds 400 KB, and the newest tell the most.
KEPT = 100


class State(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    WAITING = "waiting"  # for slots
    STARTING = "starting"  # has slots, waits for its hosts
    RUNNING = "running"
    BACKING_OFF = "backing-off"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


_NEXT: Mapping[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.WAITING, State.CANCELLED, State.FAILED}),
    State.WAITING: frozenset({State.STARTING, State.CANCELLED, State.FAILED}),
    State.STARTING: frozenset({State.RUNNING, State.BACKING_OFF, State.CANCELLING, State.FAILED}),
    State.RUNNING: frozenset(
        {State.RUNNING, State.BACKING_OFF, State.COMPLETED, State.CANCELLING, State.FAILED}
    ),
    State.BACKING_OFF: frozenset({State.WAITING, State.CANCELLED, State.FAILED}),
    # The last step may have been trained before the order to stop arrived.
    State.CANCELLING: frozenset({State.CANCELLED, State.COMPLETED, State.FAILED}),
    State.COMPLETED: frozenset(),
    State.FAILED: frozenset({State.QUEUED}),
    State.CANCELLED: frozenset({State.QUEUED}),
}
ENDS = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})
# In these the next attempt is still to come; in all others, but the ends, the last one is under way.
BEFORE = frozenset({State.QUEUED, State.BACKING_OFF})


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """From when on (epoch seconds), from which step on, and with how many hosts an attempt trained."""

    attempt: int
    hosts: int
    step: int
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A host that an attempt started, by ECS's id of its task, the end of the name of its log's stream; a
    single one by its execution."""

    attempt: int
    task: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The newest one: its step and its key in the bucket."""

    step: int
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The record. `generation` is raised by every change, the condition of the next write.

    Args:
        request: What was asked for.
        submitted: Epoch seconds.
        updated: Likewise.
        attempt: Number of the last attempt, from 1; 0 before the first.
        hosts: That train now.
        tasks: The newest of those that were started for it, of all attempts.
        step: Last one that was reported; it falls when an attempt starts from a checkpoint.
        images_per_second: Likewise as reported; 0 while nothing was.
        spent: Cost of the attempts before this one.
        attempt_cost: Of this one so far.
        node_seconds: For which hosts of the attempts before this one were paid.
        attempt_node_seconds: Of this one so far.
        seconds: For which the attempts before this one had hosts.
        attempt_seconds: Of this one so far.
        reason: Why the job is in its state.
        not_before: Of the next attempt (epoch seconds).
        heard: Identifiers of the last orders, which a queue may deliver again.
        models: ARNs of the versions that it has in the registry.
    """

    request: JobRequest
    submitted: float
    updated: float
    state: State = State.QUEUED
    attempt: int = 0
    hosts: int = 0
    worlds: tuple[World, ...] = ()
    tasks: tuple[Placed, ...] = ()
    step: int = 0
    images_per_second: float = 0.0
    checkpoint: Checkpoint | None = None
    spent: float = 0.0
    attempt_cost: float = 0.0
    node_seconds: float = 0.0
    attempt_node_seconds: float = 0.0
    seconds: float = 0.0
    attempt_seconds: float = 0.0
    tally: Tally = field(default_factory=Tally)
    reason: str = ""
    not_before: float = 0.0
    heard: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    generation: int = 1

    @property
    def cost(self) -> float:
        """So far, of all attempts."""
        return self.spent + self.attempt_cost

    @property
    def time_with_hosts(self) -> float:
        """So far, of all attempts, in seconds."""
        return self.seconds + self.attempt_seconds

    @property
    def attempt_id(self) -> str:
        """Under which the attempt holds slots."""
        return f"{self.request.job}/{self.attempt}"

    @property
    def rules(self) -> Rules:
        """How the job is kept going."""
        asked = self.request
        return Rules(
            hosts=asked.hosts,
            min_hosts=asked.min_hosts,
            elastic=asked.elastic,
            budget=asked.budget_usd,
            longest_s=asked.max_hours * 3600 if asked.max_hours else None,
        )


def submit(request: JobRequest, now: float) -> Job:
    """A new job."""
    return Job(request=request, submitted=now, updated=now, reason="submitted")


def move(job: Job, to: State, now: float, reason: str) -> Job:
    """The job in another state; a new attempt begins where it goes to wait for slots.

    An attempt that was to come and is given up counts too: no number is used twice.

    Raises:
        TransitionError: where `to` may not follow; the message names both.
    """
    if to not in _NEXT[job.state]:
        raise TransitionError(f"job {job.request.job} is {job.state}; it cannot become {to}")
    begins = to is State.WAITING or (job.state in BEFORE and to in ENDS)
    job = _changed(job, now, state=to, reason=reason)
    if begins:
        job = replace(
            job,
            attempt=job.attempt + 1,
            spent=job.cost,
            attempt_cost=0.0,
            node_seconds=job.node_seconds + job.attempt_node_seconds,
            attempt_node_seconds=0.0,
            seconds=job.time_with_hosts,
            attempt_seconds=0.0,
            images_per_second=0.0,
        )
    if to is State.WAITING:
        return job
    if to is State.QUEUED:
        # Whoever resumes a job has looked at what broke it.
        return replace(job, tally=Tally(checkpoint_step=job.tally.checkpoint_step), not_before=0.0)
    return job if to in (State.RUNNING, State.CANCELLING) else replace(job, hosts=0)


def trains(job: Job, hosts: int, now: float) -> Job:
    """The attempt trains with that many hosts from now on, from its checkpoint.

    Raises:
        TransitionError: where it has not got hosts.
    """
    step = job.checkpoint.step if job.checkpoint else 0
    words = f"attempt {job.attempt} trains on {hosts} hosts from step {step}"
    world = World(attempt=job.attempt, hosts=hosts, step=step, since=now)
    job = move(job, State.RUNNING, now, words)
    return replace(job, hosts=hosts, step=step, worlds=(*job.worlds, world)[-KEPT:])


def placed(job: Job, attempt: int, arns: Iterable[str]) -> Job:
    """The job with the tasks of an attempt; those that are known change nothing."""
    asked = [Placed(attempt=attempt, task=_short(arn)) for arn in arns]
    new = [task for task in asked if task not in job.tasks]
    return replace(job, tasks=(*job.tasks, *new)[-KEPT:]) if new else job


def report(
    job: Job,
    *,
    attempt: int,
    step: int,
    cost: float,
    checkpoint: Checkpoint | None,
    now: float,
    node_seconds: float = 0.0,
    seconds: float = 0.0,
    images_per_second: float | None = None,
) -> Job:
    """What an attempt says about itself: the step it is at, its cost so far, its newest checkpoint.

    A report of an earlier attempt changes nothing, nor does one after the end; a checkpoint older than the
    known one is not taken, and a cost never falls, so that reports may come late and twice.
    """
    if attempt != job.attempt or job.state in ENDS:
        return job
    known = job.checkpoint
    if checkpoint is None or (known is not None and checkpoint.step <= known.step):
        checkpoint = known
    return _changed(
        job,
        now,
        step=step,
        attempt_cost=max(cost, job.attempt_cost),
        attempt_node_seconds=max(node_seconds, job.attempt_node_seconds),
        attempt_seconds=max(seconds, job.attempt_seconds),
        images_per_second=job.images_per_second if images_per_second is None else images_per_second,
        checkpoint=checkpoint,
    )


def ended(
    job: Job, what: Ended, draw: float, now: float, patience_s: float | None = None
) -> tuple[Job, Decision]:
    """What follows when hosts were lost or the attempt ended; see `attempts.after`.

    Args:
        job: As it was when that happened.
        what: Cause and hosts that are left; checkpoint, cost and time are the job's own.
        draw: Uniform in [0, 1).
        now: Epoch seconds.
        patience_s: See `attempts.Rules`.

    Raises:
        TransitionError: where the job has no attempt that could end.
    """
    step = job.checkpoint.step if job.checkpoint else -1
    saved = max(step, what.checkpoint_step)
    what = replace(what, checkpoint_step=saved, cost=job.cost, seconds=job.time_with_hosts, now=now)
    decision, tally = after(replace(job.rules, patience_s=patience_s), job.tally, what, draw)
    if job.state is State.CANCELLING and decision.action is not Action.COMPLETE:
        decision = Decision(action=Action.STOP, reason="cancelled")
    job = replace(job, tally=tally)
    match decision.action:
        case Action.CONTINUE:
            return trains(job, decision.hosts, now), decision
        case Action.REQUEUE:
            later = move(job, State.BACKING_OFF, now, decision.reason)
            return replace(later, not_before=now + decision.wait_s), decision
        case Action.COMPLETE:
            return move(job, State.COMPLETED, now, decision.reason), decision
        case Action.STOP:
            stopping = job if job.state is State.CANCELLING else move(job, State.CANCELLING, now, "cancelled")
            return move(stopping, State.CANCELLED, now, decision.reason), decision
        case Action.GIVE_UP:
            return move(job, State.FAILED, now, decision.reason), decision


def registered(job: Job, arn: str, now: float) -> Job:
    """The job with a version in the registry; a second time changes nothing."""
    return job if arn in job.models else _changed(job, now, models=(*job.models, arn))


def cancel(job: Job, now: float) -> Job:
    """Asked for by a person; a second time changes nothing.

    Raises:
        TransitionError: for a job that has ended otherwise.
    """
    if job.state in (State.CANCELLING, State.CANCELLED):
        return job
    has_hosts = job.state in (State.STARTING, State.RUNNING)
    return move(job, State.CANCELLING if has_hosts else State.CANCELLED, now, "cancelled")


def _short(arn: str) -> str:
    """Of a task ECS's id, of an execution, which a single host is, the name."""
    return arn.rpartition(":" if ":states:" in arn else "/")[2]


def _changed(job: Job, now: float, **members: Any) -> Job:
    return replace(job, updated=now, generation=job.generation + 1, **members)
