"""The way of jobs through the steps of their attempts."""

from __future__ import annotations

import pytest
from training_runtime.attempts import Cause
from training_runtime.errors import RequestError
from training_runtime.job import Checkpoint, State
from training_runtime.launching import environment
from training_runtime.settings import Settings

from tests.unit.training_jobs_world import SETTINGS, World


def test_a_job_is_admitted_launched_watched_and_finished() -> None:
    world = World()
    assert world.submit().state is State.QUEUED
    (execution,) = world.machines.inputs
    assert execution == "dogs-1_1"
    world.step(execution)
    assert (world.job().state, world.job().attempt, world.slots.read().free) == (State.STARTING, 1, 0)
    world.step(execution)
    world.step(execution)
    assert world.job().state is State.STARTING
    world.hosts.arrive()
    world.step(execution)
    assert (world.job().state, world.job().hosts) == (State.RUNNING, 4)
    world.now += 3585
    world.report(step=500, saved=400)
    world.step(execution)
    assert (world.job().step, world.job().checkpoint) == (500, Checkpoint(step=400, key="step-400"))
    # Four hosts at 1 USD an hour, from when they were asked for: four looks of 15 s, and the hour's rest.
    assert world.job().cost == pytest.approx(4 * (3585 + 45) / 3600)
    world.report(outcome="finished", step=900, saved=900)
    world.step(execution)
    assert world.hosts.living()
    world.step(execution)
    assert world.job().state is State.RUNNING
    world.step(execution)
    assert world.hosts.living() == []
    world.step(execution)
    job = world.job()
    assert (job.state, job.reason, job.hosts) == (State.COMPLETED, "finished", 0)
    assert job.checkpoint == Checkpoint(step=900, key="step-900")
    assert world.slots.read().free == 4
    assert world.machines.inputs == {}


def test_what_a_container_is_told() -> None:
    world = World()
    world.submit(min_hosts=2, settings={"epochs": 3, "lr": 0.1})
    world.until("running")
    assert set(map(str, world.hosts.told.values())) == {str(world.hosts.told["task-0"])}
    assert world.hosts.told["task-0"] == {
        "JOB_NAME": "dogs-1",
        "JOB_TABLE": "jobs",
        "ATTEMPT": "1",
        "PAID_NODE_SECONDS": "0",
        "PRICE_PER_HOST_HOUR": "1.0",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "RENDEZVOUS_ENDPOINT": "rendezvous.train.local:29400",
        "MIN_HOSTS": "2",
        "MAX_HOSTS": "4",
        "JOIN_SECONDS": "1035",
        "PROCESSES_PER_HOST": "1",
        "DATASET_URI": "s3://bucket/manifest.json",
        "CHECKPOINT_URI": "s3://bucket/training/dogs-1/checkpoints/",
        "OUTPUT_URI": "s3://bucket/training/dogs-1/output/",
        "HYPERPARAMETERS": '{"epochs":3,"lr":0.1}',
    }
    tracked = World().submit("birds", wandb="zoo").request
    told = environment(tracked, 1, SETTINGS)
    assert {name: told[name] for name in told if name.startswith("WANDB")} == {
        "WANDB_PROJECT": "zoo",
        "WANDB_MODE": "offline",
    }
    rigid = World().submit("cats", hosts=3, elastic=False).request
    assert environment(rigid, 2, SETTINGS)["MIN_HOSTS"] == "3"


def test_a_host_waits_longer_for_the_others_than_the_attempt_does() -> None:
    """Else it fails by itself, three times, and on-demand is never asked for hosts."""
    world = World(start_seconds=2000)
    world.submit(elastic=False)
    for _ in range(2):
        world.step("dogs-1_1")
    patience = float(world.hosts.told["task-0"]["JOIN_SECONDS"])
    world.hosts.arrive("task-0")
    began = world.now
    while world.job().state is State.STARTING:
        assert world.now - began < patience
        world.step("dogs-1_1")
    assert world.job().tally.failures == 0
    world.until("running")
    assert world.hosts.providers == [0, 1]


