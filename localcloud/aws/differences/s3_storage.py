"""An object that could not be written is not there.

MiniStack logs that the disk is full and answers 200; the object is gone after the next start. S3 answers
only for what it has stored.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/DataDurability.html
"""

from __future__ import annotations

import contextvars
from typing import Any

_failures: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar(
    "modelyard_s3_failures", default=None
)


def apply() -> None:
    """Wrap S3's writes of objects and the writing of files below them."""
    from ministack.services import s3

    persist = s3._persist_object

    def persist_object(bucket: str, key: str, stored: Any) -> None:
        persist(bucket, key, stored)
        failures = _failures.get()
        # What is on disk is let go of in memory.
        kept = isinstance(stored, dict) and stored.get("body") is not None
        if failures is not None and kept and s3._object_disk_path(bucket, key) is not None:
            failures.append(key)

    s3._persist_object = persist_object
    for name in ("_put_object", "_copy_object", "_complete_multipart_upload"):
        _guard(s3, name)


def _guard(s3: Any, name: str) -> None:
    operate = getattr(s3, name)

    def guarded(bucket: str, key: str, *arguments: Any) -> Any:
        objects = (s3._ensure_bucket(bucket) or {}).get("objects", {})
        before = objects.get(key)
        failures: list[str] = []
        token = _failures.set(failures)
        try:
            answer = operate(bucket, key, *arguments)
        finally:
            _failures.reset(token)
        if not failures:
            return answer
        if before is None:
            objects.pop(key, None)
        else:
            objects[key] = before
        message = "The object could not be stored; is the disk full? The reason is in the server's log."
        return s3._error("InternalError", message, 500, f"/{bucket}/{key}")

    setattr(s3, name, guarded)
