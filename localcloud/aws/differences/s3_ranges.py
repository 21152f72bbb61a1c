"""A range of an object costs that range.

MiniStack reads the whole object from disk for each of its ranges and cuts: of a shard read in blocks of
8 MB all of its 64 MB for each of them. The answers are the same.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/range-get-olap.html
"""

from __future__ import annotations

import contextvars
from pathlib import Path
from typing import Any

_ranged: contextvars.ContextVar[tuple[str, str] | None] = contextvars.ContextVar(
    "modelyard_s3_ranged", default=None
)


def apply() -> None:
    """Wrap S3's read of an object and that of the file below it."""
    from ministack.services import s3

    get, read = s3._get_object, s3._read_body

    def get_object(
        bucket: str, key: str, headers: dict[str, str], query_params: dict[str, Any] | None = None
    ) -> Any:
        # Of a version MiniStack answers with all; of what has no range it does so anyway.
        if not headers.get("range") or "versionId" in (query_params or {}):
            return get(bucket, key, headers, query_params)
        token = _ranged.set((bucket, key))
        try:
            return get(bucket, key, headers, query_params)
        finally:
            _ranged.reset(token)

    def read_body(bucket: str, key: str, stored: dict[str, Any]) -> Any:
        if _ranged.get() != (bucket, key) or stored.get("body") is not None:
            return read(bucket, key, stored)
        path = s3._object_disk_path(bucket, key) if s3.S3_PERSIST else None
        return read(bucket, key, stored) if path is None else _OnDisk(Path(path))

    s3._get_object, s3._read_body = get_object, read_body


class _OnDisk:
    """An object's bytes, of which the asked ones are read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __getitem__(self, part: slice) -> bytes:
        first, end = part.start or 0, part.stop
        with self._path.open("rb") as file:
            file.seek(first)
            return file.read(end - first)
