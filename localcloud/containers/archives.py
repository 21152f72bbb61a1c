"""Tar archives that come from, or go to, code nobody here has read."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

MAX_BYTES = 50 * 1024**3
MAX_MEMBERS = 200_000


class ArchiveError(ValueError):
    """An archive, or a folder to be archived, that is refused."""


def files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Each regular file below `folder`, sorted, with its relative path. A link counts as the file it names.

    Raises:
        ArchiveError: a link that leaves the folder or hangs, a socket, a device.
    """
    top = folder.resolve()
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in [*folders, *sorted(names)]:
            path = Path(root) / name
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink():
                target = path.resolve()
                if not target.is_relative_to(top) or not target.is_file():
                    raise ArchiveError(f"{relative} is a link that leads out of its folder or to no file")
            elif name in folders:
                continue
            elif not path.is_file():
                raise ArchiveError(f"{relative} is not a regular file")
            yield relative, path


def pack(folder: Path, target: Path) -> int:
    """Write a folder as `.tar.gz`; the same files give the same bytes. Returns the number of files.

    Raises:
        ArchiveError: see `files_below`.
    """
    count = 0
    with (
        target.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for relative, path in files_below(folder):
            member = tarfile.TarInfo(relative)
            stat = path.stat()
            member.size, member.mode = stat.st_size, 0o755 if stat.st_mode & 0o100 else 0o644
            with path.open("rb") as content:
                archive.addfile(member, content)
            count += 1
    return count


def unpack(source: Path, folder: Path, *, max_bytes: int = MAX_BYTES, max_members: int = MAX_MEMBERS) -> None:
    """Extract a tar archive (compressed or not) into `folder`.

    Raises:
        ArchiveError: no tar archive, a path that leaves the folder, a link or device, too many, too much.
    """
    total = 0
    try:
        with tarfile.open(source, "r:*") as archive:
            for index, member in enumerate(archive):
                if index >= max_members:
                    raise ArchiveError(f"the archive has more than {max_members} members")
                target = folder / _safe(member)
                if member.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                total += member.size
                if total > max_bytes:
                    raise ArchiveError(f"the archive unpacks to more than {max_bytes} bytes")
                content = archive.extractfile(member)
                assert content is not None  # _safe lets regular files and folders through only
                target.parent.mkdir(parents=True, exist_ok=True)
                _write(content, target, executable=bool(member.mode & 0o100))
    except (tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
        raise ArchiveError(f"not a readable tar archive: {error}") from error
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise ArchiveError(f"a member is both a file and a folder: {error}") from error


def _safe(member: tarfile.TarInfo) -> PurePosixPath:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\0" in member.name:
        raise ArchiveError(f"the member {member.name!r} leaves its folder")
    if not (member.isreg() or member.isdir()):
        raise ArchiveError(f"the member {member.name!r} is a link or a device")
    return path


def _write(content: IO[bytes], target: Path, *, executable: bool) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
    if executable:
        target.chmod(0o755)
