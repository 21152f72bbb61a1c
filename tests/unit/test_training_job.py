"""The record of a job and the messages that ask for one."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_runtime.attempts import Action, Cause, Ended
from training_runtime.errors import RequestError, TransitionError
from training_runtime.job import (
    BEFORE,
    ENDS,
    Checkpoint,
    Job,
    State,
    cancel,
    ended,
    move,
    placed,
    report,
    submit,
    trains,
)
from training_runtime.job_request import JobRequest, is_repeated, parse

ASKED: dict[str, Any] = {"job": "dogs-1", "data": "s3://bucket/datasets/dogs/manifest.json", "hosts": 4}


def body(**changes: Any) -> str:
    return json.dumps({**ASKED, **changes})


def running(hosts: int = 4) -> Job:
    job = submit(parse(body(min_hosts=2)), now=0.0)
    job = move(job, State.WAITING, 1.0, "asks for 4 slots")
    return trains(move(job, State.STARTING, 2.0, "4 slots"), hosts, 3.0)


def test_a_message_becomes_a_request() -> None:
    text = body(
        min_hosts=2,
        elastic=False,
        budget_usd=25,
        max_hours=12,
        settings={"epochs": 10, "ema": True, "lr": 0.1},
    )
    assert parse(text) == JobRequest(
        job="dogs-1",
        data="s3://bucket/datasets/dogs/manifest.json",
        hosts=4,
        min_hosts=2,
        elastic=False,
        budget_usd=25.0,
        max_hours=12.0,
        settings={"epochs": 10, "ema": True, "lr": 0.1},
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 30_000, "not JSON"),
        ("[]", "no object: it starts with '\\[\\]'"),
        ("null", "no object"),
        ('{"job": "a"}', "no data$"),
        ("{}", "no job and no data"),
        ('{"job": "a", "job": "b"}', "'job' is given twice"),
        (body(budget_usd=float("nan")), "NaN, which JSON does not have"),
        (body(priority=1), "unknown member 'priority'; known: job, data"),
        (body(job="Dogs 1"), "job is 'Dogs 1'; it must be 1 to 63 small letters"),
        (body(job="a" * 64), "job is 'a{60,}'; it must"),
        (body(job=7), "job is 7;"),
        (body(job="dogs-1\n"), "job is 'dogs-1"),
        (body(data="https://x/y"), "data is 'https://x/y'; it must be an address"),
        (body(hosts=0), "hosts is 0; it must be a whole number from 1 to 64"),
        (body(hosts=65), "hosts is 65"),
        (body(hosts=True), "hosts is True"),
        (body(hosts=2.0), "hosts is 2.0"),
        (body(hosts="2"), "hosts is '2'"),
        (body(hosts=2, min_hosts=3), "min_hosts is 3; it must be a whole number from 1 to 2"),
        (body(elastic="yes"), "elastic is 'yes'; it must be true or false"),
        (body(budget_usd=0), "budget_usd is 0; it must be a number above 0"),
        (body(budget_usd=True), "budget_usd is True"),
        (body(max_hours=0), "max_hours is 0; it must be a number above 0"),
        (body(max_hours="12"), "max_hours is '12'"),
        (body()[:-1] + ', "budget_usd": 1e999}', "budget_usd is inf"),
        (body(budget_usd=10**400), "budget_usd is 1000"),
        (body(wandb="a/b"), "wandb is 'a/b'; it must be 1 to 128 letters"),
        (body(wandb=""), "wandb is ''; it must"),
        (body(settings=[]), "settings is not an object"),
        (body(settings={"Bad name": 1}), "setting 'Bad name' is not"),
        (body(settings={"layers": [1]}), "setting layers is \\[1\\]"),
        (body(settings={"layers": None}), "setting layers is None"),
        (body(settings={"note": "x" * 70_000}), "larger than 65536 bytes"),
        (body(settings={"note": "\ud83d"}), "half of a character"),
        (body(hosts=0)[:-2] + "9" * 5000 + "}", "not JSON"),
    ],
)
def test_a_malformed_message_has_one_clear_reason(text: str, words: str) -> None:
    with pytest.raises(RequestError, match=words) as told:
        parse(text)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 300


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5)
)
def test_whatever_a_member_holds_it_is_refused_or_kept(value: Any) -> None:
    for name in (*ASKED, "min_hosts", "elastic", "budget_usd", "max_hours", "settings"):
        try:
            request = parse(body(**{name: value}))
        except RequestError:
            continue
        assert request.digest.encode("ascii")


def test_a_repeated_message_is_no_error_and_another_one_is() -> None:
    first = parse(body())
    again = parse(json.dumps({**dict(reversed(ASKED.items())), "elastic": True}))
    assert not is_repeated(first, None)
    assert is_repeated(again, first.digest)
    with pytest.raises(RequestError, match="job dogs-1 exists and asks for something else"):
        is_repeated(parse(body(hosts=3)), first.digest)


def test_a_request_that_is_older_than_a_member_is_still_repeated() -> None:
    """Its record has the digest that it had then."""
    told = {**ASKED, "min_hosts": 1, "elastic": True, "budget_usd": None, "settings": {}, "model_group": ""}
    before = hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert parse(body()).digest == before
    assert parse(body(max_hours=None, instance=False)).digest == before
    assert parse(body(wandb="zoo")).digest != before
    assert parse(body(max_hours=2)).digest != before
    assert parse(body(hosts=1, instance=True)).digest != parse(body(hosts=1)).digest


def test_the_way_of_a_job_that_loses_a_host() -> None:
    job = report(running(), attempt=1, step=130, cost=1.5, checkpoint=Checkpoint(step=100, key="k"), now=4.0)
    job, decision = ended(job, Ended(cause=Cause.INTERRUPTED, hosts_left=3), 0.0, 5.0)
    assert (decision.action, job.state, job.hosts, job.step) == (Action.CONTINUE, State.RUNNING, 3, 100)
    assert [(world.hosts, world.step, world.since) for world in job.worlds] == [(4, 0, 3.0), (3, 100, 5.0)]
    job, decision = ended(job, Ended(cause=Cause.INTERRUPTED, hosts_left=1), 0.5, 6.0)
    assert (decision.action, job.state, job.hosts) == (Action.REQUEUE, State.BACKING_OFF, 0)
    assert job.not_before == 6.0 + decision.wait_s
    job = move(job, State.WAITING, 9.0, "again")
    assert (job.attempt, job.attempt_id, job.cost, job.attempt_cost) == (2, "dogs-1/2", 1.5, 0.0)
    job = trains(move(job, State.STARTING, 10.0, "slots"), 4, 11.0)
    job = report(job, attempt=2, step=200, cost=0.5, checkpoint=None, now=12.0)
    job, _ = ended(job, Ended(cause=Cause.FINISHED), 0.0, 13.0)
    assert (job.state, job.cost, job.hosts) == (State.COMPLETED, 2.0, 0)


def test_what_earlier_attempts_were_paid_for_is_kept() -> None:
    told: dict[str, Any] = {"cost": 0.0, "checkpoint": None, "step": 1}
    job = report(running(), attempt=1, now=4.0, node_seconds=100.0, images_per_second=9.0, **told)
    job = report(job, attempt=1, now=5.0, node_seconds=90.0, **told)
    assert (job.node_seconds, job.attempt_node_seconds, job.images_per_second) == (0.0, 100.0, 9.0)
    job, _ = ended(job, Ended(cause=Cause.INTERRUPTED), 0.0, 6.0)
    job = move(job, State.WAITING, 9.0, "again")
    assert (job.node_seconds, job.attempt_node_seconds, job.images_per_second) == (100.0, 0.0, 0.0)


def test_tasks_are_known_by_what_their_logs_are_named_after() -> None:
    task = "arn:aws:ecs:eu-west-1:111122223333:task/training/0123abcd"
    execution = "arn:aws:states:eu-west-1:111122223333:execution:driver:dogs-1_1"
    job = placed(placed(running(), 1, [task]), 1, [task, execution])
    assert [one.task for one in job.tasks] == ["0123abcd", "dogs-1_1"]


def test_late_and_repeated_reports_change_nothing_for_the_worse() -> None:
    told: dict[str, Any] = {"attempt": 1, "step": 130, "cost": 1.5, "now": 4.0}
    job = report(running(), **told, checkpoint=Checkpoint(step=100, key="new"))
    assert report(job, **{**told, "attempt": 0}, checkpoint=Checkpoint(step=900, key="zombie")) == job
    late = report(job, **{**told, "cost": 1.0}, checkpoint=Checkpoint(step=50, key="old"))
    assert (late.checkpoint, late.cost) == (Checkpoint(step=100, key="new"), 1.5)
    over, _ = ended(job, Ended(cause=Cause.FINISHED), 0.0, 5.0)
    assert report(over, **told, checkpoint=None) == over


def test_the_budget_of_the_request_ends_the_job() -> None:
    job = submit(parse(body(budget_usd=2)), 0.0)
    job = move(move(job, State.WAITING, 0.0, ""), State.STARTING, 0.0, "")
    job = report(trains(job, 4, 0.0), attempt=1, step=1, cost=2.0, checkpoint=None, now=1.0)
    job, decision = ended(job, Ended(cause=Cause.INTERRUPTED, hosts_left=3), 0.0, 2.0)
    assert (decision.action, job.state) == (Action.GIVE_UP, State.FAILED)
    assert job.reason.startswith("the budget of 2 is spent (2.00)")


def test_a_job_that_failed_can_be_resumed_from_its_checkpoint() -> None:
    job = report(running(), attempt=1, step=9, cost=1.0, checkpoint=Checkpoint(step=9, key="k"), now=4.0)
    for _ in range(4):
        job, decision = ended(job, Ended(cause=Cause.FAILED), 0.0, 5.0)
        if decision.action is Action.GIVE_UP:
            break
        job = trains(move(move(job, State.WAITING, 6.0, ""), State.STARTING, 6.0, ""), 4, 6.0)
    assert (job.state, job.attempt) == (State.FAILED, 4)
    job = move(job, State.QUEUED, 7.0, "resumed")
    assert (job.tally.failures, job.tally.checkpoint_step, job.checkpoint) == (
        0,
        9,
        Checkpoint(step=9, key="k"),
    )
    job = trains(move(move(job, State.WAITING, 8.0, ""), State.STARTING, 8.0, ""), 4, 8.0)
    assert (job.attempt, job.step, job.cost) == (5, 9, 1.0)


def test_cancel_while_hosts_start_and_while_none_are_held() -> None:
    queued = submit(parse(body()), 0.0)
    assert cancel(queued, 1.0).state is State.CANCELLED
    starting = move(move(queued, State.WAITING, 1.0, ""), State.STARTING, 2.0, "")
    stopping = cancel(starting, 3.0)
    assert stopping.state is State.CANCELLING
    assert cancel(stopping, 4.0) == stopping
    # Whatever its hosts say when they end, it is cancelled; unless it had trained the last step.
    for cause in (Cause.CANCELLED, Cause.INTERRUPTED, Cause.FAILED, Cause.NO_CAPACITY):
        job, decision = ended(stopping, Ended(cause=cause, hosts_left=3), 0.0, 5.0)
        assert (job.state, decision.action) == (State.CANCELLED, Action.STOP)
    assert ended(cancel(running(), 4.0), Ended(cause=Cause.FINISHED), 0.0, 5.0)[0].state is State.COMPLETED
    with pytest.raises(TransitionError, match="job dogs-1 is completed; it cannot become cancelled"):
        cancel(ended(running(), Ended(cause=Cause.FINISHED), 0.0, 5.0)[0], 6.0)


@given(st.lists(st.sampled_from(State), max_size=30))
@settings(deadline=None)
def test_transitions(path: list[State]) -> None:
    """Attempts only grow, each change is a generation, and hosts are held only where they can be."""
    job = submit(parse(body()), 0.0)
    for to in path:
        try:
            after = move(job, to, job.updated + 1, "test")
        except TransitionError:
            continue
        assert after.generation == job.generation + 1
        begins = to is State.WAITING or (job.state in BEFORE and to in ENDS)
        assert after.attempt == job.attempt + begins
        assert job.state not in ENDS or to is State.QUEUED
        job = after
        if to is State.RUNNING:
            job = trains(job, 4, job.updated)
        assert (job.hosts == 0) or job.state in (State.RUNNING, State.CANCELLING)


def test_the_record_stays_small() -> None:
    job = running()
    for step in range(300):
        job = report(
            job, attempt=1, step=step, cost=0.0, checkpoint=Checkpoint(step=step, key=f"{step}"), now=step
        )
        job, _ = ended(job, Ended(cause=Cause.INTERRUPTED, hosts_left=3), 0.0, float(step))
    assert len(job.worlds) == 100
    assert job.worlds[-1].step == 299
