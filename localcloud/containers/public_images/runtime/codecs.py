"""Request and answer bodies as arrays, by content type, as the images' default handlers read and write them.

https://github.com/aws/sagemaker-inference-toolkit
"""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np

JSON, CSV, NPY = "application/json", "text/csv", "application/x-npy"
LINES = "application/jsonlines"
LIBSVM = frozenset({"text/libsvm", "text/x-libsvm"})


class UnsupportedTypeError(ValueError):
    """A content type or accept type that the image does not take."""


def media_type(header: str | None, default: str) -> str:
    """The type without its options, in lower case; `default` for none and for any."""
    name = (header or "").split(";")[0].strip().lower()
    return default if name in {"", "*/*"} else name


def guess(body: bytes) -> str:
    """The type of rows that came without one: libsvm, or CSV if the first line has no `index:value`.

    >>> guess(b"1,2\\n"), guess(b"0 1:2\\n")
    ('text/csv', 'text/libsvm')
    """
    first = next((line for line in body.splitlines() if line.strip()), b"")
    return "text/libsvm" if b":" in first else CSV


def decode(body: bytes, content_type: str) -> Any:
    """A body as an array. UnsupportedTypeError, or ValueError if it does not hold what it says."""
    kind = media_type(content_type, JSON)
    if kind == JSON:
        return np.array(json.loads(body))
    if kind == CSV:
        return np.genfromtxt(io.StringIO(body.decode()), dtype=np.float32, delimiter=",")
    if kind == NPY:
        return np.load(io.BytesIO(body), allow_pickle=False)
    raise UnsupportedTypeError(f"Content type {content_type} is not supported by this image's input_fn.")


def encode(value: Any, accept: str) -> bytes:
    """An array, list or scalar as a body. UnsupportedTypeError."""
    kind = media_type(accept, JSON)
    if kind == JSON:
        return json.dumps(value.tolist() if hasattr(value, "tolist") else value).encode()
    if kind == CSV:
        stream = io.StringIO()
        np.savetxt(stream, np.atleast_1d(np.asarray(value)), delimiter=",", fmt="%s")
        return stream.getvalue().encode()
    if kind == NPY:
        buffer = io.BytesIO()
        np.save(buffer, np.asarray(value), allow_pickle=False)
        return buffer.getvalue()
    raise UnsupportedTypeError(f"Accept type {accept} is not supported by this image's output_fn.")


def csv_rows(body: bytes) -> Any:
    """CSV as rows of features; empty fields are missing values. ValueError says where it is wrong."""
    lines = [line for line in body.decode().splitlines() if line.strip()]
    separator = max(",;\t |", key=lines[0].count) if lines else ","
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append([float(field) if field.strip() else np.nan for field in line.split(separator)])
        except ValueError as error:
            raise ValueError(f"Loading csv data failed: line {number}: {error}") from error
        if len(rows[-1]) != len(rows[0]):
            raise ValueError(
                f"Loading csv data failed: line {number} has {len(rows[-1])} fields, not {len(rows[0])}"
            )
    return np.array(rows, dtype=np.float32)


def libsvm_rows(body: bytes, columns: int) -> Any:
    """Libsvm as rows of `columns` features; what a row leaves out is missing. ValueError."""
    lines = [line.split() for line in body.decode().splitlines() if line.strip()]
    pairs: list[tuple[int, int, float]] = []
    for place, fields in enumerate(lines):
        for field in fields:
            index, colon, value = field.partition(":")
            if not colon:
                continue  # a label
            try:
                pairs.append((place, int(index), float(value)))
            except ValueError as error:
                raise ValueError(f"Loading libsvm data failed: line {place + 1}: {error}") from error
    # Training reads indices as they are; whoever counts from 1 trained on one column more.
    top = max((index for _, index, _ in pairs), default=-1)
    if top >= columns:
        raise ValueError(
            f"Feature size of libsvm inference data {top + 1} is larger than feature size of trained model "
            f"{columns}."
        )
    rows = np.full((len(lines), columns), np.nan, dtype=np.float32)
    for row, column, number in pairs:
        rows[row, column] = number
    return rows
