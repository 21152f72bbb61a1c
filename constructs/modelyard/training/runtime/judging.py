"""What a look at a gang means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .attempt import Attempt, Step
from .attempts import Action, Cause, Ended
from .job import KEPT, Job, State, ended, trains
from .ports import Outcome, Phase, Report, Task
from .settings import Settings

_CAUSES = {
    Outcome.FINISHED: Cause.FINISHED,
    Outcome.FAILED: Cause.FAILED,
    Outcome.REFUSED: Cause.REFUSED,
}
# Hosts that are lost are asked for again at most this often (s); what is asked for may take minutes to come.
REPLACEMENT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One look.

    Args:
        report: The trainer's last words, read after the tasks were looked at: what ended had spoken before.
        tasks: Of the attempt.
        now: Epoch seconds.
        draw: Uniform in [0, 1).
    """

    report: Report | None
    tasks: Sequence[Task]
    now: float
    draw: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How many hosts to ask for again, ARNs of tasks to let go of instead, which did not come, and of those
    whose hosts are to be taken away, since nobody hears them."""

    hosts: int = 0
    instead_of: tuple[str, ...] = ()
    evict: tuple[str, ...] = ()


_NOTHING = Wanted()


def judge(job: Job, at: Attempt, view: View, settings: Settings) -> tuple[Job, Attempt, Wanted]:
    """Whether the attempt goes on.

    Args:
        job: Its record, with what the trainer said.
        at: The attempt.
        view: What is seen of it.
        settings: Of the cluster.

    Returns:
        The record and the attempt as they are now, and what to ask for again.
    """
    at = _moved(job, at, view)
    at, view, unheard = _heard(at, view, settings)
    job, at, wanted = _judged(job, at, view, settings)
    return job, at, replace(wanted, evict=unheard)


def _judged(job: Job, at: Attempt, view: View, settings: Settings) -> tuple[Job, Attempt, Wanted]:
    here = [task for task in view.tasks if task.phase is not Phase.ENDED]
    at = replace(at, next=Step.WATCH, wait=settings.watch_seconds, tasks=_standing(view.tasks))
    if ending := _told(job, view.report):
        return job, at.ending(*ending), _NOTHING
    gone = [task for task in view.tasks if task.phase is Phase.ENDED and not task.done]
    running = tuple(task.arn for task in view.tasks if task.phase is Phase.RUNNING or task.done)
    if not here and not gone:
        return job, at.ending(Cause.FAILED, "the trainer ended and did not say how"), _NOTHING
    if job.state is State.STARTING:
        return (*_starting(job, at, gone, running, view.now, settings), _NOTHING)
    missed = _missed(at, view, settings)
    if lost := [task for task in gone if task.arn in at.training]:
        left = tuple(arn for arn in at.training if arn in running)
        # Otherwise the record knows: this look is repeated, its first answer was lost.
        if len(left) < job.hosts:
            what = Ended(cause=_cause(lost), hosts_left=len(left))
            after, decision = ended(job, what, view.draw, view.now)
            if decision.action is not Action.CONTINUE:
                return job, at.ending(what.cause, lost[0].reason), _NOTHING
            job = after
        at = replace(at, training=left)
    elif job.state is State.RUNNING and view.now - at.moved >= settings.stall_seconds:
        words = f"no new step for {settings.stall_seconds / 60:g} min, on hosts that are there"
        return job, at.ending(Cause.STALLED, words), _NOTHING
    if len(running) > job.hosts:
        job = trains(job, len(running), view.now)
    left = tuple(arn for arn in at.tasks if arn not in missed)
    at = replace(at, training=running, tasks=left, elsewhere=at.elsewhere + bool(missed))
    missing, wanted = job.request.hosts - len(left), _NOTHING
    if missing > 0 and view.now - at.replaced >= REPLACEMENT_SECONDS:
        instead_of = tuple(task.arn for task in here if task.arn in missed)
        at, wanted = replace(at, replaced=view.now), Wanted(hosts=missing, instead_of=instead_of)
    return job, at, wanted


def node_seconds(job: Job, at: Attempt, now: float) -> float:
    """Of the attempt so far: its hosts since they were asked for, without those that never came.

    Args:
        job: Its record.
        at: The attempt.
        now: Epoch seconds.
    """
    worlds = [world for world in job.worlds if world.attempt == at.number]
    if not worlds:
        return len(at.training) * max(0.0, now - at.launched)
    # A single host is not there before it is seen; one of several may have waited for the others.
    since = worlds[0].since if job.request.instance else at.launched
    seconds, hosts = 0.0, job.request.hosts
    for world in worlds:
        seconds += hosts * max(0.0, world.since - since)
        since, hosts = world.since, world.hosts
    return seconds + hosts * max(0.0, now - since)


def seconds_with_hosts(job: Job, at: Attempt, now: float) -> float:
    """Of the attempt so far: since all its hosts were there. Arguments as of `node_seconds`."""
    worlds = [world for world in job.worlds if world.attempt == at.number]
    if not worlds:
        return 0.0
    # Where so many changed that the record has forgotten the first, a bound; a sweep does not know it.
    forgotten = len(worlds) == KEPT and at.launched
    return now - (at.launched if forgotten else worlds[0].since)


def _told(job: Job, report: Report | None) -> tuple[Cause, str] | None:
    """Why it ends, whatever its tasks do."""
    if report is not None and report.attempt == job.attempt and report.outcome is not None:
        return _CAUSES[report.outcome], report.reason or report.outcome.value
    if job.state is State.CANCELLING:
        return Cause.CANCELLED, "cancelled"
    if job.rules.budget is not None and job.cost >= job.rules.budget:
        # What follows says so in figures.
        return Cause.INTERRUPTED, ""
    if job.rules.longest_s is not None and job.time_with_hosts >= job.rules.longest_s:
        return Cause.INTERRUPTED, ""
    return None


def _moved(job: Job, at: Attempt, view: View) -> Attempt:
    """With what is new of the trainer's. A report alone is nothing new: a thread writes it, and goes on doing
    so while the steps hang in a collective."""
    told = view.report is not None and view.report.attempt == job.attempt
    saved = job.checkpoint.step if job.checkpoint else -1
    progress = f"{told} {job.step} {saved} {job.hosts}"
    return at if progress == at.progress else replace(at, progress=progress, moved=view.now)


def _heard(at: Attempt, view: View, settings: Settings) -> tuple[Attempt, View, tuple[str, ...]]:
    """The hosts that ECS has not heard for long as lost, and which they are.

    An agent that comes and goes is normal, for seconds. Where ECS hears none of them and they do make steps,
    it is ECS that is ill, not the hosts.
    """
    running = [task for task in view.tasks if task.phase is Phase.RUNNING]
    silent = {task.arn: at.silent.get(task.arn, view.now) for task in running if not task.connected}
    at = replace(at, silent=silent)
    if len(silent) == len(running) and view.now - at.moved < settings.silent_seconds:
        return at, view, ()
    unheard = tuple(arn for arn, since in silent.items() if view.now - since >= settings.silent_seconds)
    words = f"ECS has not heard its host for {settings.silent_seconds} s"
    tasks = [
        replace(task, phase=Phase.ENDED, cause=Cause.INTERRUPTED, reason=words)
        if task.arn in unheard
        else task
        for task in view.tasks
    ]
    return at, replace(view, tasks=tasks), unheard


def _starting(
    job: Job, at: Attempt, gone: Sequence[Task], running: tuple[str, ...], now: float, settings: Settings
) -> tuple[Job, Attempt]:
    hosts = job.request.hosts
    # One of several may have come, been paid for and gone again between two looks.
    gone_again = () if job.request.instance else tuple(task.arn for task in gone)
    at = replace(at, training=(*running, *gone_again))
    if gone:
        return job, at.ending(_cause(gone), gone[0].reason)
    if len(running) == hosts:
        return trains(job, hosts, now), at
    if now - at.launched >= settings.start_seconds:
        words = f"{len(running)} of {hosts} hosts came within {settings.start_seconds} s"
        return job, at.ending(Cause.NO_CAPACITY, words)
    return job, at


def _missed(at: Attempt, view: View, settings: Settings) -> frozenset[str]:
    """Hosts that were asked for again, and did not come in time or not at all."""
    late = view.now - at.replaced >= max(settings.start_seconds, REPLACEMENT_SECONDS)
    return frozenset(
        task.arn
        for task in view.tasks
        if task.arn not in at.training
        # One that is told to go is gone when a look is repeated: it decides as before.
        and ((task.phase is Phase.COMING and late) or (task.phase is Phase.ENDED and not task.done))
    )


def _standing(tasks: Sequence[Task]) -> tuple[str, ...]:
    """Those that run or come; one whose program is done stays, so that it is no loss while others end."""
    return tuple(task.arn for task in tasks if task.phase is not Phase.ENDED or task.done)


def _cause(tasks: Sequence[Task]) -> Cause:
    """Hosts that are taken away make programs on other hosts fail, not the other way round."""
    interrupted = any(task.cause is Cause.INTERRUPTED for task in tasks)
    return Cause.INTERRUPTED if interrupted else Cause.FAILED
