"""The tables between the steps, and the classes that they are labelled with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
    """An encoded split: `matrix` (rows, features), `codes` of the classes (rows,)."""

    matrix: Matrix
    codes: Codes


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


def encode(rows: Sequence[LabelledRow], encoder: Encoder, labels: Labels) -> Table:
    """Raises UserError if there are no rows, or a class that training did not see."""
    if not rows:
        raise UserError("a split has no rows; check the preprocessing step")
    codes = [labels.code(f"row {row.id}", row.label) for row in rows]
    return Table(encoder.encode([row.values for row in rows]), np.array(codes, dtype=np.int64))
