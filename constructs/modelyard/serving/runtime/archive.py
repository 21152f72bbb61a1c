"""Reads one file out of a model archive that nobody has vouched for, without unpacking anything to disk.

A reader of our own instead of `tarfile`: that one holds extension headers in memory at whatever size an
archive claims, and follows features (links, sparse files) that a model archive has no use for. Here memory
is bounded by construction, and every kind of entry that is not a plain file or folder is refused.
Format: https://www.gnu.org/software/tar/manual/html_node/Standard.html and POSIX pax.
"""

import gzip
import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from .errors import DeployError

_BLOCK = 512
_CHUNK = 1 << 18
_MAX_ENTRIES = 10_000
_MAX_EXTENSION = 1 << 16
_PLAIN, _FOLDER = (b"0", b"\0"), b"5"
_PAX, _PAX_GLOBAL, _GNU_LONG_NAME = b"x", b"g", b"L"


class Entry(NamedTuple):
    """A file of the archive, whose bytes come next in the stream."""

    name: str
    size: int


class _Stream:
    """The unpacked bytes, counted: a bomb ends at the limit, whatever its headers say."""

    def __init__(self, unpacked: gzip.GzipFile, limit: int) -> None:
        self._unpacked, self._limit, self._read = unpacked, limit, 0

    def take(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._unpacked.read(size - len(data))
            if not part:
                raise DeployError("model archive ends in the middle of an entry")
            data += part
            self._count(len(part))
        return data

    def skip(self, size: int) -> None:
        while size > 0:
            size -= len(self.take(min(size, _CHUNK)))

    def drain(self) -> None:
        """Reads to the end, which is where gzip's own checksum is compared."""
        while part := self._unpacked.read(_CHUNK):
            self._count(len(part))

    def _count(self, size: int) -> None:
        self._read += size
        if self._read > self._limit:
            raise DeployError(f"model archive unpacks to more than {self._limit} bytes")


def read_file(archive: BinaryIO, name: str, *, max_unpacked: int, max_size: int) -> bytes:
    """The bytes of the file `name` in a .tar.gz; the whole archive is checked on the way.

    Raises DeployError when the archive is no .tar.gz, is cut short, unpacks to more than `max_unpacked`
    bytes, holds links, devices, the same name twice or names that leave its folder, or when the file is
    missing or larger than `max_size` bytes.
    """
    found: bytes | None = None
    archive.seek(0)
    try:
        with gzip.GzipFile(fileobj=archive) as unpacked:
            stream = _Stream(unpacked, max_unpacked)
            for entry in _entries(stream):
                if entry.name == name:
                    if entry.size > max_size:
                        raise DeployError(
                            f"{name} in the model archive has {entry.size} bytes, over {max_size}"
                        )
                    found = stream.take(entry.size)
                else:
                    stream.skip(entry.size)
                stream.skip(-entry.size % _BLOCK)
            stream.drain()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DeployError(f"model archive is no intact .tar.gz: {error}") from error
    if found is None:
        raise DeployError(f"model archive has no {name} at its top")
    return found


def _entries(stream: _Stream) -> Iterator[Entry]:
    seen: set[str] = set()
    long_name: str | None = None
    for _ in range(_MAX_ENTRIES):
        header = stream.take(_BLOCK)
        if not any(header):
            return
        kind, size = header[156:157], _size(header)
        if kind in (_PAX, _PAX_GLOBAL, _GNU_LONG_NAME):
            path = _extension(stream, kind, size)
            long_name = path if path is not None else long_name
            continue
        name = _checked(long_name if long_name is not None else _name(header))
        long_name = None
        if kind == _FOLDER and size == 0:
            continue
        if kind not in _PLAIN:
            raise DeployError(
                f"{name!r} in the model archive is no plain file; links and devices are refused"
            )
        if name in seen:
            raise DeployError(f"{name!r} is in the model archive twice")
        seen.add(name)
        yield Entry(name, size)
    raise DeployError(f"model archive has more than {_MAX_ENTRIES} entries")


def _size(header: bytes) -> int:
    stated = header[148:156].strip(b" \0")
    actual = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    if not re.fullmatch(rb"[0-7]{1,8}", stated) or int(stated, 8) != actual:
        raise DeployError("model archive holds a damaged entry header")
    size = header[124:136].strip(b" \0")
    if not re.fullmatch(rb"[0-7]{1,12}", size):
        raise DeployError("model archive holds an entry of unreadable size")
    return int(size, 8)


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0")[0]
    prefix = header[345:500].split(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _extension(stream: _Stream, kind: bytes, size: int) -> str | None:
    """The path that the extension gives the next entry, if it gives one."""
    if size > _MAX_EXTENSION:
        raise DeployError(f"model archive holds an extension header of {size} bytes")
    body = stream.take(size)
    stream.skip(-size % _BLOCK)
    if kind == _GNU_LONG_NAME:
        return _text(body.rstrip(b"\0"))
    path: str | None = None
    while body:
        match = re.match(rb"([1-9][0-9]{0,5}) ([^=\n]+)=", body)
        end = int(match[1]) if match else 0
        if match is None or not match.end() < end <= len(body) or body[end - 1 : end] != b"\n":
            raise DeployError("model archive holds a damaged extension header")
        key, value = match[2], body[match.end() : end - 1]
        if (
            key in (b"size", b"linkpath")
            or key.startswith(b"GNU.sparse")
            or (key == b"path" and kind != _PAX)
        ):
            raise DeployError(f"model archive uses the extension {_text(key)!r}, which is refused")
        path = _text(value) if key == b"path" else path
        body = body[end:]
    return path


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise DeployError("model archive holds a name that is not UTF-8") from error


def _checked(name: str) -> str:
    parts = name.split("/")
    if not name or name.startswith("/") or ".." in parts or "\\" in name or not name.isprintable():
        raise DeployError(f"{name!r} in the model archive is no path inside it")
    return "/".join(part for part in parts if part not in ("", "."))
