"""Who hears that a job has ended, however it did."""

from __future__ import annotations

import pytest
from training_runtime.job import State

from tests.unit.training_jobs_world import World


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
def test_an_end_is_told_of(state: str) -> None:
    world = World()
    world.submit(budget_usd=2)
    world.until("running")
    assert world.heard == []
    if state == "completed":
        world.report(outcome="finished")
    elif state == "failed":
        world.now += 3600
    else:
        world.send({"cancel": "dogs-1"})
    job = world.until(state)
    assert world.heard == [job]


def test_an_end_before_the_first_attempt_is_told_of_too() -> None:
    world = World()
    world.submit()
    world.send({"cancel": "dogs-1"})
    while world.machines.inputs:
        world.step("dogs-1_1")
    assert [job.state for job in world.heard] == [State.CANCELLED]


def test_an_end_whose_answer_was_lost_is_told_of_again() -> None:
    world = World()
    world.submit()
    world.until("running")
    world.report(outcome="refused")
    while world.machines.inputs:
        world.step("dogs-1_1", repeated=True)
    assert {job.state for job in world.heard} == {State.FAILED}


def test_the_end_that_a_sweep_writes_is_told_of() -> None:
    world = World()
    world.submit()
    world.until("running")
    world.end_execution("dogs-1_1", "ABORTED")
    while world.job().state is not State.CANCELLED:
        world.sweep()
    assert [job.state for job in world.heard] == [State.CANCELLED]
