"""A folder as a store: the one that SageMaker copies to S3, a shared file system, a laptop's disk."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from training.vision.checkpoints.store import ConflictError, StoreError, Tagged

PARTIAL = ".partial-"
LOCK = ".lock"
LOCK_SECONDS = 30.0


class FolderStore:
    """Files that appear whole or not at all: written beside their place, flushed to the disk, then renamed.

    Args:
        folder: is made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    def add(self, name: str, data: bytes) -> None:
        with self._errors(name):
            self._write(name, data)

    def read(self, name: str) -> Tagged | None:
        with self._errors(name):
            try:
                data = (self._folder / name).read_bytes()
            except FileNotFoundError:
                return None
        return Tagged(data, _tag(data))

    def replace(self, name: str, data: bytes, tag: str | None) -> str:
        with self._errors(name), self._locked():
            found = self.read(name)
            if (found.tag if found else None) != tag:
                raise ConflictError(name)
            self._write(name, data)
        return _tag(data)

    def names(self) -> list[str]:
        with self._errors(""):
            self._folder.mkdir(parents=True, exist_ok=True)
            return sorted(path.name for path in self._folder.iterdir())

    def remove(self, name: str) -> None:
        with self._errors(name):
            (self._folder / name).unlink(missing_ok=True)

    def _write(self, name: str, data: bytes) -> None:
        place = self._folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f"{PARTIAL}{secrets.token_hex(8)}")
        try:
            with partial.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(place)
        finally:
            partial.unlink(missing_ok=True)
        _flush(place.parent)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time: between comparing and renaming another one could do the same."""
        self._folder.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + LOCK_SECONDS
        with (self._folder / LOCK).open("ab") as stream:
            while True:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise StoreError(f"{self._folder / LOCK} is held by another process") from None
                    time.sleep(0.01)
            yield

    @contextlib.contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self._folder / name}: {error.strerror or error}") from error


def _tag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _flush(folder: Path) -> None:
    """A rename outlives a power cut only after this."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
