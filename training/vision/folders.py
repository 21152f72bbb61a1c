"""The raw data: a folder of class folders, `<class>/<name>.jpg`, any number of images, one in memory."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from training.common.failure import UserError
from training.common.images import MAX_BYTES, SUFFIXES, ImageError, TooLarge, decode
from training.common.paths import files_in
from training.vision.shards import Sample


def _jpeg(image: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=95, subsampling=0)
    return stream.getvalue()


def _png(image: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


ENCODERS: Mapping[str, Callable[[Any], bytes]] = {"jpg": _jpeg, "png": _png}


@dataclass(frozen=True, slots=True)
class Photo:
    """An image file that was found; `name` is its path below the data folder, `<class>/<file>`."""

    path: Path
    name: str

    @property
    def label(self) -> str:
        return self.name.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Found:
    """`photos` sorted by name; `ignored`: other files, hidden ones not counted; `misplaced`: images that lie
    in no class folder, or deeper."""

    photos: tuple[Photo, ...]
    ignored: int = 0
    misplaced: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(sorted({photo.label for photo in self.photos}))


@dataclass(frozen=True, slots=True)
class Prepared:
    """What became of a photo: a `sample` for the shards, or the reason that there is none."""

    photo: Photo
    digest: str = ""
    sample: Sample | None = field(default=None, repr=False)
    problem: str = ""


def find_photos(folder: Path) -> Found:
    """What lies in `folder`. Raises UserError when there is no image, or nothing but misplaced ones."""
    photos, misplaced, ignored = [], [], 0
    for path in files_in(folder):
        name = path.relative_to(folder).as_posix()
        if any(part.startswith(".") for part in name.split("/")):
            continue  # .DS_Store and the like
        if path.suffix.lower() not in SUFFIXES:
            ignored += 1
        elif name.count("/") == 1:
            photos.append(Photo(path, name))
        else:
            misplaced.append(name)
    found = Found(tuple(sorted(photos, key=lambda photo: photo.name)), ignored, tuple(misplaced))
    if not photos:
        where = f"; {misplaced[0]!r} lies in no class folder" if misplaced else ""
        raise UserError(
            f"no image: InputData must hold <class>/<name>.jpg or .png{where}; {ignored} other files"
        )
    return found


def require_classes(classes: Sequence[str]) -> None:
    """A classifier needs two; raises UserError."""
    if len(classes) < 2:
        raise UserError(f"all images lie in one class folder, {classes[0]!r}: a classifier needs two or more")


def prepare(photo: Photo, side: int) -> Prepared:
    """Read a photo and scale it for the shards; what is wrong with it is in the answer, never raised."""
    digest = ""
    try:
        if photo.path.stat().st_size > MAX_BYTES:
            raise TooLarge(f"is larger than {MAX_BYTES:,} bytes")
        data = photo.path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        pixels = decode(data, side)
    except ImageError as error:
        return Prepared(photo, digest, problem=str(error))
    except OSError as error:
        return Prepared(photo, digest, problem=f"cannot be read: {error.strerror}")
    # A PNG may be a drawing or eight pixels wide, where JPEG's losses show.
    extension = "png" if data.startswith(b"\x89PNG") else "jpg"
    encoded = ENCODERS[extension](Image.fromarray(pixels))
    key = hashlib.blake2b(photo.name.encode(errors="surrogateescape"), digest_size=12).hexdigest()
    sample = Sample(key=key, label=photo.label, name=photo.name, extension=extension, data=encoded)
    return Prepared(photo, digest=digest, sample=sample)
