"""Garbage is collected, and nothing that is, was or will soon be named."""

from __future__ import annotations

import pytest

from tests.unit.preprocessing.preprocessing_world import OUTPUT, World, picture
from training.common.failure import UserError
from training.preprocessing.documents import make_manifest, named_shards
from training.preprocessing.garbage import DAY, collect
from training.preprocessing.ports import UnavailableError


def sweep(world, grace=DAY):
    return collect(world.ledger, world.output, OUTPUT, world.now, grace)


def shards(world):
    return {item.key for item in world.output.list(f"{OUTPUT}/shards/")}


def started(world, until):
    """A worker with all messages, paused before its step `until`."""
    worker = world.worker().process([world.queue.take(name) for name in world.queue.visible()])
    while next(worker) != until:
        pass
    return worker


@pytest.fixture
def world():
    """Two images in two classes."""
    made = World()
    made.upload("a/1.png", picture(1))
    made.upload("b/1.png", picture(2))
    return made


def test_what_a_killed_worker_stored_is_deleted_in_the_end(world):
    started(world, "claim").close()
    orphans = shards(world)
    assert orphans
    assert sweep(world) == (0, len(orphans))
    world.now += DAY / 2
    assert sweep(world) == (0, len(orphans))
    world.now += 2 * DAY
    assert sweep(world) == (len(orphans), 0)
    assert not shards(world)
    world.drain()
    assert shards(world)
    world.now += 9 * DAY
    for _ in range(2):
        assert sweep(world) == (0, 0)


def test_one_look_is_not_enough(world):
    """However old it is: a manifest that names it may be on its way."""
    started(world, "claim").close()
    world.now += 9 * DAY
    assert sweep(world) == (0, len(shards(world)))
    world.now += DAY
    assert sweep(world)[1] == 0


def test_a_worker_that_slept_for_days_names_nothing(world):
    worker = started(world, "claim")
    for _ in range(2):
        sweep(world)
        world.now += 3 * DAY
    with pytest.raises(UnavailableError, match="too old to be named"):
        list(worker)
    sweep(world)
    assert not shards(world)
    assert not world.ledger.records
    assert len(world.queue.messages) == 2
    world.drain()
    assert len(world.ledger.records) == 2


def test_the_same_batch_on_another_day_is_another_shard(world):
    """An old shard of the same bytes is about to be deleted."""
    started(world, "claim").close()
    before = shards(world)
    sweep(world)
    world.now += 3 * DAY
    worker = started(world, "claim")
    assert sweep(world)[0] == len(before)
    list(worker)
    assert {record.shard for record in world.ledger.all()} <= shards(world)


def test_an_orphan_that_is_stored_again_on_its_day_is_kept(world):
    """Its second worker has an hour from then on, the first of the next day perhaps."""
    world.now = 20 * DAY
    started(world, "claim").close()
    before = shards(world)
    sweep(world)
    world.now += DAY - 60
    worker = started(world, "claim")
    assert shards(world) == before
    world.now += 120
    assert sweep(world)[0] == 0
    list(worker)
    assert {record.shard for record in world.ledger.all()} == before


def test_what_a_manifest_names_is_kept_until_the_manifest_goes(world):
    world.drain()
    sizes = {item.key: item.size for item in world.output.list(f"{OUTPUT}/shards/")}
    manifest = make_manifest("dogs", world.ledger.all(), sizes)
    # Replaced, and looked at, while the manifest is being written.
    world.upload("a/1.png", picture(3))
    world.upload("b/1.png", picture(4))
    world.drain()
    world.now += 5 * DAY
    sweep(world)
    key = f"{OUTPUT}/manifests/{manifest.digest}.json"
    world.output.put(key, manifest.data)
    for _ in range(2):
        world.now += 5 * DAY
        sweep(world)
    assert named_shards(manifest.document) <= shards(world)
    world.output.delete([key])
    for _ in range(2):
        world.now += 5 * DAY
        sweep(world)
    assert shards(world) == {record.shard for record in world.ledger.all()}


def test_bounds(world):
    with pytest.raises(UserError, match="at least 24 hours"):
        sweep(world, grace=3600.0)
    world.output.put(f"{OUTPUT}/garbage.json", b"[]")
    with pytest.raises(UserError, match=r"garbage\.json is damaged"):
        sweep(world)
    world.output.put(f"{OUTPUT}/garbage.json", b"{}")
    world.output.put(f"{OUTPUT}/shards/readme.txt", b"not ours")
    world.now += 9 * DAY
    assert sweep(world) == (0, 0)
