"""What a message of the jobs queue does.

A request for a job is one object as `job_request` says. Two orders are another:

    {"cancel": "dogs-1"}        {"resume": "dogs-1"}

SQS delivers at least once. A request that is repeated finds its job; an order that is repeated is known by
the identifier of its message, which the record remembers.
"""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum

from .attempt import Attempt
from .errors import MissingError, RequestError, TransitionError
from .job import BEFORE, ENDS, Job, State, cancel, move, submit
from .job_request import is_repeated, parse, read_object
from .launching import check
from .ports import Executions, Jobs
from .settings import Settings

_JOB = re.compile(r"[a-z0-9](-?[a-z0-9]){0,62}")
# Deliveries repeat within the days a queue keeps messages; nobody gives more orders to one job meanwhile.
_REMEMBERED = 50


class Order(StrEnum):
    """What a person may ask of a job that exists."""

    CANCEL = "cancel"
    RESUME = "resume"


def accept(
    body: str, message: str, *, jobs: Jobs, executions: Executions, settings: Settings, now: float
) -> Job:
    """Do what a message asks for.

    Args:
        body: Of the message.
        message: Its identifier, the same however often it is delivered.
        jobs: The records.
        executions: Of the state machine.
        settings: Of the cluster.
        now: Epoch seconds.

    Returns:
        The record of the job, which is begun if it is to be.

    Raises:
        RequestError: it cannot be done, now or later; the message says why.
    """
    members = read_object(body)
    order = next((order for order in Order if order.value in members), None)
    if order is None:
        job = _submitted(body, jobs, settings, now)
    else:
        job = _ordered(order, members, message, jobs, now)
    if job.state is State.QUEUED:
        # Also where an earlier delivery wrote the record and came no further.
        executions.start(Attempt(job=job.request.job, number=job.attempt + 1))
    return job


def _submitted(body: str, jobs: Jobs, settings: Settings, now: float) -> Job:
    request = parse(body)
    check(request, settings)
    job = submit(request, now)
    if jobs.create(job):
        return job
    known = jobs.read(request.job)
    if known is None:
        raise RequestError(f"job {request.job} was removed while it was submitted; send the message again")
    is_repeated(request, known.request.digest)
    return known


def _ordered(order: Order, members: dict[str, object], message: str, jobs: Jobs, now: float) -> Job:
    name = members[order.value]
    if len(members) > 1 or not isinstance(name, str) or not _JOB.fullmatch(name):
        raise RequestError(f'an order is one member: {{"{order}": "name of a job"}}')

    def change(job: Job) -> Job:
        if message in job.heard:
            return job
        changed = cancel(job, now) if order is Order.CANCEL else _resumed(job, now)
        return replace(changed, heard=(*changed.heard, message)[-_REMEMBERED:])

    try:
        return jobs.change(name, change)
    except (MissingError, TransitionError) as error:
        raise RequestError(str(error)) from error


def _resumed(job: Job, now: float) -> Job:
    if job.state not in ENDS and job.state is not State.CANCELLING:
        return job if job.state not in BEFORE else replace(job, not_before=0.0)
    return move(job, State.QUEUED, now, "resumed")
