"""Attempts that come to no end by themselves: steps that hang, hosts nobody hears, hosts that never come."""

from __future__ import annotations

from typing import Any

import pytest
from training_runtime.attempts import Cause
from training_runtime.job import State
from training_runtime.ports import Notice

from tests.unit.training_jobs_world import World


def watched(world: World, seconds: float, *, step: int | None = None) -> None:
    """Look for so long; with `step`, each look finds the trainer further."""
    until = world.now + seconds
    while world.now < until and "dogs-1_1" in world.machines.inputs:
        if step is not None:
            step += 1
            world.report(step=step, saved=0)
        world.step("dogs-1_1")


def test_steps_that_hang_end_the_attempt() -> None:
    """The trainer's thread goes on reporting while a collective hangs."""
    world = World(stall_seconds=600)
    world.submit(hosts=1)
    world.until("running")
    watched(world, 1500, step=7)
    assert world.job().state is State.RUNNING
    watched(world, 570)
    assert world.job().state is State.RUNNING
    job = world.until("backing-off")
    assert job.reason.startswith("stalled: again with 1 hosts in")
    assert job.reason.endswith("(no new step for 10 min, on hosts that are there)")
    assert (job.tally.failures, job.tally.fruitless, world.hosts.living()) == (0, 0, [])
    assert world.notices == [(Notice.STALLED, "dogs-1/1", 1)]
    assert world.until("running").attempt == 2


def test_a_trainer_that_never_says_anything_ends_too_and_so_does_its_job() -> None:
    world = World(stall_seconds=600)
    world.submit(hosts=1)
    job = world.until("failed", steps=3000)
    assert job.attempt == 10
    assert "10 attempts in a row saved nothing" in job.reason
    assert world.machines.inputs == {}


def test_a_checkpoint_and_a_host_are_progress_too() -> None:
    world = World(stall_seconds=600)
    world.submit(min_hosts=1)
    world.until("running")
    watched(world, 500)
    world.report(step=0, saved=5)
    watched(world, 500)
    world.hosts.end("task-1", Cause.INTERRUPTED, "Spot")
    watched(world, 500)
    assert (world.job().state, world.job().attempt) == (State.RUNNING, 1)


def test_hours_are_counted_with_hosts_and_over_all_attempts() -> None:
    world = World(stall_seconds=100_000)
    world.submit(max_hours=1)
    world.submit("cats", hosts=4, max_hours=1)
    world.until("running")
    watched(world, 2000)
    world.report(step=9, saved=9)
    world.report(outcome="failed", step=9, saved=9)
    assert world.until("backing-off").time_with_hosts == pytest.approx(2000, abs=60)
    # The other one's turn: waiting for slots is not counted.
    world.until("running", "cats")
    world.now += 1000
    world.report("cats", outcome="finished")
    world.until("completed", "cats")
    assert world.until("running").attempt == 2
    job = world.until("failed", steps=400)
    assert job.reason == "the 1 hours are over; checkpoint at step 9"
    assert job.time_with_hosts == pytest.approx(3600, abs=60)


@pytest.mark.parametrize("repeated", [False, True])
def test_a_host_that_nobody_hears_counts_as_lost_and_is_taken_away(repeated: bool) -> None:
    world = World(silent_seconds=300)
    world.submit(min_hosts=2)
    world.until("running")
    world.hosts.silence("task-1")
    since = world.now
    while world.job().hosts == 4:
        world.step("dogs-1_1", repeated=repeated)
    assert 300 <= world.now - since <= 330
    assert (world.job().state, world.job().hosts, world.job().tally.failures) == (State.RUNNING, 3, 0)
    assert set(world.hosts.evicted) == {"task-1"}
    assert world.notices[0] == (Notice.EVICTED, "dogs-1/1", 1)
    # Another one comes in its place.
    assert world.hosts.living() == ["task-0", "task-2", "task-3", "task-4"]
    world.hosts.arrive()
    world.step("dogs-1_1")
    assert (world.job().hosts, world.job().attempt) == (4, 1)


def test_agents_that_come_back_within_minutes_are_no_loss() -> None:
    world = World(silent_seconds=300)
    world.submit(min_hosts=2)
    world.until("running")
    for _ in range(5):
        world.hosts.silence("task-1")
        watched(world, 200)
        world.hosts.deaf.clear()
        world.hosts.tasks["task-1"] = world.hosts.tasks["task-0"].__class__(
            arn="task-1", phase=world.hosts.tasks["task-0"].phase
        )
        watched(world, 60)
    assert (world.job().hosts, world.hosts.evicted) == (4, [])


def test_where_ecs_hears_nobody_and_training_goes_on_it_is_left_alone() -> None:
    world = World(silent_seconds=300)
    world.submit()
    world.until("running")
    for arn in world.hosts.living():
        world.hosts.silence(arn)
    watched(world, 3000, step=1)
    assert (world.job().hosts, world.hosts.evicted) == (4, [])
    # When the steps end as well, all hosts are lost.
    watched(world, 400)
    assert len(set(world.hosts.evicted)) == 4
    assert world.until("backing-off").reason.endswith("(ECS has not heard its host for 300 s)")


def test_hosts_that_do_not_end_are_taken_away_and_their_slots_given_back() -> None:
    world = World(end_seconds=600)
    world.submit(hosts=2)
    world.until("running")
    world.hosts.deaf.add("task-1")
    world.send({"cancel": "dogs-1"})
    world.step("dogs-1_1")
    since = world.now
    while world.job().state is State.CANCELLING:
        assert world.slots.read().free == (2 if world.hosts.living() else world.slots.read().free)
        world.step("dogs-1_1")
    assert 600 <= world.now - since <= 640
    assert (world.hosts.evicted, world.slots.read().free) == (["task-1"], 4)
    assert world.notices == [(Notice.EVICTED, "dogs-1/1", 1)]


