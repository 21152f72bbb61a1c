"""Hosts of a job that are lost, do not come, or are asked for again."""

from __future__ import annotations

import pytest
from training_runtime.attempts import Cause
from training_runtime.job import Checkpoint, State

from tests.unit.training_jobs_world import World


def test_a_lost_host_is_replaced_while_the_others_train() -> None:
    world = World()
    world.submit(min_hosts=2)
    world.until("running")
    world.report(step=10, saved=8)
    world.now += 60
    world.hosts.end("task-1", Cause.INTERRUPTED, "Spot")
    world.step("dogs-1_1")
    job = world.job()
    assert (job.state, job.hosts, job.step, len(job.worlds)) == (State.RUNNING, 3, 8, 2)
    assert world.hosts.living() == ["task-0", "task-2", "task-3", "task-4"]
    world.step("dogs-1_1")
    assert world.job().hosts == 3
    world.hosts.arrive()
    world.step("dogs-1_1")
    assert [one.hosts for one in world.job().worlds] == [4, 3, 4]
    # Whose logs there are: of the lost one too.
    assert [(one.attempt, one.task) for one in world.job().tasks] == [(1, f"task-{n}") for n in range(5)]
    assert world.slots.read().held["dogs-1/1"].slots == 4


@pytest.mark.parametrize("repeated", [False, True])
def test_a_replacement_that_does_not_come_is_asked_for_elsewhere(repeated: bool) -> None:
    world = World(start_seconds=300)
    world.submit(min_hosts=2)
    world.until("running")
    world.now += 60
    world.hosts.end("task-1", Cause.INTERRUPTED, "Spot")
    world.step("dogs-1_1")
    assert world.hosts.providers == [0, 0]
    asked = world.now
    while len(world.hosts.tasks) == 5:
        world.step("dogs-1_1", repeated=repeated)
    assert 300 <= world.now - asked <= 330
    assert world.hosts.providers[-1] == 1
    # The one that did not come is let go of, and nothing is asked for twice.
    assert world.hosts.living() == ["task-0", "task-2", "task-3", "task-5"]
    world.hosts.arrive()
    world.step("dogs-1_1")
    assert (world.job().hosts, world.job().attempt) == (4, 1)


def test_a_replacement_that_ecs_gives_up_is_asked_for_elsewhere() -> None:
    """ECS lets tasks wait for capacity for some minutes, of which no page says how many."""
    world = World()
    world.submit(min_hosts=2)
    world.until("running")
    world.now += 60
    world.hosts.end("task-1", Cause.INTERRUPTED, "Spot")
    world.step("dogs-1_1")
    world.hosts.end("task-4", Cause.FAILED, "timed out waiting for capacity")
    while len(world.hosts.tasks) == 5:
        world.step("dogs-1_1")
    assert world.hosts.providers == [0, 0, 1]
    assert (world.job().tally.failures, world.job().hosts) == (0, 3)


POOLS = {"capacity_providers": ("spot", "spot-b", "on-demand"), "zones": (0, 1, 0)}


def test_a_replacement_stays_in_the_zone_of_the_others() -> None:
    """Between zones every step's gradients would be paid for."""
    world = World(start_seconds=300, **POOLS)
    world.submit(min_hosts=2)
    world.until("running")
    world.hosts.end("task-1", Cause.INTERRUPTED, "Spot")
    for _ in range(150):
        world.report(step=int(world.now), saved=0)
        world.step("dogs-1_1")
    assert world.job().attempt == 1
    assert world.hosts.providers[:5] == [0, 0, 2, 0, 2]


def test_it_does_so_where_the_attempt_began_in_another_zone() -> None:
    world = World(start_seconds=300, **POOLS)
    world.submit(min_hosts=2)
    while world.job().attempt < 2:
        (execution,) = world.machines.inputs
        world.step(execution)
    world.until("running")
    assert world.hosts.providers == [0, 1]
    world.hosts.end(world.hosts.living()[0], Cause.INTERRUPTED, "Spot")
    for _ in range(60):
        world.report(step=int(world.now), saved=0)
        world.step("dogs-1_2")
    # There is one alone.
    assert world.hosts.providers[:4] == [0, 1, 1, 1]


