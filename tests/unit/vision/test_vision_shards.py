"""Shards: what goes in comes out, in the same order whoever wrote it, and names are only data."""

from __future__ import annotations

import hashlib
import json
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.common.failure import UserError
from training.vision.preprocess import SPLITS, Shares, split_of
from training.vision.shards import Sample, ShardWriter, read_shards

HOSTILE = [
    "../../etc/passwd",
    "/abs",
    "a\nb",
    "a\0b",
    "..",
    "",
    "ü" * 300,
    "a\\b",
    "\udc80",
    "-rf",
    "CON.tar",
]
names = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40))
contents = st.lists(st.tuples(names, names, st.binary(min_size=1, max_size=3000)), max_size=30)


def sample(number, label, name, data):
    return Sample(key=f"{number * 7919 % 1009:024x}", label=label, name=name, extension="png", data=data)


def write(folder, samples, rank=0, shard_bytes=4096):
    folder.mkdir(parents=True, exist_ok=True)
    with ShardWriter(folder, rank, shard_bytes) as writer:
        for item in samples:
            writer.write(item)


def shown(entries):
    return [(entry.key, entry.label, entry.name, entry.read()) for entry in entries]


@settings(max_examples=60, deadline=None)
@given(contents)
def test_what_is_written_is_read(tmp_path_factory, found):
    folder = tmp_path_factory.mktemp("shards")
    samples = [sample(number, *item) for number, item in enumerate(found)]
    write(folder / "s", samples)
    expected = sorted((item.key, item.label, item.name, item.data) for item in samples)
    assert shown(read_shards(folder / "s")) == expected

    for shard in (folder / "s").glob("*.tar"):
        with tarfile.open(shard) as tar:
            for member in tar.getmembers():
                assert member.isfile()
                assert (folder / member.name).resolve().is_relative_to(folder.resolve())
            by_name = {member.name: tar.extractfile(member).read() for member in tar}
        assert set(by_name.items()) <= {(f"{item.key}.png", item.data) for item in samples}


@settings(max_examples=30, deadline=None)
@given(contents, st.integers(1, 4), st.integers(600, 9000))
def test_the_order_does_not_depend_on_who_wrote_what(tmp_path_factory, found, hosts, shard_bytes):
    folder = tmp_path_factory.mktemp("shards")
    samples = [sample(number, *item) for number, item in enumerate(found)]
    write(folder / "one", samples)
    for rank in range(hosts):
        write(folder / "many", samples[rank::hosts], rank, shard_bytes)
    assert shown(read_shards(folder / "one")) == shown(read_shards(folder / "many"))


def test_the_same_images_give_the_same_bytes(tmp_path):
    samples = [sample(number, "a", f"{number}", bytes([number]) * 2000) for number in range(9)]
    for name in ("x", "y"):
        write(tmp_path / name, samples)
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("x", "y")]
    assert files[0] == files[1]
    assert len(files[0]) == 2 * 5


@pytest.fixture
def shard(tmp_path):
    write(tmp_path / "s", [sample(1, "a", "one", b"1" * 600), sample(2, "b", "two", b"2" * 700)])
    (index,) = (tmp_path / "s").glob("*.json")
    return index


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema": 2}, "schema 2 is not 1"),
        ({"shard": "../shard-00000-00000.tar"}, "is not the name of a shard"),
        ({"shard": "shard-00000-00009.tar"}, "which is missing beside it"),
        ({"bytes": 17}, "not 17 as its index says"),
        ({"samples": 5}, "is not the index of a shard"),
        ({"samples": [{"key": "k", "class": "a", "name": "n", "offset": 0, "size": 10**9}]}, "outside"),
        ({"samples": [{"key": "k", "class": "a", "name": "n", "offset": -5, "size": 9}]}, "outside"),
        ({"samples": [{"key": "k", "class": "a", "name": "n", "offset": 0, "size": 0}]}, "outside"),
        ({"samples": [{"key": "k", "class": "a", "name": "n", "offset": True, "size": 9}]}, "outside"),
        ({"samples": [{"key": "k"}]}, "KeyError"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(shard, change, reason):
    shard.write_text(json.dumps(json.loads(shard.read_text()) | change))
    with pytest.raises(UserError, match=reason):
        read_shards(shard.parent)


def test_an_image_in_two_shards_is_refused(shard):
    write(shard.parent, [sample(1, "a", "one", b"1" * 600)], rank=1)
    with pytest.raises(UserError, match="holds 'one', which"):
        read_shards(shard.parent)


def test_a_shard_cut_while_it_is_read_is_refused(shard):
    entries = read_shards(shard.parent)
    entries[0].shard.write_bytes(b"short")
    with pytest.raises(UserError, match="became shorter"):
        entries[0].read()


digests = st.sets(
    st.integers(0, 2**64).map(lambda n: hashlib.sha256(str(n).encode()).hexdigest()), max_size=60
)


@given(digests, digests)
def test_images_that_are_added_move_none(before, added):
    """The split of an image is a function of it alone; so are shares of splits: more test, fewer others."""
    shares = Shares(0.1, 0.2)
    splits = {digest: split_of(digest, shares) for digest in before | added}
    assert {digest: split_of(digest, shares) for digest in before} == {d: splits[d] for d in before}
    assert set(splits.values()) <= set(SPLITS)
    wider = {digest: split_of(digest, Shares(0.1, 0.5)) for digest in splits}
    assert all(wider[digest] == "test" for digest, split in splits.items() if split == "test")


def test_shares_are_as_asked():
    found = [split_of(hashlib.sha256(f"{n}".encode()).hexdigest(), Shares(0.1, 0.2)) for n in range(20_000)]
    shares = {name: found.count(name) / len(found) for name in SPLITS}
    assert shares == pytest.approx({"train": 0.7, "validation": 0.1, "test": 0.2}, abs=0.01)
