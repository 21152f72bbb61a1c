"""How batch transform cuts input objects into requests and puts the answers together.

https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO


class RecordTooLargeError(ValueError):
    """One record, or an unsplit object, is larger than a request may be."""


def lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Records of an input that is split by line, without line ends; empty lines are no records."""
    for line in stream:
        record = line.rstrip(b"\r\n")
        if record:
            yield record


def payloads(records: Iterable[bytes], strategy: str, max_bytes: int) -> Iterator[bytes]:
    """Bodies of the requests, in order.

    Args:
        records: without separators.
        strategy: `SingleRecord`, or `MultiRecord`: as many records as fit, one a line.
        max_bytes: of one body; 0 for no bound.

    Raises:
        RecordTooLargeError: a record does not fit by itself.
    """
    batch: list[bytes] = []
    size = 0
    for number, record in enumerate(records, 1):
        if max_bytes and len(record) > max_bytes:
            raise RecordTooLargeError(
                f"record {number} has {len(record)} bytes, more than MaxPayloadInMB allows ({max_bytes})"
            )
        added = len(record) + (1 if batch else 0)
        if batch and (strategy == "SingleRecord" or (max_bytes and size + added > max_bytes)):
            yield b"\n".join(batch)
            batch, size, added = [], 0, len(record)
        batch.append(record)
        size += added
    if batch:
        yield b"\n".join(batch)


def assemble(answers: Iterable[bytes], with_line: bool) -> Iterator[bytes]:
    """The output object's content: answers in order, each ended by one line end if `with_line`."""
    for answer in answers:
        yield answer.removesuffix(b"\n") + b"\n" if with_line else answer
