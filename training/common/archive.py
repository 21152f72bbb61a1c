"""Unpacks archives that may be hostile or broken: bounded in size and count, plain files only, no way out.

`tarfile`'s own data filter stops escapes; the bounds and the refusal of links and duplicates are ours.
"""

from __future__ import annotations

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

MAX_FILES = 1000
MAX_BYTES = 2 * 1024**3
COPY_BYTES = 1024 * 1024


class ArchiveError(Exception):
    """The archive must not be unpacked; the text says which member and why."""


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    size: int
    plain: bool
    folder: bool
    stream: IO[bytes] | None


def unpack(archive: Path, target: Path, *, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES) -> None:
    """Unpack a .zip or .tar.gz into the new or empty folder `target`.

    Raises ArchiveError for a member that is a link or device, lies outside `target`, appears twice, or
    brings the total over the bounds; what was unpacked before that stays in `target`.
    """
    target.mkdir(parents=True, exist_ok=True)
    members = _zip(archive) if zipfile.is_zipfile(archive) else _tar(archive)
    seen: set[PurePosixPath] = set()
    total = 0
    try:
        for member in members:
            path = _inside(member)
            if member.folder:
                continue
            total += member.size
            if path in seen:
                raise ArchiveError(f"{archive.name}: {member.name} appears twice")
            seen.add(path)
            if len(seen) > max_files:
                raise ArchiveError(f"{archive.name}: holds more than {max_files} files")
            if total > max_bytes:
                raise ArchiveError(f"{archive.name}: unpacks to more than {max_bytes:,} bytes")
            _write(member, target / path)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        reason = " ".join(str(error).split())  # tarfile lists its attempts line by line
        raise ArchiveError(f"{archive.name}: cannot be unpacked ({reason})") from error


def _inside(member: _Member) -> PurePosixPath:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name:
        raise ArchiveError(f"{member.name!r} lies outside the archive's folder")
    if not member.plain:
        raise ArchiveError(f"{member.name!r} is a link or a device, only plain files are allowed")
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


def _tar(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive, "r:*") as tar:
        for info in tar:
            plain = info.isreg() or info.isdir()
            stream = tar.extractfile(info) if info.isreg() else None
            yield _Member(info.name, info.size, plain, info.isdir(), stream)


def _zip(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as bundle:
        for info in bundle.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
            stream = bundle.open(info) if plain and not info.is_dir() else None
            yield _Member(info.filename, info.file_size, plain, info.is_dir(), stream)
