"""Where a job's images are: in the folders of its channels, or in S3, to be read from there.

s3://bucket/datasets/dogs/manifests/SHA.json    what the preprocessing queue publishes, all splits in one
s3://bucket/datasets/dogs                       the newest of these
s3://bucket/prefix/train                        a channel: shards with their indexes, as steps write them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from training.common.failure import UserError
from training.common.paths import channel
from training.vision.checkpoints.s3 import S3Store, make_client
from training.vision.checkpoints.store import StoreError
from training.vision.classes import NAME, Classes, parse_classes, read_classes
from training.vision.distributed import Group
from training.vision.remote import Distant, Objects
from training.vision.shards import Entry, parse_index, read_shards, sorted_by_key

S3 = "s3://"
CLASSES = "classes"
CHANNELS = ("train", "validation", "test", CLASSES)
DATASET = "DATASET_URI"


@dataclass(frozen=True, slots=True)
class Source:
    """A job's images and classes.

    Args:
        manifest: of a dataset, as JSON has it; None: each channel is where `places` says, or a folder.
        bucket: of the manifest's shards.
        places: addresses or folders by channel.
    """

    manifest: Mapping[str, Any] | None = field(default=None, repr=False)
    bucket: str = ""
    places: Mapping[str, str] = field(default_factory=dict)

    def classes(self) -> Classes:
        """Raises UserError where there are none."""
        if self.manifest:
            names = tuple(self.manifest["classes"])
            return Classes(names=names, image_size=self.manifest["image_size"], side=self.manifest["side"])
        place = self.places.get(CLASSES)
        if place and place.startswith(S3):
            return parse_classes(NAME, _read(_store(place), NAME))
        return read_classes(Path(place) if place else channel(CLASSES))

    def entries(self, name: str) -> list[Entry]:
        """The images of a split, sorted by key; raises UserError where they are none."""
        if self.manifest:
            return _of_manifest(self.manifest["splits"].get(name, []), self.bucket)
        place = self.places.get(name)
        if place and place.startswith(S3):
            return _of_prefix(place)
        return read_shards(Path(place) if place else channel(name))

    def has(self, name: str) -> bool:
        """Whether there is such a split."""
        if self.manifest:
            return bool(self.manifest["splits"].get(name))
        try:
            return name in self.places or bool(channel(name))
        except UserError:
            return False


def read_source(dataset: str, places: Mapping[str, str | None]) -> Source:
    """What a job was told of its images.

    Args:
        dataset: address of a manifest in S3; empty: the job has channels.
        places: of channels, None for a folder where SageMaker has it.

    Raises:
        UserError: there is no such manifest, or it is none.
    """
    if not dataset:
        return Source(places={name: place for name, place in places.items() if place})
    # Only here: who has channels needs none of it.
    from training.preprocessing.documents import read_manifest

    bucket = dataset.removeprefix(S3).partition("/")[0]
    return Source(read_manifest(read_object(dataset)).document, bucket)


def read_object(address: str) -> bytes:
    """All of an object `s3://bucket/key`; raises UserError where there is none, or it cannot be read."""
    folder, _, name = address.rpartition("/")
    return _read(_store(folder), name)


def dataset_of(environment: Mapping[str, str]) -> str:
    """The dataset in S3 that a job of hosts was told of; a folder was laid out as channels."""
    address = environment.get(DATASET, "")
    return address if address.startswith(S3) else ""


def shared_address(dataset: str, group: Group) -> str:
    """The manifest that the first host found, on all hosts: meanwhile a newer one may be written."""
    if not dataset:
        return ""
    return group.shared(resolved(dataset).encode() if group.hosts.is_first else b"-").decode()


def resolved(dataset: str) -> str:
    """The address of a manifest: this one, or the newest of the dataset whose folder is given.

    Raises:
        UserError: it is no address in S3, or there is no manifest.
    """
    if not dataset or dataset.endswith(".json"):
        return dataset
    store = _store(dataset.rstrip("/") + "/manifests")
    try:
        found = store.newest(".json")
    except StoreError as error:
        raise UserError(f"dataset {dataset} cannot be read: {error}") from error
    if not found:
        raise UserError(
            f"{store} holds no manifest; write one: python -m training.preprocessing.manifest write"
        )
    return f"{store}{found}"


def _of_manifest(shards: Sequence[Mapping[str, Any]], bucket: str) -> list[Entry]:
    addresses = {shard["shard"]: f"{S3}{bucket}/{shard['shard']}" for shard in shards}
    objects = Objects(list(addresses.values()))
    return sorted_by_key(
        [
            _entry(sample, addresses[shard["shard"]], shard["bytes"], objects)
            for shard in shards
            for sample in shard["samples"]
        ]
    )


def _of_prefix(place: str) -> list[Entry]:
    store = _store(place)
    try:
        names = [name for name in store.names() if name.endswith(".json")]
    except StoreError as error:
        raise UserError(f"channel {place} cannot be read: {error}") from error
    indexes = [parse_index(name, _read(store, name)) for name in names]
    objects = Objects([f"{store}{index['shard']}" for index in indexes])
    return sorted_by_key(
        [
            _entry(sample, f"{store}{index['shard']}", index["bytes"], objects)
            for index in indexes
            for sample in index["samples"]
        ]
    )


def _entry(sample: Mapping[str, Any], address: str, length: int, objects: Objects) -> Entry:
    offset, size = sample["offset"], sample["size"]
    if not 0 <= offset < offset + size <= length:
        raise UserError(f"{address}: {sample['name']!r} lies outside of it, as its index has it")
    shard = Path(PurePosixPath(address).name)
    key, label, name = (str(sample[member]) for member in ("key", "class", "name"))
    return Distant(key, label, name, shard, offset, size, address, length, objects)


def _store(address: str) -> S3Store:
    if not address.startswith(S3) or not (bucket := address.removeprefix(S3).partition("/")[0]):
        raise UserError(f"{address!r} is not s3://bucket/key")
    return S3Store(make_client(), bucket, address.removeprefix(S3).partition("/")[2])


def _read(store: S3Store, name: str) -> bytes:
    try:
        found = store.read(name)
    except StoreError as error:
        raise UserError(f"{store}{name} cannot be read: {error}") from error
    if found is None:
        raise UserError(f"there is no {store}{name}")
    return found.data
