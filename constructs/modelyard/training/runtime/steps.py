"""The states of an attempt's state machine that do something.

    admit > launch > watch > stop > finish > register

Each may be done twice, since Step Functions repeats what failed: it reads how far the record is, and goes on
from there. An attempt that the record knows nothing of any more stops what it started, gives back its slots,
and changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from . import admission
from .attempt import Attempt, Step
from .attempts import Cause, Ended
from .errors import RefusedError
from .job import BEFORE, ENDS, Job, State, ended, move, placed, report, trains
from .judging import View, Wanted, judge, node_seconds, seconds_with_hosts
from .launching import environment
from .ports import Notice, Ports, Report
from .registering import register
from .settings import Settings

_UNDER_WAY = frozenset({State.WAITING, State.STARTING, State.RUNNING, State.CANCELLING})


def perform(step: Step, at: Attempt, ports: Ports, settings: Settings) -> Attempt:
    """Do a step; after `most_rounds` of them, the rest is another execution's.

    Args:
        step: Which.
        at: The attempt so far.
        ports: The world.
        settings: Of the cluster.

    Returns:
        The attempt, with what is to be done next.
    """
    after = _STEPS[step](replace(at, next=step, wait=0, rounds=at.rounds + 1), ports, settings)
    # Not before the hosts are known: between two looks nothing is under way.
    if after.rounds >= settings.most_rounds and after.next is step:
        ports.executions.start(replace(after, part=after.part + 1, rounds=0))
        return replace(after, next=Step.OVER)
    return after


def admit(at: Attempt, ports: Ports, settings: Settings) -> Attempt:
    """Ask for slots."""
    now = ports.clock()
    at = replace(at, began=at.began or now)
    job = ports.jobs.read(at.job)
    if job is not None and _begins(job, at):
        if job.not_before > now:
            # Not all of it at once: whoever resumes the job ends its pause.
            pause = min(settings.ask_seconds, math.ceil(job.not_before - now))
            return replace(at, wait=pause, began=0.0)
        words = f"attempt {at.number} asks for {job.request.hosts} hosts"
        job = _moved(at, ports, State.WAITING, words, when=lambda job: _begins(job, at))
    if job is None or job.attempt != at.number or job.state not in (State.WAITING, State.STARTING):
        return replace(at, next=Step.STOP)
    # A single host is started for the job: it takes none of the cluster's.
    alone = job.request.instance
    answer = (
        admission.Answer.GRANTED if alone else admission.ask(ports.capacity, at.id, job.request.hosts, now)
    )
    if answer is admission.Answer.GRANTED:
        words = (
            f"attempt {at.number} starts a host"
            if alone
            else f"attempt {at.number} has {job.request.hosts} slots"
        )
        _moved(at, ports, State.STARTING, words, when=lambda job: job.state is State.WAITING)
        return replace(at, next=Step.LAUNCH)
    return _refused(at, answer, job.request.hosts, now, settings)


def launch(at: Attempt, ports: Ports, settings: Settings) -> Attempt:
    """Start a task on each host, all or none."""
    job = ports.jobs.read(at.job)
    if job is None or job.attempt != at.number or job.state is not State.STARTING:
        # Cancelled meanwhile.
        return at.ending(Cause.CANCELLED, "cancelled")
    now = ports.clock()
    # What the record counts begins anew while the attempt trains.
    at = replace(at, launched=now, replaced=now, provider=job.tally.unplaced)
    at, failure = _run(job, at, job.request.hosts, "first", ports, settings)
    return failure or replace(at, next=Step.WATCH, wait=settings.watch_seconds)


def watch(at: Attempt, ports: Ports, settings: Settings) -> Attempt:
    """Look at the hosts and at what the trainer says."""
    tasks = ports.hosts.look(at.tasks)
    told, now, draw = ports.jobs.report(at.job), ports.clock(), ports.chance()
    view = View(report=told, tasks=tasks, now=now, draw=draw)
    found = [(at.ending(Cause.CANCELLED, "its record is another attempt's"), Wanted())]

    def change(job: Job) -> Job:
        if not _is_under_way(job, at):
            return job
        job = _reported(job, at, told, node_seconds(job, at, now), now, settings)
        job, after, wanted = judge(job, at, view, settings)
        found[:] = [(after, wanted)]
        return job

    job = ports.jobs.change(at.job, change)
    after, wanted = found[0]
    if wanted.evict:
        after = _without(after, wanted.evict, "ECS does not hear them", ports)
    if wanted.instead_of:
        ports.hosts.let_go(wanted.instead_of, "it did not come; it is asked for again")
    if wanted.hosts:
        # What cannot be had now is asked for again, later; the others train on.
        after, _ = _run(job, after, wanted.hosts, f"{after.part}/{after.rounds}", ports, settings)
    return after


def stop(at: Attempt, ports: Ports, settings: Settings) -> Attempt:
    """End the hosts. Their slots are given back only when all have ended: until then they train.

    Those that do not end are taken away, so that no other job waits for them for ever; what cannot be is
    tried again, and told of once.
    """
    now = ports.clock()
    at = replace(at, stopping=at.stopping or now)
    told = ports.hosts.stop(at.id, at.tasks, at.reason or "the attempt is over")
    left = [arn for arn in told if arn not in at.evicted]
    if left and now - at.stopping >= settings.end_seconds:
        at = _without(at, left, f"they do not end within {settings.end_seconds} s", ports)
        left = [arn for arn in left if arn not in at.evicted]
    return replace(at, next=Step.STOP, wait=settings.stop_seconds) if left else replace(at, next=Step.FINISH)


def finish(at: Attempt, ports: Ports, settings: Settings) -> Attempt:
    """Write what follows, give back the slots, start the next attempt."""
    now, draw = ports.clock(), ports.chance()
    # What the hosts saved while they were stopped counts.
    told = ports.jobs.report(at.job)

    def change(job: Job) -> Job:
        if _begins(job, at) and at.cause:
            return move(job, _hopeless(at), now, at.reason)
        if not _is_under_way(job, at):
            return job
        if job.state is State.WAITING:
            return move(job, _hopeless(at), now, at.reason or "its execution ended")
        cause = Cause(at.cause or Cause.INTERRUPTED)
        if job.state is State.STARTING and cause is Cause.FINISHED:
            # Between two looks it came, trained and ended.
            job = trains(job, job.request.hosts, now)
        paid = node_seconds(job, at, now) if at.launched else job.attempt_node_seconds
        job = _reported(job, at, told, paid, now, settings)
        job, _ = ended(job, Ended(cause=cause), draw, now, patience_s=settings.queue_days * 86_400)
        return replace(job, reason=_explained(job.reason, cause, at.reason))

    job = ports.jobs.change(at.job, change) if ports.jobs.read(at.job) else None
    admission.settle(ports.capacity, lambda capacity: admission.release(capacity, at.id, now))
    if job is None or job.attempt != at.number:
        return replace(at, next=Step.OVER)
    if at.cause == Cause.NO_CAPACITY and job.tally.unplaced:
        ports.listener.noticed(Notice.UNPLACED, at.id, job.tally.unplaced, at.reason)
    if at.cause == Cause.STALLED:
        ports.listener.noticed(Notice.STALLED, at.id, 1, at.reason)
    if job.state in ENDS:
        # Every way to an end comes by here, the sweeps' too; a step that is repeated says it again.
        ports.listener.ended(job)
    if job.state is State.BACKING_OFF:
        ports.executions.start(Attempt(job=at.job, number=at.number + 1))
    registers = job.state is State.COMPLETED and job.request.model_group
    return replace(at, next=Step.REGISTER if registers else Step.OVER)


_STEPS: Mapping[Step, Callable[[Attempt, Ports, Settings], Attempt]] = {
    Step.ADMIT: admit,
    Step.LAUNCH: launch,
    Step.WATCH: watch,
    Step.STOP: stop,
    Step.FINISH: finish,
    Step.REGISTER: register,
}


def _begins(job: Job, at: Attempt) -> bool:
    return job.attempt == at.number - 1 and job.state in BEFORE


def _is_under_way(job: Job, at: Attempt) -> bool:
    return job.attempt == at.number and job.state in _UNDER_WAY


def _reported(job: Job, at: Attempt, told: Report | None, paid: float, now: float, settings: Settings) -> Job:
    """The record with what the attempt's hosts were paid for, and what its trainer has told."""
    told = told if told and told.attempt == at.number else None
    return report(
        placed(job, at.number, at.tasks),
        attempt=at.number,
        step=told.step if told else job.step,
        cost=max(paid / 3600 * settings.price(instance=job.request.instance), job.attempt_cost),
        checkpoint=told.checkpoint if told else None,
        now=now,
        node_seconds=paid,
        seconds=seconds_with_hosts(job, at, now),
        images_per_second=told.images_per_second if told else None,
    )


