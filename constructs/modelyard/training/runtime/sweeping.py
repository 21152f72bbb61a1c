"""What puts right what no execution puts right: one that was aborted, or broke, or was never started.

Done by a schedule. It looks at every job that has not ended, at the slots that are held, and at the tasks
that run; what belongs to an attempt that is not under way is ended. Tasks that somebody started by hand,
under a name of another form, are theirs.
"""

from __future__ import annotations

from dataclasses import replace

from . import admission
from .attempt import Attempt, Step, is_id
from .attempts import Cause
from .job import BEFORE, ENDS, Job
from .ports import Notice, Ports
from .registering import register
from .settings import Settings
from .steps import finish

RUNNING = "RUNNING"
# Longer than any call of the functions: slots that are granted while this runs are left alone.
_MARGIN_SECONDS = 120.0


def sweep(ports: Ports, settings: Settings) -> list[str]:
    """Do it.

    Returns:
        What was done, one text for each: `ended dogs-1/2`, `started dogs-1/3`, `stopped cats/1`,
        `released cats/1`.
    """
    done = [text for name in list(ports.jobs.open()) if (text := _follow(name, ports, settings))]
    for attempt in sorted(ports.hosts.attempts()):
        if is_id(attempt) and not _is_under_way(attempt, ports):
            ports.hosts.stop(attempt, (), "its attempt is over")
            done.append(f"stopped {attempt}")
    return done + _release(ports)


def _follow(name: str, ports: Ports, settings: Settings) -> str:
    job = ports.jobs.read(name)
    if job is None or job.state in ENDS:
        return ""
    begins = job.state in BEFORE
    at = Attempt(job=name, number=job.attempt + begins)
    status = ports.executions.status(at)
    if status == RUNNING:
        return ""
    if status is None and begins:
        ports.executions.start(at)
        return f"started {at.id}"
    if (again := ports.jobs.read(name)) is None or again.generation != job.generation:
        # It ended while we looked, and had written so.
        return ""
    if status == "ABORTED":
        at = at.ending(Cause.CANCELLED, "its execution was stopped by hand")
    else:
        at = at.ending(Cause.INTERRUPTED, f"its execution is {(status or 'gone').lower()}")
    if not _have_ended(at, ports, settings):
        # They still train; a later sweep finds them ended.
        return f"stopped {at.id}"
    if finish(at, ports, settings).next is Step.REGISTER:
        register(at, ports, settings)
    return f"ended {at.id}"


def _have_ended(at: Attempt, ports: Ports, settings: Settings) -> bool:
    """Whether an attempt's hosts have, which are told to; after a while they are taken away."""
    left = ports.hosts.stop(at.id, (), at.reason)
    if not left:
        return True
    # The record says since when they are waited for.
    now = ports.clock()
    job = ports.jobs.change(at.job, lambda job: _ending(job, at.reason, now))
    if now - job.updated < settings.end_seconds:
        return False
    evicted = ports.hosts.evict(left)
    if evicted:
        ports.listener.noticed(Notice.EVICTED, at.id, len(evicted), at.reason)
    if stuck := set(left) - set(evicted):
        # By each sweep, which remembers nothing of the one before.
        ports.listener.noticed(Notice.STUCK, at.id, len(stuck), at.reason)
    return not stuck


def _ending(job: Job, reason: str, now: float) -> Job:
    """With the reason why its hosts end; what is there already stays, with its time."""
    if job.reason == reason or job.state in ENDS:
        return job
    return replace(job, reason=reason, updated=now, generation=job.generation + 1)


def _release(ports: Ports) -> list[str]:
    now = ports.clock()
    held = ports.capacity.read().held
    alive = {attempt for attempt in held if _is_under_way(attempt, ports)}
    admission.settle(
        ports.capacity, lambda capacity: admission.sweep(capacity, alive, now - _MARGIN_SECONDS, now)
    )
    left = ports.capacity.read().held
    return [f"released {attempt}" for attempt in sorted(held.keys() - left.keys() - alive)]


def _is_under_way(attempt: str, ports: Ports) -> bool:
    job: Job | None = ports.jobs.read(attempt.rpartition("/")[0])
    return job is not None and job.attempt_id == attempt and job.state not in BEFORE and job.state not in ENDS
