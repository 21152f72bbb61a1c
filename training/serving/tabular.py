"""Answers requests with a tabular model: JSON, JSON Lines, CSV or libsvm rows in, predictions out."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NoReturn

import orjson

from training.common.features import Value
from training.common.hosts import usable_cpus
from training.common.tabular_model import RowError, RowModel
from training.serving.batching import Batcher
from training.serving.http import JSON, HttpError

JSON_LINES = "application/jsonlines"
CSV = "text/csv"
LIBSVM = "text/libsvm"
ALIASES = {"application/jsonl": JSON_LINES, "application/x-jsonlines": JSON_LINES, "text/x-libsvm": LIBSVM}
CONTENT_TYPES = (JSON, JSON_LINES, CSV, LIBSVM)
# Above this a request takes longer than handing it to a thread.
INLINE_BYTES = 32 * 1024
# A row of libsvm may have two bytes and a thousand features.
INLINE_LIBSVM_BYTES = 2 * 1024
MAX_LIBSVM_VALUES = 10_000_000
# Others, and /ping, may wait for so long; a thread costs a caller a tenth of it.
INLINE_SECONDS = 0.0005
# As many at once as there are CPUs: a large body takes twenty times its size while it is read.
_LARGE = ThreadPoolExecutor(usable_cpus(), thread_name_prefix="large")


@dataclass(frozen=True, slots=True)
class Rows:
    """Values in the order of the model's features, and each row's identifier where the caller sent one."""

    values: list[list[Value]]
    ids: list[Any]


@dataclass(frozen=True, slots=True)
class TabularHandler:
    """Predicts with one model."""

    model: RowModel
    max_rows: int
    batch_strategy: str = "MULTI_RECORD"
    _batcher: Batcher = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_batcher", Batcher(self.model.predict))

    async def answer(self, body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        """Body and content type of the answer; raises HttpError for what the caller did wrong.

        application/json: {"instances": [{column: value, ...}, ...]} -> {"predictions": [...]}.
        application/jsonlines: one object a line -> {"prediction": ...} a line, with the row's id if it was
        sent. text/csv: rows without a header, in the manifest's order -> one number a line; of a classifier
        the label, and the probability of each class in the manifest's order. text/libsvm: rows, a label
        first or none -> as for CSV; as libsvm, where that is asked for, the label of a row, of a classifier
        the class's place in the manifest and the probability of each place.
        """
        source = media_type(content_type) or JSON
        if len(body) > (INLINE_LIBSVM_BYTES if source == LIBSVM else INLINE_BYTES):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(_LARGE, self._answer, body, source, accept)
        rows, wanted = self._read(body, source, accept)
        if rows.values and self.model.rows_stand_alone:
            predictions = await self._batcher.predict(rows.values)
        elif len(rows.values) * self.model.row_seconds > INLINE_SECONDS:
            loop = asyncio.get_running_loop()
            predictions = await loop.run_in_executor(_LARGE, self.model.predict, rows.values)
        else:
            predictions = self.model.predict(rows.values)
        return _WRITERS[wanted](self, rows, predictions), wanted

    def _answer(self, body: bytes, source: str, accept: str) -> tuple[bytes, str]:
        rows, wanted = self._read(body, source, accept)
        return _WRITERS[wanted](self, rows, self.model.predict(rows.values)), wanted

    def _read(self, body: bytes, source: str, accept: str) -> tuple[Rows, str]:
        if source not in _READERS:
            raise HttpError(415, f"content type {source!r} is not one of {', '.join(CONTENT_TYPES)}")
        wanted = _accepted(accept, source)
        try:
            return _READERS[source](self, body), wanted
        except RowError as error:
            raise HttpError(400, str(error)) from None
        except UnicodeDecodeError:
            raise HttpError(400, "the body is not UTF-8 text") from None

    def read_json(self, body: bytes) -> Rows:
        try:
            # Much faster; not for what is sent back, like identifiers: long integers become floats.
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = parse_json(body, "the body")  # takes it after all, or says what is wrong
        instances = document.get("instances") if isinstance(document, dict) else None
        if not isinstance(instances, list):
            raise HttpError(400, 'the body needs the form {"instances": [{column: value, ...}, ...]}')
        self._check_count(len(instances))
        return self._objects(instances)

    def read_json_lines(self, body: bytes) -> Rows:
        lines = [line for line in body.splitlines() if line.strip()]
        self._check_count(len(lines))
        return self._objects([parse_json(line, f"row {row}") for row, line in enumerate(lines, 1)])

    def read_csv(self, body: bytes) -> Rows:
        reader = csv.reader(io.StringIO(body.decode("utf-8"), newline=""), strict=True)
        values: list[list[Value]] = []
        try:
            for cells in filter(None, reader):
                values.append(self.model.cells(cells, len(values) + 1))
                self._check_count(len(values))
        except csv.Error as error:
            raise HttpError(400, f"row {len(values) + 1}: not CSV: {error}") from None
        return Rows(values, [None] * len(values))

    def read_libsvm(self, body: bytes) -> Rows:
        lines = [line for line in body.decode("utf-8").splitlines() if line.strip()]
        self._check_count(len(lines))
        if len(lines) * len(self.model.encoder.features) > MAX_LIBSVM_VALUES:
            raise HttpError(413, f"more than {MAX_LIBSVM_VALUES} values in one request, rows times features")
        values = [self.model.sparse(line.split(), row) for row, line in enumerate(lines, 1)]
        return Rows(values, [None] * len(values))

    def write_json(self, _rows: Rows, predictions: Sequence[Any]) -> bytes:
        return orjson.dumps({"predictions": predictions})

    def write_json_lines(self, rows: Rows, predictions: Sequence[Any]) -> bytes:
        name = self.model.manifest.id
        documents = [
            {"prediction": prediction} if identifier is None else {name: identifier, "prediction": prediction}
            for identifier, prediction in zip(rows.ids, predictions, strict=True)
        ]
        return "".join(json.dumps(document) + "\n" for document in documents).encode()

    def write_csv(self, _rows: Rows, predictions: Sequence[Any]) -> bytes:
        if not self.model.manifest.classes:
            return "".join(f"{prediction!r}\n" for prediction in predictions).encode()
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([item["label"], *item["probabilities"].values()] for item in predictions)
        return text.getvalue().encode()

    def write_libsvm(self, rows: Rows, predictions: Sequence[Any]) -> bytes:
        classes = self.model.manifest.classes
        if not classes:
            return self.write_csv(rows, predictions)
        lines = []
        for item in predictions:
            shares = (f"{place}:{item['probabilities'][name]!r}" for place, name in enumerate(classes))
            lines.append(f"{classes.index(item['label'])} {' '.join(shares)}\n")
        return "".join(lines).encode()

    def _objects(self, instances: list[Any]) -> Rows:
        values = [self.model.values(instance, row) for row, instance in enumerate(instances, 1)]
        name = self.model.manifest.id
        return Rows(values, [instance.get(name) for instance in instances])

    def _check_count(self, count: int) -> None:
        if count > self.max_rows:
            raise HttpError(413, f"more than {self.max_rows} rows in one request")


def media_type(header: str) -> str:
    """`Text/CSV; charset=utf-8` -> `text/csv`."""
    name = header.partition(";")[0].strip().lower()
    return ALIASES.get(name, name)


def parse_json(text: bytes, what: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise HttpError(400, f"{what} is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise HttpError(400, f"{what} is not JSON: {error.msg} at character {error.pos}") from None
    except (ValueError, RecursionError) as error:
        raise HttpError(400, f"{what} is not JSON that can be read: {str(error)[:100]}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a value; use null for unknown")


def _accepted(accept: str, source: str) -> str:
    """The content type to answer with: what the caller accepts, else that of the request; CSV for libsvm."""
    wanted = [media_type(item) for item in accept.split(",") if item.strip()]
    source = CSV if source == LIBSVM and LIBSVM not in wanted else source
    if not wanted or "*/*" in wanted or source in wanted:
        return source
    for name in wanted:
        if name in _WRITERS:
            return name
    raise HttpError(406, f"cannot answer with {', '.join(wanted)[:100]}, only {', '.join(CONTENT_TYPES)}")


_READERS: dict[str, Callable[[TabularHandler, bytes], Rows]] = {
    JSON: TabularHandler.read_json,
    JSON_LINES: TabularHandler.read_json_lines,
    CSV: TabularHandler.read_csv,
    LIBSVM: TabularHandler.read_libsvm,
}
_WRITERS: dict[str, Callable[[TabularHandler, Rows, Sequence[float]], bytes]] = {
    JSON: TabularHandler.write_json,
    JSON_LINES: TabularHandler.write_json_lines,
    CSV: TabularHandler.write_csv,
    LIBSVM: TabularHandler.write_libsvm,
}
