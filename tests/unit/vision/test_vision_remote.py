"""Images in S3: in which order they are read, how much of them is kept, and what may go wrong on the way."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.vision.vision_support import SIZE
from training.common.failure import UserError
from training.common.hosts import Hosts
from training.common.manifest import ImageInput
from training.vision import order, remote, sources
from training.vision.checkpoints.saver import identity_of
from training.vision.checkpoints.store import StoreError
from training.vision.config import Config
from training.vision.data import Split, batches_of
from training.vision.elastic.ranks import SILENCE
from training.vision.order import Blocks
from training.vision.remote import Ahead, Distant
from training.vision.shards import Entry, read_shards

BLOCK = 1000
NOT_GIVEN = r"^s3://b/0.tar cannot be read: S3 has not given a batch within"
SHAPE = ImageInput(backbone="x", norm="group", size=SIZE, side=37, mean=(0, 0, 0), std=(1, 1, 1))


class Bucket:
    """What S3 does for `Objects.read`, of objects in memory; notes what it is asked for."""

    def __init__(self, objects):
        self.objects, self.asked, self.error = objects, [], None
        self.gate = threading.Event()
        self.gate.set()

    def read(self, address, offset, size):
        self.asked.append((address, offset, size))
        self.gate.wait(30)
        if self.error:
            raise self.error
        data = self.objects[address][offset : offset + size]
        assert len(data) == size
        return data


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    for module in (order, remote):
        monkeypatch.setattr(module, "BLOCK_BYTES", BLOCK)


def laid(shards, images, size=130):
    """A bucket with shards, and their images."""
    source = np.random.default_rng(7)
    objects = {f"s3://b/{n}.tar": source.bytes(images * (size + 50)) for n in range(shards)}
    bucket = Bucket(objects)
    entries = [
        Distant(
            f"{n}-{i:04d}", "a", f"{i}", Path(f"{n}.tar"), i * (size + 50), size, address, len(data), bucket
        )
        for n, (address, data) in enumerate(objects.items())
        for i in range(images)
    ]
    return bucket, entries


def of(entry, bucket):
    return bucket.objects[entry.address][entry.offset : entry.offset + entry.size]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 60), st.integers(1, 900), st.integers(0, 5000), st.randoms())
def test_every_image_comes_and_every_block_once(shards, images, size, budget, random):
    bucket, entries = laid(shards, images, size)
    random.shuffle(entries)
    with Ahead(entries, budget) as ahead, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ahead.read, range(len(entries))))
    assert found == [of(entry, bucket) for entry in entries]
    assert len(bucket.asked) == len(set(bucket.asked))
    assert {offset % BLOCK for _, offset, _ in bucket.asked} == {0}


def test_no_more_is_kept_than_is_needed_soon():
    bucket, entries = laid(20, 50)
    with Ahead(entries, 3 * BLOCK) as ahead:
        for place in range(len(entries)):
            ahead.read(place)
    # One block may be taken from while the next ones wait.
    assert ahead.most <= 4 * BLOCK
    assert ahead.most < sum(map(len, bucket.objects.values())) / 10
    assert ahead._held == 0


def test_blocks_are_read_before_they_are_asked_for():
    bucket, entries = laid(4, 50)
    with Ahead(entries, 100 * BLOCK) as ahead:
        ahead.read(0)
        deadline = threading.Event()
        while len(bucket.asked) < 36:
            assert not deadline.wait(0.01)
    assert len({address for address, _, _ in bucket.asked}) == 4


def test_what_s3_does_not_give_is_said_by_whoever_needs_it():
    bucket, entries = laid(1, 50)
    bucket.error = UserError("s3://b/0.tar cannot be read: SlowDown")
    with Ahead(entries, BLOCK) as ahead, pytest.raises(UserError, match="SlowDown"):
        ahead.read(0)


def test_s3_that_does_not_answer_is_waited_for_so_long_only(monkeypatch):
    """Other ranks wait for this one, and are to hear the reason before they take it for lost."""
    monkeypatch.setattr(remote, "WAIT_SECONDS", 0.2)
    bucket, entries = laid(1, 3)
    bucket.gate.clear()
    with Ahead(entries, BLOCK) as ahead:
        with pytest.raises(UserError, match=NOT_GIVEN) as refused, ahead.awaited():
            ahead.read(0)
        assert isinstance(refused.value.__cause__, StoreError)  # the job is tried again
        bucket.gate.set()


def test_the_blocks_of_a_batch_are_waited_for_together(monkeypatch):
    """The other ranks meet after each batch, not after each block."""
    monkeypatch.setattr(remote, "WAIT_SECONDS", 0.5)
    monkeypatch.setattr(remote, "READERS", 1)
    bucket, entries = laid(1, 60)
    monkeypatch.setattr(bucket.gate, "wait", lambda _: time.sleep(0.1))
    with Ahead(entries, BLOCK) as ahead, ahead.awaited(), pytest.raises(UserError, match=NOT_GIVEN):
        list(map(ahead.read, range(len(entries))))
    assert len(bucket.asked) > 1


def test_what_decoding_takes_is_not_taken_for_s3s(monkeypatch):
    """Images that are decoded slowly are no reason to end; what S3 takes before and after adds up."""
    clock = [0.0]
    monkeypatch.setattr(remote, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(remote, "WAIT_SECONDS", 100.0)
    monkeypatch.setattr(remote, "READERS", 1)
    bucket, entries = laid(1, 60, size=50)  # ten in each block

    def passes(seconds):
        clock[0] += seconds

    monkeypatch.setattr(bucket.gate, "wait", lambda _: passes(30.0))
    with Ahead(entries, 0) as ahead, ahead.awaited():
        for place in (0, 10, 20, 30):
            assert ahead.read(place) == of(entries[place], bucket)
            passes(1000.0)
        with pytest.raises(UserError, match=NOT_GIVEN):
            ahead.read(40)


def test_what_is_read_while_nobody_waits_has_time(monkeypatch):
    """A step may take longer than S3 may, and images are decoded ahead of it."""
    monkeypatch.setattr(remote, "WAIT_SECONDS", 0.1)
    bucket, entries = laid(1, 3)
    bucket.gate.clear()
    with Ahead(entries, BLOCK) as ahead, ThreadPoolExecutor(1) as pool:
        with ahead.awaited():
            pass
        early = pool.submit(ahead.read, 0)
        time.sleep(0.3)
        assert not early.done()
        bucket.gate.set()
        assert early.result(60) == of(entries[0], bucket)


def test_a_batch_of_an_epoch_is_waited_for_so_long_only(monkeypatch, trained):
    monkeypatch.setattr(remote, "WAIT_SECONDS", 0.2)
    bucket, distant = remote_of(trained.output("train"))
    bucket.gate.clear()
    split = Split(distant, [0] * len(distant), SHAPE, Hosts(("a",), 0))
    with pytest.raises(UserError, match="S3 has not given a batch within"):
        next(split.training(16, 7, 1, "none"))
    bucket.gate.set()


def test_a_rank_that_waits_for_s3_is_not_taken_for_lost():
    """And a client that pauses, by chance, goes on for longer: boto3's "standard" mode, by up to 20 s between
    two attempts. Of so many pauses the mean is met but for three deviations."""
    pauses = [min(2**attempt, 20) for attempt in range(remote.ATTEMPTS - 1)]
    deviation = (sum(pause**2 for pause in pauses) / 12) ** 0.5
    longest = min(sum(pauses) / 2 - 3 * deviation, 0.6 * SILENCE.total_seconds())
    assert longest > remote.WAIT_SECONDS


def test_whoever_waits_is_let_go_when_an_epoch_ends_early():
    bucket, entries = laid(1, 50)
    bucket.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        with Ahead(entries, BLOCK) as ahead:
            waiting = pool.submit(ahead.read, 0)
            while not bucket.asked:
                pass
        with pytest.raises(RuntimeError, match="nobody asks"):
            waiting.result(30)
        bucket.gate.set()


def entries_of(images, per_shard):
    return [
        Entry(f"{n:05d}", "a", f"{n}", Path(f"{n // per_shard}.tar"), (n % per_shard) * 400, 390)
        for n in range(images)
    ]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 20), st.integers(1, 16), st.integers(1, 5))
def test_a_large_dataset_is_shuffled_within_windows(images, per_shard, window, batch_size, epoch):
    entries = entries_of(images, per_shard)
    blocks = Blocks.cut(entries)
    numbers, places = blocks.shuffled(window * BLOCK, 7, epoch)
    assert sorted(numbers.tolist()) == list(range(images))
    again, _ = blocks.shuffled(window * BLOCK, 7, epoch)
    assert numbers.tolist() == again.tolist()
    # At no time are images of more blocks on their way than a window holds, and of the one that it cuts.
    seen = places[blocks.of[numbers]]
    left = np.flip(np.minimum.accumulate(np.flip(seen)))
    spread = int((np.maximum.accumulate(seen) - left).max())
    smallest = int(np.bincount(blocks.of, weights=blocks.sizes).min())
    assert blocks.fit(window * BLOCK) or spread <= window * BLOCK // smallest + 1
    for batch in batches_of(numbers, batch_size):
        placed = places[blocks.of[blocks.by_place(batch, places)]].tolist()
        assert placed == sorted(placed)


def test_a_dataset_that_fits_is_shuffled_as_a_whole():
    """As it was before there were windows: models of small datasets stay what they were."""
    blocks = Blocks.cut(entries_of(50, 10))
    expected = np.random.default_rng([7, 3]).permutation(50).tolist()
    for window in (0, 1 << 30):
        numbers, places = blocks.shuffled(window, 7, 3)
        assert numbers.tolist() == expected
        assert blocks.by_place(numbers, places).tolist() == expected


def remote_of(folder):
    """The shards of a folder as if they lay in S3."""
    bucket = Bucket({f"s3://b/{path.name}": path.read_bytes() for path in folder.glob("*.tar")})
    return bucket, [
        Distant(
            entry.key, entry.label, entry.name, entry.shard, entry.offset, entry.size,
            f"s3://b/{entry.shard.name}", len(bucket.objects[f"s3://b/{entry.shard.name}"]), bucket,
        )
        for entry in read_shards(folder)
    ]  # fmt: skip


@pytest.mark.parametrize("window", [0, 3000])
def test_batches_from_s3_are_those_of_a_folder(trained, window):
    """To the bit, from any batch on, at any number of hosts; each host reads about its share."""
    folder = trained.output("train")
    bucket, distant = remote_of(folder)
    labels = list(range(len(distant)))

    def batches(entries, rank, count, first):
        split = Split(entries, labels, SHAPE, Hosts(tuple("abc"[:count]), rank), window)
        return list(split.training(16, 7, 1, "crop_flip", first))

    for count, first in ((1, 0), (1, 3), (3, 0), (3, 2)):
        for rank in range(count):
            pairs = zip(
                batches(distant, rank, count, first),
                batches(read_shards(folder), rank, count, first),
                strict=True,
            )
            for one, other in pairs:
                assert (one.images == other.images).all()
                assert one.labels.tolist() == other.labels.tolist()
    if window:
        whole = len({(address, offset) for address, offset, _ in bucket.asked})
        bucket.asked.clear()
        batches(distant, 0, 3, 0)
        assert len(bucket.asked) < 0.7 * whole
    split = Split(distant, labels, SHAPE, Hosts(("a",), 0), window)
    local = Split(read_shards(folder), labels, SHAPE, Hosts(("a",), 0), window)
    for one, other in zip(split.evaluation(16), local.evaluation(16), strict=True):
        assert (one.images == other.images).all()
    # One image alone, as for the golden ones.
    assert distant[0].read() == read_shards(folder)[0].read()


def test_an_epoch_that_is_left_early_leaves_no_thread(trained):
    before = threading.active_count()
    split = Split(remote_of(trained.output("train"))[1], [0] * 1000, SHAPE, Hosts(("a",), 0), 3000)
    for _ in split.training(16, 7, 1, "none"):
        break
    del _
    for thread in threading.enumerate():
        if thread.name == "shards":
            thread.join(30)
    assert threading.active_count() <= before


def test_shards_packed_anew_are_another_order(trained):
    """Of a dataset larger than a window: a checkpoint of the one order must not go on in the other."""
    import torch

    def identity(entries, window):
        split = Split(entries, [0] * len(entries), SHAPE, Hosts(("a",), 0), window)
        return identity_of(Config(), torch.nn.Linear(1, 1), split, split).data

    one, other = entries_of(60, 10), entries_of(60, 7)
    assert identity(one, 0) == identity(other, 0)
    assert identity(one, 3000) != identity(other, 3000)


@pytest.mark.parametrize("address", ["dogs", "s3://", "https://b/dogs"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(UserError, match=r"is not s3://bucket/key"):
        sources.resolved(address)


def test_a_dataset_of_hosts_is_read_where_it_is():
    assert sources.dataset_of({}) == ""
    assert sources.dataset_of({"DATASET_URI": "/mnt/dogs"}) == ""
    assert (
        sources.dataset_of({"DATASET_URI": "s3://b/dogs/manifests/x.json"}) == "s3://b/dogs/manifests/x.json"
    )