def test_an_attempt_is_told_for_how_long_those_before_it_were_paid() -> None:
    world = World()
    world.submit(elastic=False)
    world.until("running")
    world.now += 1000
    world.report(step=10, saved=8)
    world.hosts.end("task-1", Cause.INTERRUPTED, "Spot")
    world.until("backing-off")
    (execution,) = world.machines.inputs
    assert execution == "dogs-1_2"
    world.until("running")
    told = world.hosts.told["task-4"]
    assert told["ATTEMPT"] == "2"
    assert float(told["PAID_NODE_SECONDS"]) == pytest.approx(world.job().node_seconds, abs=1)
    # At 1 USD an hour its hosts' seconds are its cost.
    assert world.job().node_seconds == pytest.approx(world.job().spent * 3600)
    assert world.job().node_seconds > 4 * 1000


def test_what_ecs_refuses_ends_at_the_poison_limit() -> None:
    world = World()
    world.hosts.refusal = "ECS refuses to start the hosts: no such role"
    world.submit()
    job = world.until("failed", steps=60)
    assert job.attempt == 3
    assert job.reason.startswith("failed 3 times without progress")
    assert "no such role" in job.reason
    assert world.machines.inputs == {}


def test_what_the_trainer_says_of_its_failure_is_in_the_record() -> None:
    world = World()
    world.submit()
    world.until("running")
    world.report(outcome="failed", step=3)
    assert "the loss is no number" in world.until("backing-off").reason


@pytest.mark.parametrize("state", ["starting", "running", "cancelling"])
def test_what_the_trainer_refuses_ends_the_job_at_once(state: str) -> None:
    """With hosts that still come, that train, or that are to end."""
    world = World()
    world.submit(hosts=2)
    for _ in range(2):
        world.step("dogs-1_1")
    if state == "starting":
        world.hosts.arrive("task-0")
    else:
        world.until("running")
    if state == "cancelling":
        world.send({"cancel": "dogs-1"})
    world.report(outcome="refused")
    job = world.until("cancelled" if state == "cancelling" else "failed")
    assert (job.attempt, world.hosts.living(), world.slots.read().held) == (1, [], {})
    if state != "cancelling":
        assert job.reason == "the trainer refuses it: the loss is no number"


def test_a_trainer_that_ends_without_a_word_has_failed() -> None:
    world = World()
    world.submit(hosts=2)
    world.until("running")
    world.hosts.end("task-0", Cause.FAILED, done=True)
    world.step("dogs-1_1")
    assert world.job().hosts == 2, "one that is done is no loss while the other ends"
    world.hosts.end("task-1", Cause.FAILED, done=True)
    assert "ended and did not say how" in world.until("backing-off").reason


def test_a_job_that_ends_between_two_looks_is_complete() -> None:
    world = World()
    world.submit(hosts=1)
    for _ in range(2):
        world.step("dogs-1_1")
    world.hosts.end("task-0", Cause.FAILED, done=True)
    world.report(outcome="finished", step=3)
    assert world.until("completed").worlds[-1].hosts == 1


def test_the_words_of_an_earlier_attempt_count_for_nothing() -> None:
    world = World()
    world.submit()
    world.until("running")
    world.report(outcome="failed")
    world.until("backing-off")
    assert world.until("running").attempt == 2
    world.step("dogs-1_2")
    assert world.job().state is State.RUNNING


def test_a_job_ends_at_its_budget_though_nothing_is_lost() -> None:
    world = World()
    world.submit(budget_usd=2)
    world.until("running")
    world.now += 1800
    job = world.until("failed")
    assert job.reason.startswith("the budget of 2 is spent (2.0")
    assert world.hosts.living() == []


def test_a_job_on_a_single_host_takes_none_of_the_clusters() -> None:
    world = World(slots=1, driver_arn=DRIVER, instance_price_usd=4.0)
    world.submit(job="gang", hosts=1)
    world.until("running", "gang")
    world.submit(hosts=1, instance=True, budget_usd=2)
    world.until("running")
    assert world.hosts.alone == ["dogs-1/1"]
    assert world.hosts.told[world.hosts.living("dogs-1/1")[0]]["PRICE_PER_HOST_HOUR"] == "4.0"
    # At its own price.
    world.now += 1800
    job = world.until("failed")
    assert job.reason.startswith("the budget of 2 is spent (2.0")
    assert world.hosts.living("dogs-1/1") == []
    assert world.job("gang").state is State.RUNNING


