"""Races of reconciles that chance seldom finds, told step by step."""

import pytest

from tests.unit.serving_world import CANARY, FULL, GRACE, START, Reconcile, Version, World, version_of


def run(world, until="end"):
    process = Reconcile(world)
    process.go(until=until)
    return process


def approve(world, *versions):
    for number in versions:
        world.versions[number] = Version(good=True, health="well")
        world.decide(number, FULL)
        run(world)


@pytest.mark.parametrize("older", [True, False])
def test_what_serves_goes_on_if_it_is_to_be_a_canary_while_storage_fails(older):
    world = World()
    approve(world, *([1, 2] if older else [2]))
    world.storage_fails = True
    world.decide(2, CANARY)
    assert run(world).outcome == "failed"
    assert world.record().serving.version == 2
    world.storage_fails = False
    assert run(world).outcome == "done"
    assert world.record().serving.version == (1 if older else 2)


@pytest.mark.parametrize("again", [True, False])
def test_a_canarys_time_begins_anew(again):
    """It is asked for once more, or compared with another version than before."""
    world = World()
    approve(world, 1, 2)
    world.versions[3] = Version(good=True, health="well")
    world.decide(3, CANARY)
    run(world)
    world.minutes += 3
    run(world)
    assert world.record().canary.deployment.since == START.isoformat()
    if again:
        world.decide(3, CANARY)
    else:
        world.decide(2, "reject")
    run(world)
    assert world.record().canary.deployment.since == world.now()


def test_a_version_that_is_rejected_while_it_is_looked_at_is_not_deployed():
    world = World()
    approve(world, 1)
    world.versions[2] = Version(good=True, health="well")
    world.decide(2, FULL)
    late = run(world, until="describe")
    world.decide(2, "reject")
    late.go(until="end")
    assert late.outcome == "done"
    assert world.record().serving.version == 1
    assert not any(version_of(artifact) == 2 for artifact in world.bucket)


@pytest.mark.parametrize("meanwhile", [0, 1, 2])
def test_a_deletion_that_comes_late_hits_nothing_that_is_needed(meanwhile):
    """A version is wanted again while a reconcile is about to delete its model, and others already did."""
    world = World()
    approve(world, 1, 2, 3)
    (unneeded,) = world.record().unused
    assert version_of(unneeded) == 1
    world.minutes += GRACE + 1
    late = run(world, until="delete")
    for _ in range(meanwhile):
        run(world)
    want_again(world, late)


def test_a_deletion_that_comes_late_and_was_noted_long_before_hits_nothing_that_is_needed():
    world = World()
    approve(world, 1, 2, 3)
    world.minutes += GRACE + 1
    run(world, until="delete").go(die=True)
    world.minutes += 55
    late = run(world, until="delete")
    run(world)
    world.minutes += 10
    run(world)
    want_again(world, late)


def want_again(world, late):
    """Version 1, while a reconcile is about to delete its model."""
    for number in (2, 3):
        world.decide(number, "reject")
    run(world)
    ended = False
    while not ended:
        ended = late.go()
        assert world.record().serving.version == 1
        assert world.record().artifacts <= world.bucket.keys()
