"""The images between the steps: tar shards, each with an index beside it.

    shard-00000-00003.tar     the images, named by a hash: whatever a photo was called, the archive is safe
    shard-00000-00003.json    of each image: key, class, original name, and where in the tar it lies

Few large objects instead of many small ones: S3 takes as long for a request as for a megabyte. With the place
of each image known, an epoch reads them in any order without unpacking. Each host of a processing job numbers
its own shards, and each shard has its own index, so that no host waits for another.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

from training.common.failure import UserError
from training.common.paths import files_in

SCHEMA = 1
SHARD_BYTES = 64 * 1024 * 1024
SHARD_NAME = re.compile(r"shard-\d{5}-\d{5}\.tar")
MAX_SAMPLE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An image to be written; `key` is unique and safe as a file's name."""

    key: str
    label: str
    name: str
    extension: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """An image in a shard: `size` bytes from `offset` on in the file `shard`."""

    key: str
    label: str
    name: str
    shard: Path
    offset: int
    size: int

    def read(self) -> bytes:
        with self.shard.open("rb") as stream:
            stream.seek(self.offset)
            data = stream.read(self.size)
        if len(data) != self.size:
            raise UserError(f"{self.shard.name} became shorter while it was read")
        return data


class ShardWriter(AbstractContextManager["ShardWriter"]):
    """Writes samples into `folder`, a new shard whenever one has `shard_bytes`. The same samples in the same
    order give the same bytes."""

    def __init__(self, folder: Path, rank: int, shard_bytes: int = SHARD_BYTES) -> None:
        self._folder = folder
        self._rank = rank
        self._shard_bytes = shard_bytes
        self._number = 0
        self._tar: tarfile.TarFile | None = None
        self._entries: list[dict[str, Any]] = []
        self.images = 0

    def write(self, sample: Sample) -> None:
        if self._tar is None:
            self._tar = tarfile.open(self._path(".tar"), "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        header = tarfile.TarInfo(f"{sample.key}.{sample.extension}")
        header.size = len(sample.data)
        offset = self._tar.offset + tarfile.BLOCKSIZE
        self._tar.addfile(header, io.BytesIO(sample.data))
        self._entries.append(
            {
                "key": sample.key,
                "class": sample.label,
                "name": sample.name,
                "offset": offset,
                "size": len(sample.data),
            }
        )
        self.images += 1
        if self._tar.offset >= self._shard_bytes:
            self._finish()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish()

    def _finish(self) -> None:
        """The index comes last: a shard without one was not finished."""
        if self._tar is None:
            return
        self._tar.close()
        path = self._path(".tar")
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        document = {
            "schema": SCHEMA,
            "shard": path.name,
            "bytes": path.stat().st_size,
            "sha256": digest,
            "samples": self._entries,
        }
        # Names from a file system may hold bytes that are no UTF-8; as ASCII JSON writes them unharmed.
        self._path(".json").write_text(json.dumps(document) + "\n", encoding="ascii")
        self._tar, self._entries = None, []
        self._number += 1

    def _path(self, suffix: str) -> Path:
        return self._folder / f"shard-{self._rank:05d}-{self._number:05d}{suffix}"


def read_shards(folder: Path) -> list[Entry]:
    """The images of all shards in `folder`, sorted by key: in the same order whoever wrote which shard.

    Raises UserError for an index that is none, or does not fit its shard.
    """
    entries: list[Entry] = []
    for path in files_in(folder):
        if path.suffix == ".json":
            entries += _read_index(path)
    return sorted_by_key(entries)


def sorted_by_key(entries: list[Entry]) -> list[Entry]:
    """Images in the order in which training numbers them; raises UserError for one that is there twice."""
    entries = sorted(entries, key=lambda entry: entry.key)
    for before, after in pairwise(entries):
        if before.key == after.key:
            raise UserError(f"{after.shard.name} holds {after.name!r}, which {before.shard.name} holds too")
    return entries


def parse_index(name: str, data: bytes, length_of: Callable[[str], int] | None = None) -> dict[str, Any]:
    """The content of an index.

    Args:
        name: of the index.
        data: its bytes.
        length_of: of the shard that it names, where that is known here.

    Raises:
        UserError: it is none, or does not fit its shard.
    """
    try:
        document: Any = json.loads(data)
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r} is not {SCHEMA}")
        shard, length = document["shard"], document["bytes"]
        if not SHARD_NAME.fullmatch(shard):
            raise ValueError(f"{shard!r} is not the name of a shard")
        if length_of and (found := length_of(shard)) != length:
            raise UserError(f"{shard} has {found} bytes, not {length} as its index says")
        return {**document, "samples": [_checked(item, shard, length) for item in document["samples"]]}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{name} is not the index of a shard: {error!r}") from error


def _read_index(path: Path) -> list[Entry]:
    def length_of(shard: str) -> int:
        if not (path.parent / shard).is_file():
            raise UserError(f"{path.name} names {shard}, which is missing beside it")
        return (path.parent / shard).stat().st_size

    document = parse_index(path.name, path.read_bytes(), length_of)
    shard = path.parent / document["shard"]
    return [
        Entry(item["key"], item["class"], item["name"], shard, item["offset"], item["size"])
        for item in document["samples"]
    ]


def _checked(item: Any, shard: str, length: int) -> dict[str, Any]:
    offset, size = item["offset"], item["size"]
    fits = type(offset) is type(size) is int and offset >= 0 and 0 < size <= MAX_SAMPLE_BYTES
    if not fits or offset + size > length:
        raise ValueError(f"{item['name']!r} lies outside of {shard}")
    return {**item, **{name: str(item[name]) for name in ("key", "class", "name")}}
