"""The manifest of a dataset: what a trainer reads, derived from the ledger alone.

Records in any order give the same bytes, and the manifest's key is their hash: who names a manifest names
every image of it, where it lies, and how it was prepared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.common.failure import UserError
from training.preprocessing.ports import Objects
from training.preprocessing.recipe import read_recipe
from training.preprocessing.records import IMAGE, QUARANTINED, Record
from training.vision import shards
from training.vision.classes import Classes
from training.vision.folders import require_classes
from training.vision.preprocess import SPLITS

SCHEMA = 1
MAX_SHARD_BYTES = 1 << 31


@dataclass(frozen=True, slots=True)
class Manifest:
    """`document` in the form of JSON; `data` its bytes; `digest` their SHA-256."""

    document: Mapping[str, Any] = field(repr=False)
    data: bytes = field(repr=False)
    digest: str

    @property
    def images(self) -> int:
        return sum(len(shard["samples"]) for split in self.document["splits"].values() for shard in split)


def make_manifest(dataset: str, records: Iterable[Record], sizes: Mapping[str, int]) -> Manifest:
    """The manifest of what the ledger holds.

    Its member `content` is the hash of the images alone, with their classes and splits: the same uploads give
    the same content, however the workers shared them out over shards.

    Args:
        dataset: its name.
        records: of the ledger, in any order.
        sizes: bytes of each shard that exists, by key.

    Raises:
        UserError: there is no image, or of one class alone; a shard is missing; or the images were prepared
            in two ways.
    """
    ordered = sorted(records, key=lambda record: record.name)
    images = [record for record in ordered if record.state == IMAGE]
    rejected = [record for record in ordered if record.state == QUARANTINED]
    if not images:
        raise UserError(f"dataset {dataset} has no image; {len(rejected)} are quarantined")
    recipes = sorted({record.recipe for record in images})
    if len(recipes) > 1:
        raise UserError(
            f"dataset {dataset} was prepared in {len(recipes)} ways, {recipes[0]!r} and {recipes[1]!r}: "
            "give all workers the same, and upload again what was prepared the other way"
        )
    missing = sorted({record.shard for record in images} - sizes.keys())
    if missing:
        raise UserError(f"the ledger names {len(missing)} shards that are gone, the first: {missing[0]}")
    classes = sorted({record.label for record in images})
    require_classes(classes)
    recipe = read_recipe(recipes[0])
    document = {
        "schema": SCHEMA,
        "dataset": dataset,
        "recipe": str(recipe),
        "image_size": recipe.image_size,
        "side": recipe.side,
        "classes": classes,
        "content": _content(images),
        "splits": {name: _split(images, name, sizes) for name in SPLITS},
        "quarantined": [{"name": record.name, "reason": record.reason} for record in rejected],
    }
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"
    return Manifest(document, data, hashlib.sha256(data).hexdigest())


def read_manifest(data: bytes) -> Manifest:
    """Raises UserError when the bytes are no manifest."""
    try:
        document: Any = json.loads(data)
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r} is not {SCHEMA}")
        named_shards(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"this is not a manifest: {error!r}") from error
    return Manifest(document, data, hashlib.sha256(data).hexdigest())


def named_shards(document: Mapping[str, Any]) -> set[str]:
    """Keys of the shards that a manifest names."""
    return {str(shard["shard"]) for split in document["splits"].values() for shard in split}


def lay_out(manifest: Manifest, store: Objects, folder: Path) -> None:
    """Copy a dataset to `folder` as the trainer's channels: `train`, `validation`, `test` with shards and
    their indexes, and `classes`. `training.vision.shards.read_shards` and `read_classes` read them.

    Args:
        manifest: of the dataset.
        store: where its shards lie.
        folder: empty, or left by a copy that was broken off: shards that are there are kept.

    Raises:
        UserError: a shard is missing or was changed.
    """
    document = manifest.document
    for name in SPLITS:
        below = folder / name
        below.mkdir(parents=True, exist_ok=True)
        for number, shard in enumerate(document["splits"][name]):
            path = below / f"shard-{number:05d}-00000.tar"
            digest = Path(shard["shard"]).stem
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                data = store.get(shard["shard"], None, MAX_SHARD_BYTES)
                if data is None:
                    raise UserError(f"the manifest names {shard['shard']}, which is gone")
                if hashlib.sha256(data).hexdigest() != digest:
                    raise UserError(f"{shard['shard']} was changed: its bytes are not those of its name")
                path.write_bytes(data)
            index = {
                "schema": shards.SCHEMA,
                "shard": path.name,
                "bytes": shard["bytes"],
                "sha256": digest,
                "samples": shard["samples"],
            }
            path.with_suffix(".json").write_text(json.dumps(index) + "\n", encoding="ascii")
    (folder / "classes").mkdir(exist_ok=True)
    classes = Classes(
        names=tuple(document["classes"]), image_size=document["image_size"], side=document["side"]
    )
    classes.write(folder / "classes")


def _split(images: Iterable[Record], name: str, sizes: Mapping[str, int]) -> list[dict[str, Any]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for record in images:
        if record.split == name:
            sample = {
                "key": record.key,
                "class": record.label,
                "name": record.name,
                "offset": record.offset,
                "size": record.size,
            }
            found.setdefault(record.shard, []).append(sample)
    return [{"shard": key, "bytes": sizes[key], "samples": found[key]} for key in sorted(found)]


def _content(images: Iterable[Record]) -> str:
    digest = hashlib.sha256()
    for record in images:
        line = [record.name, record.label, record.split, record.digest, record.recipe]
        digest.update(json.dumps(line).encode("ascii") + b"\n")
    return digest.hexdigest()
