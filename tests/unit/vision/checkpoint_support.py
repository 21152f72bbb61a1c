"""Stores for tests of checkpoints: S3 as far as its conditional writes go, and faults on the way to any."""

from __future__ import annotations

import hashlib
import io
from typing import Any

from botocore.exceptions import ClientError, ConnectionClosedError

from training.vision.checkpoints.format import Identity
from training.vision.checkpoints.pointer import NAME, POINTER, Entry, Pointer, read_pointer
from training.vision.checkpoints.store import Store, StoreError, Tagged

IDENTITY = Identity(model="m", data="d", config={"learning_rate": 0.1})


def refusal(code: str, status: int, operation: str) -> ClientError:
    answer = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, operation)


class MemoryS3:
    """`put_object` as S3 documents it: IfNoneMatch on what exists is 412, IfMatch on another ETag 412, on
    nothing 404; the ETag is a digest of the content."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.faults: list[str] = []

    def put_object(self, **request: Any) -> dict[str, Any]:
        fault = self.faults.pop() if self.faults else ""
        if fault == "busy":
            raise refusal("ConditionalRequestConflict", 409, "PutObject")
        if fault == "closed before":
            raise ConnectionClosedError(endpoint_url="https://s3")
        answer = self._put(request)
        if fault == "closed after":
            raise ConnectionClosedError(endpoint_url="https://s3")
        # The SDK sends again what got no answer.
        return self._put(request) if fault == "sent twice" else answer

    def _put(self, request: dict[str, Any]) -> dict[str, Any]:
        key, found = request["Key"], self.objects.get(request["Key"])
        if request.get("IfNoneMatch") == "*" and found is not None:
            raise refusal("PreconditionFailed", 412, "PutObject")
        if "IfMatch" in request and found is None:
            raise refusal("NoSuchKey", 404, "PutObject")
        if "IfMatch" in request and found is not None and request["IfMatch"] != _etag(found):
            raise refusal("PreconditionFailed", 412, "PutObject")
        self.objects[key] = bytes(request["Body"])
        return {"ETag": _etag(self.objects[key])}

    def get_object(self, **request: Any) -> dict[str, Any]:
        if request["Key"] not in self.objects:
            raise refusal("NoSuchKey", 404, "GetObject")
        data = self.objects[request["Key"]]
        return {"Body": io.BytesIO(data), "ETag": _etag(data)}

    def delete_object(self, **request: Any) -> dict[str, Any]:
        self.objects.pop(request["Key"], None)
        return {}

    def get_paginator(self, operation: str) -> MemoryS3:
        assert operation == "list_objects_v2"
        return self

    def paginate(self, **request: Any) -> list[dict[str, Any]]:
        keys = [key for key in sorted(self.objects) if key.startswith(request["Prefix"])]
        return [{"Contents": [{"Key": key}]} for key in keys] or [{}]


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


class Unreliable:
    """A store of which the next calls fail, before or after they are carried out."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.faults: list[str] = []

    def __str__(self) -> str:
        return "store"

    def _call(self, operation: Any, *arguments: Any) -> Any:
        fault = self.faults.pop() if self.faults else ""
        if fault == "before":
            raise StoreError("no space left on device")
        result = operation(*arguments)
        if fault == "after":
            raise StoreError("no answer")
        return result

    def add(self, name: str, data: bytes) -> None:
        self._call(self.store.add, name, data)

    def read(self, name: str) -> Tagged | None:
        found: Tagged | None = self._call(self.store.read, name)
        return found

    def replace(self, name: str, data: bytes, tag: str | None) -> str:
        return str(self._call(self.store.replace, name, data, tag))

    def names(self) -> list[str]:
        return list(self._call(self.store.names))

    def remove(self, name: str) -> None:
        self._call(self.store.remove, name)


def entry_of(run: str, step: int, top1: float | None = None) -> tuple[Entry, bytes]:
    """A checkpoint without a state: the journal does not look inside."""
    data = f"{run} {step}".encode()
    name = f"step-{step:08d}-{hashlib.sha256(data).hexdigest()[:12]}.ckpt"
    assert NAME.fullmatch(name)
    return Entry(name=name, step=step, epoch=1, bytes=len(data), top1=top1), data


def pointer_in(store: Store) -> Pointer:
    found = store.read(POINTER)
    return read_pointer(found.data, "store") if found else Pointer()