def test_tasks_without_hosts_of_ours_are_waited_for() -> None:
    """On Fargate there is nothing to take away: AWS ends them."""
    world = World(end_seconds=60)
    world.hosts.fargate = True
    world.submit(hosts=2)
    world.until("running")
    world.hosts.deaf.add("task-1")
    world.send({"cancel": "dogs-1"})
    watched(world, 300)
    assert (world.job().state, world.slots.read().free) == (State.CANCELLING, 2)
    # They block the job, and somebody is told, once.
    assert world.notices == [(Notice.STUCK, "dogs-1/1", 1)]
    world.hosts.deaf.clear()
    world.until("cancelled")


def test_a_silent_host_that_cannot_be_taken_away_is_told_of_once_and_taken_when_it_can_be() -> None:
    """Its instance may be gone already: EC2 denies to end what has no tags any more, until one looks."""
    world = World(silent_seconds=300, end_seconds=60)
    world.submit(hosts=2, min_hosts=1)
    world.until("running")
    world.hosts.silence("task-1")
    world.hosts.denied.add("task-1")
    while world.job().hosts == 2:
        world.step("dogs-1_1")
    assert world.notices == [(Notice.STUCK, "dogs-1/1", 1)]
    world.report(outcome="finished")
    watched(world, 600)
    # It trained to its end, and may not say so while a host of it lives.
    assert (world.job().state, world.slots.read().free) == (State.RUNNING, 2)
    assert world.notices == [(Notice.STUCK, "dogs-1/1", 1)]
    world.hosts.denied.clear()
    world.until("completed")
    assert world.slots.read().free == 4
    assert world.notices[1:] == [(Notice.EVICTED, "dogs-1/1", 1)]


def test_a_sweep_takes_away_what_does_not_end_for_it() -> None:
    world = World(end_seconds=600)
    world.submit(hosts=1)
    world.until("running")
    world.hosts.silence("task-0")
    world.end_execution("dogs-1_1", "FAILED")
    for _ in range(10):
        assert world.sweep() == ["stopped dogs-1/1"]
        world.now += 60
    assert world.sweep() == ["ended dogs-1/1"]
    assert (world.hosts.evicted, world.slots.read().held) == (["task-0"], {})
    assert world.job().state is State.BACKING_OFF


def test_a_sweep_tells_of_what_it_cannot_take_away() -> None:
    world = World(end_seconds=60)
    world.submit(hosts=1)
    world.until("running")
    world.hosts.silence("task-0")
    world.hosts.denied.add("task-0")
    world.end_execution("dogs-1_1", "FAILED")
    assert world.sweep() == ["stopped dogs-1/1"]
    assert world.notices == []
    world.now += 60
    assert world.sweep() == ["stopped dogs-1/1"]
    assert world.notices == [(Notice.STUCK, "dogs-1/1", 1)]
    world.hosts.denied.clear()
    assert world.sweep() == ["ended dogs-1/1"]


def test_capacity_that_never_comes_is_told_of_and_ends_the_job() -> None:
    world = World(queue_days=0.5, start_seconds=900)
    world.submit(hosts=2)
    for _ in range(20_000):
        if not world.machines.inputs:
            break
        (execution,) = world.machines.inputs
        world.step(execution)
    job = world.job()
    assert job.state is State.FAILED
    assert "got no hosts; no checkpoint: use other instance types" in job.reason
    assert "0 of 2 hosts came within 900 s" in job.reason
    assert 0.5 * 86_400 <= world.now - 1000 <= 0.5 * 86_400 + 3600
    assert [notice[2] for notice in world.notices] == list(range(1, job.attempt + 1))
    assert {notice[0] for notice in world.notices} == {Notice.UNPLACED}
    # A person who asks for it again has another half day.
    world.send({"resume": "dogs-1"})
    assert world.until("running").tally.unplaced == 0


@pytest.mark.parametrize("asked", [{"hosts": 4}, {"hosts": 1, "instance": True}])
def test_hosts_that_never_come_spend_neither_hours_nor_budget(asked: dict[str, Any]) -> None:
    world = World(queue_days=0.5, start_seconds=900, driver_arn="arn:driver", instance_price_usd=1.0)
    world.submit(max_hours=1, budget_usd=0.5, **asked)
    for _ in range(20_000):
        if not world.machines.inputs:
            break
        (execution,) = world.machines.inputs
        world.step(execution)
    job = world.job()
    assert job.state is State.FAILED
    assert "got no hosts; no checkpoint: use other instance types" in job.reason
    assert (job.time_with_hosts, job.cost) == (0, 0)


def test_hosts_that_wait_for_the_others_are_paid_and_count_no_hours() -> None:
    world = World(start_seconds=900)
    world.submit(max_hours=1)
    for _ in range(2):
        world.step("dogs-1_1")
    world.hosts.arrive("task-0", "task-1", "task-2")
    while (job := world.job()).state is State.STARTING:
        world.step("dogs-1_1")
    assert "(3 of 4 hosts came within 900 s)" in job.reason
    assert (job.time_with_hosts, job.attempt_node_seconds) == (0, pytest.approx(3 * 900, abs=120))
    job = world.until("running")
    world.now += 600
    world.step("dogs-1_2")
    assert world.job().time_with_hosts == pytest.approx(600, abs=30)
