"""The tables between the steps, and the classes that they are labelled with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.common.encoder import Encoder, Matrix
from training.common.failure import UserError
from training.common.features import Feature, Value
from training.common.paths import single_file
from training.common.table import read_lines
from training.tabular.parts import parse_cells, part_files, read_part_names

CLASSES = "classes.json"
CHUNK_ROWS = 10_000
SAMPLES = 100
Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Labels:
    """The target's classes in the order of their codes; of two the positive one comes last."""

    target: str
    classes: tuple[str, ...]
    positive: str | None

    def code(self, place: str, name: str) -> int:
        """The code of a class; raises UserError for one that the training rows do not have."""
        try:
            return self.classes.index(name)
        except ValueError:
            known = ", ".join(self.classes)
            raise UserError(f"{place}: {self.target} {name!r} is none of the classes {known}") from None

    def to_json(self) -> str:
        document = {"target": self.target, "classes": self.classes, "positive": self.positive}
        return json.dumps(document, indent=1) + "\n"


@dataclass(frozen=True, slots=True)
class LabelledRow:
    id: str
    label: str
    values: list[Value]


@dataclass(frozen=True, slots=True)
class Table:
    """An encoded split: `matrix` (rows, features), `codes` of the classes (rows,), and a few raw rows."""

    matrix: Matrix
    codes: Codes
    samples: Sequence[LabelledRow] = ()


def read_labels(folder: Path) -> Labels:
    """classes.json of the preprocessing step in `folder`; raises UserError."""
    path = single_file(folder, CLASSES)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return Labels(str(document["target"]), tuple(map(str, document["classes"])), document.get("positive"))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path.name} does not name the classes: {error!r}") from error


def read_encoder(folder: Path) -> Encoder:
    path = single_file(folder, "encoder.json")
    try:
        return Encoder.from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path.name}: {error}") from error


def read_rows(folder: Path, features: Sequence[Feature]) -> Iterator[LabelledRow]:
    """The rows of all parts in `folder`; raises UserError at the first cell that its column cannot hold."""
    id_name, target = read_part_names(folder)
    names = [id_name, target, *(feature.name for feature in features)]
    for line in read_lines(part_files(folder), names):
        identifier, label, *cells = line.cells
        if not label:
            raise UserError(f"{line.place}: target {target} is empty")
        yield LabelledRow(identifier, label, parse_cells(line.place, features, cells))


def encode(rows: Iterable[LabelledRow], encoder: Encoder, labels: Labels) -> Table:
    """In chunks: of a large table only the float32 matrix is ever in memory.

    Raises UserError if there are no rows, or a class that training did not see.
    """
    matrices: list[Matrix] = []
    codes: list[Codes] = []
    samples: list[LabelledRow] = []
    rows = iter(rows)
    while chunk := list(islice(rows, CHUNK_ROWS)):
        samples += chunk[: SAMPLES - len(samples)]
        matrices.append(encoder.encode([row.values for row in chunk]))
        found = [labels.code(f"row {row.id}", row.label) for row in chunk]
        codes.append(np.array(found, dtype=np.int64))
    if not matrices:
        raise UserError("a split has no rows; check the preprocessing step")
    return Table(np.concatenate(matrices), np.concatenate(codes), samples)