def test_providers_are_walked_for_a_whole_gang_whatever_their_zone() -> None:
    world = World(start_seconds=300, **POOLS)
    world.submit()
    while world.job().attempt < 4:
        (execution,) = world.machines.inputs
        world.step(execution)
    assert [number % 3 for number in world.hosts.providers[:3]] == [0, 1, 2]


def test_a_look_that_is_repeated_counts_a_loss_once() -> None:
    world = World()
    world.submit(min_hosts=2)
    world.until("running")
    world.now += 60
    world.hosts.end("task-1", Cause.FAILED, "exit code 1")
    world.step("dogs-1_1", repeated=True)
    assert (world.job().tally.failures, world.job().hosts) == (1, 3)
    assert len(world.hosts.living()) == 4


def test_below_its_fewest_hosts_a_job_goes_back_to_the_queue_with_its_checkpoint() -> None:
    world = World()
    world.submit(min_hosts=3)
    world.until("running")
    world.hosts.patient = True
    for arn in ("task-1", "task-2"):
        world.hosts.end(arn, Cause.INTERRUPTED, "Spot")
    world.step("dogs-1_1")
    for _ in range(3):
        world.step("dogs-1_1")
    # Those that are left still save: their slots are not given to others yet.
    assert (world.job().state, world.slots.read().free) == (State.RUNNING, 0)
    world.report(step=50, saved=50)
    for arn in list(world.hosts.stopping):
        world.hosts.end(arn, Cause.INTERRUPTED)
    world.step("dogs-1_1")
    world.step("dogs-1_1")
    job = world.job()
    assert (job.state, job.checkpoint, job.attempt) == (
        State.BACKING_OFF,
        Checkpoint(step=50, key="step-50"),
        1,
    )
    assert job.reason == "interrupted: again with 4 hosts in 8 s (Spot)"
    assert world.slots.read().free == 4
    assert list(world.machines.inputs) == ["dogs-1_2"]
    world.step("dogs-1_2")
    assert world.job().state is State.BACKING_OFF
    world.hosts.patient = False
    assert world.until("running").attempt == 2


@pytest.mark.parametrize("repeated", [False, True])
def test_hosts_that_do_not_all_come_are_all_let_go(repeated: bool) -> None:
    world = World(start_seconds=100)
    world.submit()
    for _ in range(3):
        world.step("dogs-1_1", repeated=repeated)
    world.hosts.arrive("task-0", "task-1", "task-2")
    for _ in range(9):
        if "dogs-1_1" in world.machines.inputs:
            world.step("dogs-1_1", repeated=repeated)
    assert (world.job().state, world.hosts.living()) == (State.BACKING_OFF, [])
    assert world.job().reason == ("no-capacity: again with 4 hosts in 8 s (3 of 4 hosts came within 100 s)")
    assert world.slots.read().held == {}
    world.until("running")
    assert world.hosts.providers[-1] == 1, "the next attempt asks the other capacity provider"


def test_hosts_that_ecs_does_not_start_are_all_let_go() -> None:
    world = World()
    world.hosts.short = 1
    world.submit()
    world.until("backing-off")
    assert "(3 of 4 tasks were started: RESOURCE:GPU)" in world.job().reason
    assert world.hosts.living() == []


def test_the_tasks_of_all_attempts_are_kept_also_of_one_that_ended_before_it_was_looked_at() -> None:
    world = World()
    world.submit(hosts=2)
    world.until("starting")
    world.step("dogs-1_1")
    for task in ("task-0", "task-1"):
        world.hosts.end(task, Cause.FAILED, "its image cannot be pulled")
    world.until("backing-off")
    world.until("running")
    attempts = {one.task: one.attempt for one in world.job().tasks}
    assert attempts == {"task-0": 1, "task-1": 1, "task-2": 2, "task-3": 2}


def test_a_rendezvous_that_is_away_for_long_is_no_failure_of_the_job() -> None:
    """Its hosts come, wait as long as they may, and end; `aws_hosts` takes that for an interruption."""
    world = World()
    world.submit()
    for attempt in range(1, 6):
        assert world.until("running").attempt == attempt
        for arn in world.hosts.living():
            world.hosts.end(arn, Cause.INTERRUPTED, "Essential container in task exited; exit code 75")
        world.until("backing-off")
    assert world.job().tally.failures == 0
    world.until("running")
    world.report(outcome="finished")
    world.until("completed")
