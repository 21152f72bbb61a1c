"""Tar archives that come from, or go to, code nobody here has read."""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

MAX_BYTES = 50 * 1024**3
MAX_MEMBERS = 200_000


class ArchiveError(ValueError):
    """An archive, or a folder to be archived, that is refused."""


def files_below(folder: Path, root: Path | None = None) -> Iterator[tuple[str, Path]]:
    """Each regular file below `folder`, sorted: its relative path and where it lies, links followed.

    A link to a file of the folder counts as that file. Read the file with `open_below`.

    Args:
        folder: whose files.
        root: folder at or above it whose own place is beyond doubt; below it nothing may be a link.

    Raises:
        ArchiveError: a link that leaves the folder or hangs, a socket, a device.
    """
    if folder != (root or folder):
        _refuse_links(root or folder, folder)
    top = folder.resolve()
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in [*folders, *sorted(names)]:
            path = Path(parent) / name
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink():
                target = path.resolve()
                if not target.is_relative_to(top) or not target.is_file():
                    raise ArchiveError(f"{relative} is a link that leads out of its folder or to no file")
                yield relative, folder / target.relative_to(top)
            elif name in folders:
                continue
            elif not path.is_file():
                raise ArchiveError(f"{relative} is not a regular file")
            else:
                yield relative, path


def _refuse_links(root: Path, folder: Path) -> None:
    path = root
    for part in folder.relative_to(root).parts:
        path = path / part
        if path.is_symlink():
            raise ArchiveError(f"{path.relative_to(root)} is a link; it must be a folder")


def open_below(root: Path, path: Path) -> IO[bytes]:
    """Open a regular file for reading, following no link between `root` and it.

    Whoever may write below `root` can put a link there after it was looked at, so looking is not enough.

    Raises:
        ArchiveError: a link, or no regular file.
        FileNotFoundError: nothing there.
    """
    parts = path.relative_to(root).parts
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            # O_NONBLOCK: a pipe without a writer would hold the open forever.
            kind = os.O_NONBLOCK if last else os.O_DIRECTORY
            deeper = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | kind, dir_fd=handle)
            os.close(handle)
            handle = deeper
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ArchiveError(f"{path.relative_to(root)} is not a regular file")
        return os.fdopen(handle, "rb")
    except BaseException as error:
        os.close(handle)
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise ArchiveError(f"{path.relative_to(root)} cannot be read: {error.strerror}") from error
        raise


def pack(folder: Path, target: Path, root: Path | None = None) -> int:
    """Write a folder as `.tar.gz`; the same files give the same bytes. Returns the number of files.

    Args:
        folder, root: see `files_below`.
        target: lies where the writers of `folder` cannot write.

    Raises:
        ArchiveError: see `files_below`.
    """
    count = 0
    with (
        target.open("xb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for relative, path in files_below(folder, root):
            with open_below(root or folder, path) as content:
                status = os.fstat(content.fileno())
                member = tarfile.TarInfo(relative)
                member.size, member.mode = status.st_size, 0o755 if status.st_mode & 0o100 else 0o644
                archive.addfile(member, content)
            count += 1
    return count


def unpack(source: Path, folder: Path, *, max_bytes: int = MAX_BYTES, max_members: int = MAX_MEMBERS) -> None:
    """Extract a tar archive (compressed or not) into `folder`.

    Raises:
        ArchiveError: no tar archive, a path or link that leaves the folder, a device, too many, too much.
    """
    total = 0
    links: list[tuple[PurePosixPath, PurePosixPath]] = []
    try:
        with tarfile.open(source, "r:*") as archive:
            for index, member in enumerate(archive):
                if index >= max_members:
                    raise ArchiveError(f"the archive has more than {max_members} members")
                place = _safe(member)
                target = folder / place
                if member.issym() or member.islnk():
                    links.append((place, _link_target(member, place)))
                    continue
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
        _link(folder, links, max_bytes - total, max_members)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
        raise ArchiveError(f"not a readable tar archive: {error}") from error
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise ArchiveError(f"a member is both a file and a folder: {error}") from error


def _safe(member: tarfile.TarInfo) -> PurePosixPath:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\0" in member.name:
        raise ArchiveError(f"the member {member.name!r} leaves its folder")
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise ArchiveError(f"the member {member.name!r} is a device")
    return path


def _link_target(member: tarfile.TarInfo, place: PurePosixPath) -> PurePosixPath:
    """What a link names, relative to the archive's top."""
    base = str(place.parent) if member.issym() else "."
    target = PurePosixPath(os.path.normpath(f"{base}/{member.linkname}"))
    if member.linkname.startswith("/") or target.parts[:1] == ("..",) or "\0" in member.linkname:
        raise ArchiveError(f"the member {member.name!r} is a link that leaves its folder")
    return target


def _link(folder: Path, links: list[tuple[PurePosixPath, PurePosixPath]], room: int, files: int) -> None:
    """Put what each link names in its place: with no link ever made, none can be followed out."""
    while links:
        waiting = []
        for place, target in links:
            source, destination = folder / target, folder / place
            if place.is_relative_to(target):
                raise ArchiveError(f"the member {str(place)!r} is a link to itself")
            if not source.exists() or any(
                other.is_relative_to(target) for other, _ in links if other != place
            ):
                waiting.append((place, target))
                continue
            if destination.exists():
                raise ArchiveError(f"the member {str(place)!r} is both a link and a file")
            found = [path for _, path in files_below(source)] if source.is_dir() else [source]
            room, files = room - sum(path.stat().st_size for path in found), files - len(found)
            if room < 0 or files < 0:
                raise ArchiveError("the archive unpacks to more than is allowed, its links counted")
            destination.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, destination)
            else:
                shutil.copy2(source, destination)
        if len(waiting) == len(links):
            raise ArchiveError(f"the member {str(waiting[0][0])!r} is a link to nothing in the archive")
        links = waiting


def _write(content: IO[bytes], target: Path, *, executable: bool) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
    if executable:
        target.chmod(0o755)
