"""Where checkpoints lie: what a store must be able to do, and which one an address names."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from training.common.failure import UserError


class StoreError(Exception):
    """The store did not do it, or did not say that it did; later it may."""


class ConflictError(Exception):
    """An object is no longer, or not yet, what the writer thought it was: nothing was written."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """An object's content, and the tag that names this content until the object is replaced."""

    data: bytes = field(repr=False)
    tag: str


class Store(Protocol):
    """Objects by name, `folder/name` too. Every method raises StoreError when the store is full or cannot be
    reached."""

    def add(self, name: str, data: bytes) -> None:
        """Write an object whose name belongs to its content; one that is there already stays."""

    def read(self, name: str) -> Tagged | None:
        """The object, or None where there is none."""

    def replace(self, name: str, data: bytes, tag: str | None) -> str:
        """Write an object if it still has this tag, or with None if there is none; returns the new tag.

        Raises:
            ConflictError: it has another one.
        """

    def names(self) -> list[str]:
        """Of all objects that are in no folder, and of what a writer that was killed left behind."""

    def remove(self, name: str) -> None:
        """An object that is not there is no error."""


def open_store(address: str) -> Store:
    """The store at `s3://bucket/prefix`, or in a folder, which is made where it is missing.

    Raises:
        UserError: the address is neither.

    Example:
        >>> open_store("s3://")
        Traceback (most recent call last):
        training.common.failure.UserError: checkpoints: 's3://' names no bucket; write s3://bucket/prefix
    """
    from training.vision.checkpoints.folder import FolderStore  # both need what stands above

    if address.startswith("s3://"):
        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        if not bucket:
            raise UserError(f"checkpoints: {address!r} names no bucket; write s3://bucket/prefix")
        from training.vision.checkpoints.s3 import S3Store, make_client

        return S3Store(make_client(), bucket, prefix)
    if "://" in address:
        raise UserError(f"checkpoints: {address!r} is neither a folder nor s3://bucket/prefix")
    return FolderStore(Path(address))
