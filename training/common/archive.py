"""Unpacks archives that may be hostile or broken: bounded in size and count, plain files only, no way out.

`tarfile` and `zipfile` take the format apart. What they would do with a claim of any size, hold it in memory,
and all that a model or code has no use for (links, devices, sparse files, encryption) is refused here.
"""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

MAX_FILES = 1000
MAX_BYTES = 2 * 1024**3
# Compressed zeros reach 1,000; small archives of text may well reach the first.
MAX_RATIO, RATIO_FROM_BYTES = 100, 16 * 1024**2
MAX_NAME, MAX_PART = 1024, 255
MAX_HEAD_BYTES = 1024**2  # of a member: names and attributes
COPY_BYTES = 1024 * 1024
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 1
END_OF_ZIP, END_BYTES, ENTRY_BYTES = b"PK\5\6", 22, 46


class ArchiveError(Exception):
    """The archive must not be unpacked; the text says which member and why."""


@dataclass(frozen=True, slots=True)
class _Member:
    """`refusal`: why a member is none that may be unpacked."""

    name: str
    size: int
    folder: bool = False
    refusal: str = ""
    stream: IO[bytes] | None = None


def unpack(archive: Path, target: Path, *, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES) -> None:
    """Unpack a .zip or .tar.gz into the new or empty folder `target`.

    Raises ArchiveError for a member that is a link or device, lies outside `target`, appears twice, or
    brings the total over the bounds; what was unpacked before that stays in `target`.
    """
    target.mkdir(parents=True, exist_ok=True)
    try:
        packed = archive.stat().st_size
        if packed > max_bytes:
            raise ArchiveError(f"holds more than {max_bytes:,} bytes, packed")
        members = _zip(archive, max_files) if zipfile.is_zipfile(archive) else _tar(archive)
        _unpack(members, target, max_bytes, max_files, max(RATIO_FROM_BYTES, MAX_RATIO * packed))
    except ArchiveError as error:
        raise ArchiveError(f"{archive.name}: {error}") from None
    except Exception as error:  # broken archives make the two modules raise errors of a dozen kinds
        reason = " ".join((str(error) or type(error).__name__).split())  # of tarfile: several lines
        raise ArchiveError(f"{archive.name}: cannot be unpacked ({reason[:200]})") from error


def _unpack(
    members: Iterator[_Member], target: Path, max_bytes: int, max_files: int, max_expanded: int
) -> None:
    seen: set[PurePosixPath] = set()
    total = 0
    for count, member in enumerate(members, 1):
        if count > max_files:
            raise ArchiveError(f"holds more than {max_files} files")
        path = _inside(member)
        if member.folder:
            continue
        if path in seen:
            raise ArchiveError(f"{member.name!r} appears twice")
        seen.add(path)
        total += member.size
        if total > max_bytes:
            raise ArchiveError(f"unpacks to more than {max_bytes:,} bytes")
        if total > max_expanded:
            raise ArchiveError(f"unpacks to more than {MAX_RATIO} times its size")
        _write(member, target / path)


def _inside(member: _Member) -> PurePosixPath:
    path = PurePosixPath(member.name)
    if len(member.name) > MAX_NAME or any(
        len(part.encode(errors="replace")) > MAX_PART for part in path.parts
    ):
        raise ArchiveError(f"the name {member.name[:60]!r}... is too long")
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name:
        raise ArchiveError(f"{member.name!r} lies outside the archive's folder")
    if member.refusal:
        raise ArchiveError(f"{member.name!r} {member.refusal}")
    if not path.parts and not member.folder:
        raise ArchiveError("a member has no name")
    return path


def _write(member: _Member, path: Path) -> None:
    """The size in an archive's index is only a claim: never write more than it says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    left = member.size
    if member.stream is None:
        raise ArchiveError(f"{member.name!r} has no content")
    with member.stream, path.open("xb") as output:
        while chunk := member.stream.read(COPY_BYTES):
            left -= len(chunk)
            if left < 0:
                raise ArchiveError(f"{member.name!r} is larger than the archive says")
            output.write(chunk)
    if left:
        raise ArchiveError(f"{member.name!r} is smaller than the archive says")


class _Unpacked:
    """The bytes that `tarfile` reads, of which it may have `allowance` more."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self.allowance = 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.allowance -= len(data)
        if self.allowance < 0:
            raise ArchiveError(f"a member has a head of more than {MAX_HEAD_BYTES:,} bytes")
        return data


def _tar(archive: Path) -> Iterator[_Member]:
    with gzip.open(archive) as stream:
        unpacked = _Unpacked(stream)
        unpacked.allowance = MAX_HEAD_BYTES
        # As a stream: from front to back, once.
        with tarfile.open(fileobj=unpacked, mode="r|") as tar:  # type: ignore[call-overload]  # it only reads
            while info := tar.next():
                tar.members = []  # which would hold every head until the end
                refusal = ""
                if info.issparse():
                    refusal = "is a sparse file, only plain files are allowed"
                elif not (info.isreg() or info.isdir()):
                    refusal = "is a link or a device, only plain files are allowed"
                elif info.size < 0:
                    refusal = "has a negative size"
                content = tar.extractfile(info) if info.isreg() and not refusal else None
                unpacked.allowance = MAX_HEAD_BYTES + info.size
                yield _Member(info.name, info.size, info.isdir(), refusal, content)
                unpacked.allowance = MAX_HEAD_BYTES


def _zip(archive: Path, max_files: int) -> Iterator[_Member]:
    _check_index(archive, max_files)
    with zipfile.ZipFile(archive) as bundle:
        for info in bundle.infolist():
            refusal = ""
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                refusal = "is a link or a device, only plain files are allowed"
            elif info.flag_bits & ENCRYPTED or info.compress_type not in ZIP_METHODS:
                refusal = "is encrypted, or packed with another method than deflate"
            stream = bundle.open(info) if not refusal and not info.is_dir() else None
            yield _Member(info.filename, info.file_size, info.is_dir(), refusal, stream)


def _check_index(archive: Path, max_files: int) -> None:
    """Before `zipfile` reads the whole index into memory."""
    with archive.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - END_BYTES - 0xFFFF))
        tail = stream.read()
    at = tail.rfind(END_OF_ZIP)
    index = int.from_bytes(tail[at + 12 : at + 16], "little")
    if at < 0 or index > max_files * (ENTRY_BYTES + MAX_NAME):
        raise ArchiveError(f"holds more than {max_files} files, or too long names")
