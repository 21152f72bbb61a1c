"""One worker: what it counts, what it leaves, how it stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.preprocessing.preprocessing_world import OUTPUT, SOURCE, VISIBILITY, World, event, picture
from training.common.failure import UserError
from training.common.images import MAX_BYTES
from training.preprocessing.documents import lay_out, make_manifest, read_manifest
from training.preprocessing.keeper import Keeper
from training.preprocessing.places import output_place, place
from training.preprocessing.ports import Depth, UnavailableError
from training.preprocessing.progress import Eta
from training.preprocessing.recipe import Recipe
from training.preprocessing.records import IMAGE, QUARANTINED
from training.preprocessing.worker import work
from training.vision.classes import read_classes
from training.vision.parallel import ordered
from training.vision.preprocess import SPLITS, Shares, split_of
from training.vision.shards import read_shards


def run(world, **change):
    """Everything visible in one batch."""
    worker = world.worker(**change)
    steps = list(worker.process([world.queue.take(name) for name in world.queue.visible()]))
    return worker.progress, steps


def manifest_of(world):
    sizes = {item.key: item.size for item in world.output.list(f"{OUTPUT}/shards/")}
    return make_manifest("dogs", world.ledger.all(), sizes)


def filled(count=12):
    world = World()
    for number in range(1, count + 1):
        world.upload(f"{'ab'[number % 2]}/{number}.png", picture(number))
    return world


def test_figures(capsys):
    world = filled()
    world.upload("a/broken.jpg", b"\xff\xd8\xff nothing")
    world.upload("a/empty.jpg", b"")
    world.upload("lost.png", picture(3))
    world.upload("a/gone.png", picture(4))
    world.remove("a/gone.png")
    world.queue.send(event("Created:Put", SOURCE.key("a/huge.png"), "1", size=MAX_BYTES + 1))
    world.queue.send(event("Created:Put", SOURCE.key("a/notes.txt"), "1"))
    world.queue.send("not JSON")
    progress, _ = run(world)
    assert (progress.received, progress.done, progress.quarantined, progress.deleted) == (20, 12, 4, 1)
    assert (progress.ignored, progress.poison, progress.failed, progress.duplicates) == (1, 1, 0, 0)
    assert list(world.queue.messages.values()) == ["not JSON"]
    log = capsys.readouterr().out
    assert "'a/broken.jpg' is quarantined: is neither a JPEG" in log
    assert "'a/empty.jpg' is quarantined: is empty" in log
    assert "'lost.png' is quarantined: lies in no class folder" in log
    assert "is left to the dead-letter queue: it is not JSON" in log
    world.queue.send(event("Created:Put", SOURCE.key("a/2.png"), "0"))
    assert run(world)[0].duplicates == 1


def test_shards_are_read_as_those_of_the_pipeline(tmp_path: Path):
    world = filled(40)
    run(world)
    manifest = read_manifest(manifest_of(world).data)
    lay_out(manifest, world.output, tmp_path)
    assert read_classes(tmp_path / "classes").names == ("a", "b")
    found = {}
    for split in SPLITS:
        for entry in read_shards(tmp_path / split):
            assert entry.read().startswith(b"\x89PNG")
            found[entry.name] = split
    records = {record.name: record for record in world.ledger.all()}
    assert found == {name: record.split for name, record in records.items()}
    assert all(split_of(record.digest, Shares(0.2, 0.2)) == record.split for record in records.values())
    # Again, as after a copy that was broken off.
    next((tmp_path / "train").glob("*.tar")).write_bytes(b"half")
    lay_out(manifest, world.output, tmp_path)
    assert len(read_shards(tmp_path / "train")) == sum(split == "train" for split in found.values())


def test_the_same_messages_in_any_order_give_the_same_shards():
    one, other = filled(), filled()
    other.queue.messages = dict(reversed(other.queue.messages.items()))
    run(one)
    run(other, each=ordered)
    assert one.output.versions == other.output.versions
    assert manifest_of(one).data == manifest_of(other).data


def test_images_that_are_added_move_no_other():
    """Neither those that come later, nor all of them to workers that never saw the old ones."""

    def splits(world):
        found = read_manifest(manifest_of(world).data).document["splits"]
        return {
            sample["name"]: split
            for split, shards in found.items()
            for shard in shards
            for sample in shard["samples"]
        }

    world = filled(40)
    run(world)
    before = splits(world)
    assert set(before.values()) == set(SPLITS)
    for number in range(41, 51):
        world.upload(f"{'abc'[number % 3]}/0{number}.png", picture(number))
    assert run(world)[0].done == 10
    after = splits(world)
    assert len(after) == 50
    assert {name: after[name] for name in before} == before
    anew = World()
    for name, data in reversed(world.current().items()):
        anew.upload(name, data)
    run(anew)
    assert splits(anew) == after


def test_a_shard_that_was_changed_is_refused(tmp_path: Path):
    world = filled()
    run(world)
    manifest = manifest_of(world)
    key = next(iter(world.output.versions))
    world.output.put(key, b"something else")
    with pytest.raises(UserError, match="was changed"):
        lay_out(manifest, world.output, tmp_path)
    world.output.delete([key])
    with pytest.raises(UserError, match="which is gone"):
        lay_out(manifest, world.output, tmp_path / "other")
    with pytest.raises(UserError, match="names 1 shards that are gone"):
        manifest_of(world)


def test_two_recipes_make_no_manifest():
    world = filled()
    run(world)
    world.upload("a/new.png", picture(50))
    run(world, recipe=Recipe(image_size=16, shares=Shares(0.2, 0.2)))
    with pytest.raises(UserError, match="prepared in 2 ways"):
        manifest_of(world)


def test_an_image_that_cannot_be_read_now_is_tried_again():
    world = filled(3)
    world.faults.add("get")
    progress, _ = run(world)
    assert (progress.failed, progress.done, len(world.queue.messages)) == (1, 2, 1)
    assert not world.queue.visible(), "tried again only after its visibility, not at once"
    world.drain()
    assert sum(record.state == IMAGE for record in world.ledger.all()) == 3


def test_a_stop_finishes_what_is_prepared_and_gives_back_the_rest():
    world = filled()
    asked = iter([False, False, True])
    progress, _ = run(world, stopping=lambda: next(asked, True))
    assert progress.done == 3
    assert len(world.queue.messages) == len(world.queue.visible()) == 9
    world.drain()
    assert len(world.ledger.records) == 12


def test_the_loop_ends_when_the_queue_is_empty(capsys):
    world = filled(25)
    worker = world.worker(each=ordered)
    work(worker, 10, 0.0, 30, until_empty=True)
    assert worker.progress.done == 25
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("received")]
    assert lines[-1] == "received 25, done 25; queue: 0 waiting, 0 held, empty in about 0 s"


def test_an_unavailable_service_ends_the_loop():
    world = filled(3)
    world.faults.add("put")
    with pytest.raises(UnavailableError, match="put did not answer"):
        work(world.worker(), 10, 0.0, 30, until_empty=True)
    assert len(world.queue.messages) == 3


def test_the_keeper_extends_what_it_holds():
    world = filled(2)
    one, two = (world.queue.take(name) for name in world.queue.visible())
    extended = []

    class Watched:
        def extend(self, messages, seconds):
            extended.append([message.id for message in messages])
            if len(extended) == 1:
                raise UnavailableError("busy")

    with Keeper(Watched(), 1) as keeper:
        keeper.hold([one])
        keeper.hold([two])
        while len(extended) < 2:
            keeper._ended.wait(0.01)
        keeper.release()
        seen = len(extended)
        keeper._ended.wait(0.8)
    assert extended[1] == [one.id, two.id]
    assert len(extended) == seen


def test_eta_needs_a_queue_that_gets_shorter():
    eta = Eta(window=100.0)
    assert eta.look(0.0, Depth(50, 0)) is None
    assert eta.look(10.0, Depth(60, 5)) is None
    assert eta.look(20.0, Depth(30, 0)) == pytest.approx(30.0)
    assert eta.look(130.0, Depth(20, 0)) is None, "the looks before are too long ago"
    assert eta.look(140.0, Depth(0, 0)) == 0.0


def test_replaced_and_broken_again():
    world = World()
    world.upload("a/1.png", picture(1))
    run(world)
    world.upload("a/1.png", picture(0))
    run(world)
    record = world.ledger.records["a/1.png"]
    assert (record.state, record.shard) == (QUARANTINED, "")
    world.remove("a/1.png")
    world.now += VISIBILITY
    assert run(world)[0].deleted == 1


@pytest.mark.parametrize(
    ("data", "output", "words"),
    [
        ("s3://bkt", "s3://bkt/out", "lies within the data"),
        ("s3://bkt/dogs", "s3://bkt/dogs/out", "lies within the data"),
        ("s3://bkt/dogs", "s3://cde", "has no prefix"),
        ("dogs", "s3://cde/x", "is not s3://"),
    ],
)
def test_places_that_cannot_be(data, output, words):
    with pytest.raises(UserError, match=words):
        output_place(output, place(data))


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"schema": 2}', b'{"schema": 1, "splits": [1]}'])
def test_what_is_no_manifest(data):
    with pytest.raises(UserError, match="not a manifest"):
        read_manifest(data)
