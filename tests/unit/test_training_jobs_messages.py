"""Messages of the jobs queue, which come at least once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from training_runtime.errors import RequestError
from training_runtime.item import of_job
from training_runtime.job import State

from tests.unit.training_jobs_world import World

ASKED = {"job": "dogs-1", "data": "s3://bucket/manifest.json", "hosts": 4}


def test_a_repeated_request_does_nothing() -> None:
    world = World()
    first = world.send(ASKED, "a")
    assert world.send(ASKED, "a") == first
    assert world.send(dict(reversed(ASKED.items())), "b") == first
    assert list(world.machines.inputs) == ["dogs-1_1"]
    running = world.until("running")
    assert world.send(ASKED, "a") == running
    assert list(world.machines.inputs) == ["dogs-1_1"]


def test_a_request_whose_first_delivery_came_only_half_way_begins() -> None:
    world = World()
    world.send(ASKED)
    world.machines.inputs.clear()
    world.send(ASKED)
    assert list(world.machines.inputs) == ["dogs-1_1"]


def test_two_requests_of_one_name() -> None:
    world = World()
    world.send(ASKED)
    with pytest.raises(RequestError, match="job dogs-1 exists and asks for something else"):
        world.send({**ASKED, "hosts": 3})


def test_a_repeated_order_does_nothing() -> None:
    world = World()
    world.send(ASKED)
    world.until("running")
    world.send({"cancel": "dogs-1"}, "c")
    world.until("cancelled")
    world.send({"resume": "dogs-1"}, "r")
    assert world.until("running").attempt == 2
    # SQS delivers the first one again.
    assert world.send({"cancel": "dogs-1"}, "c").state is State.RUNNING
    world.send({"cancel": "dogs-1"}, "another")
    world.until("cancelled")
    assert world.send({"resume": "dogs-1"}, "r").state is State.CANCELLED


def test_resume_of_what_goes_on_anyway_only_ends_its_pause() -> None:
    world = World()
    world.send(ASKED)
    running = world.until("running")
    assert world.send({"resume": "dogs-1"}).state is running.state
    world.report(outcome="failed")
    world.draw = 0.999
    job = world.until("backing-off")
    world.jobs.items["dogs-1"] = of_job(replace(job, not_before=world.now + 900))
    world.step("dogs-1_2")
    assert world.machines.inputs["dogs-1_2"]["wait"] == world.settings.ask_seconds
    assert world.send({"resume": "dogs-1"}, "again").not_before == 0
    world.step("dogs-1_2")
    assert world.job().state is State.STARTING


def test_a_budget_is_refused_where_hosts_have_no_price() -> None:
    """It would never be spent, and nobody would know."""
    words = "budget_usd is 25, and this cluster knows no price of its hosts"
    with pytest.raises(RequestError, match=words):
        World(host_price_usd=0.0).send({**ASKED, "budget_usd": 25})
    single = {**ASKED, "hosts": 1, "min_hosts": 1, "instance": True, "budget_usd": 25}
    with pytest.raises(RequestError, match=r"no price of its single host.* \(InstanceSize.price_usd\)"):
        World(driver_arn="arn:driver").send(single)
    assert World(host_price_usd=0.0).send({**ASKED, "max_hours": 2}).state is State.QUEUED
    assert World(host_price_usd=0.1).send({**ASKED, "budget_usd": 25}).state is State.QUEUED


def test_an_address_that_a_single_host_is_not_told_is_refused() -> None:
    """SSM would refuse it at each attempt, once the host is there and paid."""
    world = World(driver_arn="arn:aws:states:eu-west-1:111122223333:stateMachine:driver")
    odd = {**ASKED, "data": "s3://bucket/dogs(1)/m\u00e4nifest.json"}
    with pytest.raises(RequestError, match=r"data is 's3://bucket/dogs\(1\)/.* a single host takes"):
        world.send({**odd, "hosts": 1, "instance": True})
    assert world.send(odd).state is State.QUEUED
    assert world.send({**ASKED, "job": "cats", "hosts": 1, "instance": True}).state is State.QUEUED


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"cancel": "cats"}, "there is no job cats|cats"),
        ({"cancel": 7}, 'an order is one member: {"cancel": "name of a job"}'),
        ({"resume": "Dogs 1"}, "an order is one member"),
        ({"resume": "dogs-1", "hosts": 3}, "an order is one member"),
        ({"stop": "dogs-1"}, "the message has no job and no data"),
        ("stop", "not JSON"),
    ],
)
def test_what_is_no_order_is_refused(body: dict[str, object] | str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        World().send(body)


def test_a_job_that_is_complete_is_neither_cancelled_nor_resumed() -> None:
    world = World()
    world.send(ASKED)
    world.settle()
    for order in ("cancel", "resume"):
        with pytest.raises(RequestError, match="job dogs-1 is completed; it cannot become"):
            world.send({order: "dogs-1"})
