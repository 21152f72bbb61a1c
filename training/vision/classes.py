"""`classes.json`: the class names in the order of their numbers, and how large the shards' images are."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.common.failure import UserError
from training.common.paths import single_file

NAME = "classes.json"
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """`side`: pixels of the shorter side of the shards' images; a model sees `image_size` of them."""

    names: tuple[str, ...]
    image_size: int
    side: int

    def write(self, folder: Path) -> None:
        document = {"schema": SCHEMA, **asdict(self)}
        (folder / NAME).write_text(json.dumps(document, indent=1) + "\n", encoding="ascii")


def read_classes(folder: Path) -> Classes:
    """Raises UserError when `folder` holds no such file."""
    path = single_file(folder, NAME)
    return parse_classes(path.name, path.read_bytes())


def parse_classes(name: str, data: bytes) -> Classes:
    """The content of such a file; raises UserError when it is none."""
    try:
        document: Any = json.loads(data)
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r} is not {SCHEMA}")
        names = tuple(str(each) for each in document["names"])
        return Classes(names=names, image_size=int(document["image_size"]), side=int(document["side"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{name} does not name classes: {error!r}") from error


def side_of(image_size: int) -> int:
    """Of an image of which a model sees `image_size` pixels, an eighth more is kept: room to cut from.

    >>> side_of(224)
    256
    """
    return round(image_size * 8 / 7)