def _hopeless(at: Attempt) -> State:
    return State.CANCELLED if at.cause == Cause.CANCELLED else State.FAILED


def _explained(decided: str, cause: Cause, told: str) -> str:
    if cause is Cause.REFUSED:
        return f"{decided}: {told}"
    explains = told and cause in (Cause.FAILED, Cause.INTERRUPTED, Cause.STALLED, Cause.NO_CAPACITY)
    return f"{decided} ({told})" if explains else decided


def _refused(at: Attempt, answer: admission.Answer, slots: int, now: float, settings: Settings) -> Attempt:
    if answer is admission.Answer.IMPOSSIBLE:
        words = f"asks for {slots} hosts; this cluster has {settings.slots}"
        return at.ending(Cause.NO_CAPACITY, words)
    if answer is admission.Answer.ENDED:
        return replace(at, next=Step.STOP)
    if now - at.began > settings.queue_days * 86_400:
        return at.ending(Cause.NO_CAPACITY, f"got no {slots} slots in {settings.queue_days:g} days")
    return replace(at, wait=settings.ask_seconds)


def _without(at: Attempt, tasks: Sequence[str], reason: str, ports: Ports) -> Attempt:
    """With the hosts of these tasks taken away, as far as there are any to take."""
    evicted = ports.hosts.evict(tasks)
    if evicted:
        ports.listener.noticed(Notice.EVICTED, at.id, len(evicted), reason)
    stuck = [arn for arn in tasks if arn not in (*evicted, *at.stuck)]
    if stuck:
        ports.listener.noticed(Notice.STUCK, at.id, len(stuck), reason)
    return replace(at, evicted=(*at.evicted, *evicted), stuck=(*at.stuck, *stuck))


def _moved(at: Attempt, ports: Ports, to: State, words: str, *, when: Callable[[Job], bool]) -> Job:
    now = ports.clock()
    return ports.jobs.change(at.job, lambda job: move(job, to, now, words) if when(job) else job)


def _run(
    job: Job, at: Attempt, count: int, token: str, ports: Ports, settings: Settings
) -> tuple[Attempt, Attempt | None]:
    """The attempt with the tasks that were started, and its end if there were not enough."""
    variables = environment(job.request, at.number, settings, paid=job.node_seconds)
    provider = settings.provider(at.provider, at.elsewhere)
    try:
        started = ports.hosts.run(
            at.id, count, variables, provider=provider, token=token, alone=job.request.instance
        )
    except RefusedError as error:
        return at, at.ending(Cause.FAILED, str(error))
    at = replace(at, tasks=(*at.tasks, *started.tasks))
    if len(started.tasks) < count:
        said = started.failures[0] if started.failures else "ECS does not say why"
        words = f"{len(started.tasks)} of {count} tasks were started: {said}"
        return at, at.ending(Cause.NO_CAPACITY, words)
    return at, None
