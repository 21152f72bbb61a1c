"""Rows cut into requests that the function takes. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# `Settings.max_rows` and `max_body_bytes` of the function.
MAX_ROWS = 1000
MAX_BYTES = 4_000_000

Row = Mapping[str, Any]


def encode(value: object) -> bytes:
    """JSON as the function takes it. Raises ValueError for NaN and infinity, which JSON does not have."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()


def batches(
    model: str, rows: Iterable[Row], *, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES
) -> Iterator[tuple[bytes, int]]:
    """Bodies, each with its number of rows, in their order; each as large as the limits let it be.

    A row that is over `max_bytes` by itself goes alone: the function says what is wrong with it.
    """
    head, tail = b'{"model":' + encode(model) + b',"instances":[', b"]}"
    frame = len(head) + len(tail)
    held: list[bytes] = []
    size = frame
    for row in rows:
        line = encode(row)
        if held and (len(held) == max_rows or size + len(line) + 1 > max_bytes):
            yield head + b",".join(held) + tail, len(held)
            held, size = [], frame
        held.append(line)
        size += len(line) + 1
    if held:
        yield head + b",".join(held) + tail, len(held)