DRIVER = "arn:aws:states:eu-west-1:111122223333:stateMachine:driver"


@pytest.mark.parametrize("steps", range(8))
def test_cancel_at_any_moment_frees_everything(steps: int) -> None:
    world = World()
    world.submit()
    for _ in range(steps):
        world.step("dogs-1_1")
        world.hosts.arrive()
    world.send({"cancel": "dogs-1"})
    for _ in range(9):
        if world.machines.inputs:
            world.step("dogs-1_1")
    job = world.job()
    assert (job.state, job.hosts, job.attempt) == (State.CANCELLED, 0, 1)
    assert (world.hosts.living(), world.slots.read().held, world.machines.inputs) == ([], {}, {})


def test_cancel_while_its_hosts_are_asked_for() -> None:
    """The order arrives after the step has read the record, and before its hosts are there."""
    world = World()
    world.submit()
    world.step("dogs-1_1")
    run = world.hosts.run

    def cancelled_meanwhile(*arguments: object, **options: object) -> object:
        world.send({"cancel": "dogs-1"})
        return run(*arguments, **options)  # type: ignore[arg-type]

    world.hosts.run = cancelled_meanwhile  # type: ignore[method-assign,assignment]
    assert world.until("cancelled").attempt == 1
    world.step("dogs-1_1") if world.machines.inputs else None
    assert (world.hosts.living(), world.slots.read().held) == ([], {})


def test_an_execution_that_woke_too_late_does_nothing() -> None:
    """Cancelled while it waits, resumed before it looks: two executions, and one attempt of each number."""
    world = World()
    world.submit()
    world.send({"cancel": "dogs-1"})
    world.send({"resume": "dogs-1"})
    assert sorted(world.machines.inputs) == ["dogs-1_1", "dogs-1_2"]
    for _ in range(3):
        world.step("dogs-1_2")
    world.hosts.arrive()
    for _ in range(3):
        if "dogs-1_1" in world.machines.inputs:
            world.step("dogs-1_1")
    assert world.machines.inputs.keys() == {"dogs-1_2"}
    assert len(world.hosts.living("dogs-1/2")) == 4
    assert world.slots.read().held.keys() == {"dogs-1/2"}
    assert world.until("running").attempt == 2


def test_an_execution_hands_over_before_its_history_is_full() -> None:
    world = World(most_rounds=5, ask_seconds=60)
    world.submit("big", hosts=4)
    world.until("running", "big")
    world.submit(hosts=1)
    for _ in range(5):
        world.step("dogs-1_1")
    assert {"big_1", "dogs-1_1_2"} >= world.machines.inputs.keys() - {"big_1_2"}
    assert world.machines.ended["dogs-1_1"] == "SUCCEEDED"
    assert world.sweep() == []
    for execution in ("big_1", "big_1_2"):
        if execution in world.machines.inputs:
            world.step(execution)
    assert world.job("big").state is State.RUNNING
    world.settle()
    assert {str(world.job(name).state) for name in ("big", "dogs-1")} == {"completed"}


def test_who_waits_for_slots_too_long_fails() -> None:
    world = World(queue_days=1.0)
    world.submit("big", hosts=4)
    world.until("running", "big")
    world.submit(hosts=1)
    world.step("dogs-1_1")
    world.now += 86_400
    assert world.until("failed").reason == "got no 1 slots in 1 days"
    assert world.slots.read().line == ()


def test_a_cluster_that_shrank_says_so() -> None:
    world = World()
    world.submit(hosts=4)
    world.slots.total = 2
    assert "asks for 4 hosts" in world.until("failed").reason


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hosts": 5}, "hosts is 5; this cluster has 4"),
        ({"settings": {"note": "x" * 8000}}, "characters too long for a task"),
        ({"hosts": 1, "instance": True}, "this stage has no single host"),
        ({"hosts": 2, "instance": True}, "a single host is one"),
    ],
)
def test_what_can_never_run_is_refused_at_once(changes: dict[str, object], words: str) -> None:
    world = World()
    with pytest.raises(RequestError, match=words):
        world.submit(**changes)  # type: ignore[arg-type]
    assert world.jobs.items == {}


def test_settings_survive_the_environment() -> None:
    assert Settings.from_environment(SETTINGS.to_environment()) == SETTINGS
