"""The tables between the steps: CSV parts the first column identifies the row, the second is the target.

Each host of a processing job writes a part of its own, so that parts never overwrite one another in S3.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from training.common.failure import UserError
from training.common.features import Feature, Value
from training.common.paths import files_in
from training.common.table import header_of, read_lines


@dataclass(frozen=True, slots=True)
class Row:
    """A labelled row: `values` in the order of the features that were asked for."""

    id: str
    target: float
    values: list[Value]


@dataclass(frozen=True, slots=True)
class Share:
    """Every `count`-th row, from row `rank` on: each row belongs to exactly one of `count` hosts."""

    rank: int = 0
    count: int = 1


WHOLE = Share()


class PartWriter(AbstractContextManager["PartWriter"]):
    """Writes `part-<rank>.csv` into a folder."""

    def __init__(self, folder: Path, rank: int, header: Sequence[str]) -> None:
        self._stream = (folder / f"part-{rank:05d}.csv").open("w", encoding="utf-8", newline="")
        self._writer: Any = csv.writer(self._stream, lineterminator="\n")
        self._writer.writerow(header)
        self.rows = 0

    def write(self, cells: Sequence[str]) -> None:
        self._writer.writerow(cells)
        self.rows += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


def part_files(folder: Path) -> list[Path]:
    """The parts in `folder`, sorted; at least one."""
    found = [path for path in files_in(folder) if path.suffix == ".csv"]
    if not found:
        raise UserError(f"{folder} holds no .csv part; check the output of the preprocessing step")
    return found


def read_part_names(folder: Path) -> tuple[str, str]:
    """The names of the column that identifies a row and of the target."""
    header = header_of(part_files(folder)[0])
    if len(header) < 3:
        raise UserError(f"{folder}: parts need an id, a target and features, found {', '.join(header)}")
    return header[0], header[1]


def read_rows(folder: Path, features: Sequence[Feature], share: Share = WHOLE) -> Iterator[Row]:
    """The rows of all parts in `folder`; raises UserError at the first cell that its column cannot hold."""
    id_name, target_name = read_part_names(folder)
    target = Feature(target_name, "numeric")
    names = [id_name, target_name, *(feature.name for feature in features)]
    lines = read_lines(part_files(folder), names)
    for line in islice(lines, share.rank, None, share.count):
        identifier, label, *cells = line.cells
        try:
            number = target.parse(label)
            if not isinstance(number, float):
                raise ValueError("is empty")
        except ValueError as error:
            raise UserError(f"{line.place}: target {target_name} {error}") from None
        yield Row(identifier, number, parse_cells(line.place, features, cells))


def parse_cells(place: str, features: Sequence[Feature], cells: Sequence[str]) -> list[Value]:
    values: list[Value] = []
    for feature, cell in zip(features, cells, strict=True):
        try:
            values.append(feature.parse(cell))
        except ValueError as error:
            raise UserError(f"{place}: column {feature.name} {error}") from None
    return values
