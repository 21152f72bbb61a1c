"""At least once in, exactly once out: messages repeated and reordered, workers killed, services down."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.preprocessing.preprocessing_world import OUTPUT, VISIBILITY, World, picture
from training.common.failure import UserError
from training.preprocessing.documents import make_manifest, named_shards, read_manifest
from training.preprocessing.garbage import DAY, collect
from training.preprocessing.ports import UnavailableError
from training.preprocessing.records import IMAGE, QUARANTINED

NAMES = ("a/1.png", "a/2.jpg", "b/1.png", "b/ü 2.png", "b/3.JPEG", "nowhere.png")
POISON = ("", "[]", '{"Records": [{"eventSource": "aws:sns"}]}', '{"source": "aws.s3", "detail": {}}')
places = st.integers(0, 1000)


def manifest_of(world: World) -> Any:
    sizes = {item.key: item.size for item in world.output.list(f"{OUTPUT}/shards/")}
    records = list(world.ledger.records.values())
    random.Random(world.events).shuffle(records)
    return make_manifest("dogs", records, sizes)


class Preprocessing(RuleBasedStateMachine):
    @initialize(
        versioned=st.booleans(),
        uploads=st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 4)), min_size=2, max_size=8),
    )
    def begin(self, versioned: bool, uploads: list[tuple[str, int]]) -> None:
        self.world = World(versioned=versioned)
        for name, number in uploads:
            self.world.upload(name, picture(number))
        self.workers: list[Iterator[str]] = []

    @rule(name=st.sampled_from(NAMES), number=st.integers(0, 4), bridged=st.booleans())
    def upload(self, name: str, number: int, bridged: bool) -> None:
        self.world.upload(name, picture(number), bridged=bridged)

    @rule(name=st.sampled_from(NAMES), bridged=st.booleans(), last_version=st.booleans())
    def remove(self, name: str, bridged: bool, last_version: bool) -> None:
        self.world.remove(name, bridged=bridged, last_version=last_version)

    @rule(body=st.sampled_from(POISON))
    def send_poison(self, body: str) -> None:
        self.world.queue.send(body)

    @precondition(lambda self: self.world.queue.messages)
    @rule(place=places)
    def repeat(self, place: int) -> None:
        bodies = list(self.world.queue.messages.values())
        self.world.queue.send(bodies[place % len(bodies)])

    @precondition(lambda self: self.world.queue.visible())
    @rule(
        chosen=st.lists(places, min_size=1, max_size=6),
        steps=st.integers(0, 25),
        killed=st.booleans(),
        fault=st.sampled_from(["", "", "get", "put", "claim", "answer", "delete"]),
    )
    def start_worker(self, chosen: list[int], steps: int, killed: bool, fault: str) -> None:
        """With messages in any order; `fault`: what does not answer, once."""
        self.world.faults = {fault}
        batch = []
        for place in chosen:
            if visible := self.world.queue.visible():
                batch.append(self.world.queue.take(visible[place % len(visible)]))
        self.workers.append(self.world.worker().process(batch))
        self._step(-1, steps)
        if killed and self.workers:
            self.workers.pop().close()

    @precondition(lambda self: self.workers)
    @rule(place=places, steps=st.integers(1, 25))
    def go_on(self, place: int, steps: int) -> None:
        self._step(place % len(self.workers), steps)

    def _step(self, place: int, steps: int) -> None:
        worker = self.workers[place]
        try:
            for _ in range(steps):
                next(worker)
        except (StopIteration, UnavailableError):
            self.workers.remove(worker)

    @precondition(lambda self: self.workers)
    @rule(place=places)
    def kill(self, place: int) -> None:
        self.workers.pop(place % len(self.workers)).close()

    @rule(seconds=st.sampled_from([1.0, VISIBILITY + 1, 1800.0, 4000.0, DAY, 3 * DAY]))
    def wait(self, seconds: float) -> None:
        self.world.now += seconds

    @rule()
    def collect_garbage(self) -> None:
        self.world.faults.clear()
        collect(self.world.ledger, self.world.output, OUTPUT, self.world.now, DAY)

    @rule()
    def write_manifest(self) -> None:
        if len({record.label for record in self.world.ledger.records.values() if record.state == IMAGE}) < 2:
            with pytest.raises(UserError, match=r"no image|needs two"):
                manifest_of(self.world)
            return
        manifest = manifest_of(self.world)
        self.world.output.put(f"{OUTPUT}/manifests/{manifest.digest}.json", manifest.data)

    @invariant()
    def what_is_named_exists(self) -> None:
        stored = self.world.output.versions
        for record in self.world.ledger.records.values():
            if record.state == IMAGE:
                data = stored[record.shard][-1][1]
                assert data[record.offset : record.offset + record.size].startswith(b"\x89PNG")
        for item in list(self.world.output.list(f"{OUTPUT}/manifests/")):
            document = read_manifest(stored[item.key][-1][1]).document
            assert named_shards(document) <= stored.keys()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        for worker in self.workers:
            worker.close()
        world = self.world
        world.drain()
        # Nothing lost, nothing double, and nothing that is not there any more.
        self.what_is_named_exists()
        states: dict[str, set[str]] = {IMAGE: set(), QUARANTINED: set()}
        for record in world.ledger.records.values():
            states.setdefault(record.state, set()).add(record.name)
        there = world.current()
        bad = {name for name, data in there.items() if "/" not in name or data == picture(0)}
        assert states[IMAGE] == there.keys() - bad
        assert states[QUARANTINED] == bad
        assert set(world.queue.messages.values()) <= set(POISON)
        if {name[0] for name in states[IMAGE]} != {"a", "b"}:
            return
        manifest = manifest_of(world)
        listed = [
            sample["name"]
            for split in manifest.document["splits"].values()
            for shard in split
            for sample in shard["samples"]
        ]
        assert sorted(listed) == sorted(states[IMAGE])
        assert manifest_of(world).data == manifest.data
        # As if the same images had been uploaded once, to a worker that nothing happens to.
        calm = World()
        for name, data in there.items():
            calm.upload(name, data)
        calm.drain()
        assert manifest_of(calm).document["content"] == manifest.document["content"]


TestPreprocessing = Preprocessing.TestCase
TestPreprocessing.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
