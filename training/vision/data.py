"""What each host trains on: the same batches in the same order, whatever the number of hosts.

A batch is chosen for all hosts together, from the seed and the epoch alone, and each takes a part of it. How
an image is cut and mirrored depends on its key, not on who reads it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import torch
from PIL import Image

from training.common.failure import UserError
from training.common.hosts import Hosts
from training.common.image_model import network_input
from training.common.images import Pixels, centre
from training.common.manifest import ImageInput
from training.vision.order import Blocks, Numbers
from training.vision.parallel import ordered
from training.vision.remote import Ahead, Distant
from training.vision.shards import Entry

SCALE = (0.6, 1.0)  # of an image's area
RATIO = (3 / 4, 4 / 3)
WINDOW = 256 * 1024 * 1024  # where nobody says how much: what is read ahead of S3


@dataclass(frozen=True, slots=True)
class Batch:
    """A host's part of a batch: `images` (n, size, size, 3) of bytes, `labels` (n,); n may be 0. `total`:
    images of the whole batch, on all hosts. `input`: how the network sees them."""

    images: Any
    labels: Any
    total: int
    input: ImageInput

    def on(self, device: Any) -> tuple[Any, Any]:
        """What the network takes, (n, 3, size, size) in channels_last, and the labels, on a device.

        The bytes go there, a quarter of the numbers that they become; from pinned memory nobody waits.
        """
        images = network_input(self.images.to(device, non_blocking=True), self.input)
        return images, self.labels.to(device, non_blocking=True)

    def parts(self, most: int) -> list[Batch]:
        """Pieces of about the same size with at most so many images, one at least; 0: all in one."""
        pieces = math.ceil(len(self.labels) / most) if most else 1
        if pieces <= 1:
            return [self]
        halves = zip(self.images.tensor_split(pieces), self.labels.tensor_split(pieces), strict=True)
        return [Batch(images, labels, self.total, self.input) for images, labels in halves]


@dataclass(frozen=True, slots=True)
class Split:
    """The images of a channel, and the numbers of their classes. `window`: bytes of images that are shuffled
    together, see `order`; 0: all."""

    entries: Sequence[Entry]
    labels: Sequence[int]
    input: ImageInput
    hosts: Hosts
    window: int = 0

    def __len__(self) -> int:
        return len(self.entries)

    def training(
        self, batch_size: int, seed: int, epoch: int, augment: str, first: int = 0
    ) -> Iterator[Batch]:
        """The batches of an epoch from number `first` on; what is left over after the last full one waits for
        another epoch."""
        blocks = Blocks.cut(self.entries)
        order, places = blocks.shuffled(self.window, seed, epoch)
        batches = [blocks.by_place(batch, places) for batch in batches_of(order, batch_size)[first:]]

        def cut(entry: Entry, image: Any) -> Pixels:
            if augment == "none":
                return centre(np.asarray(image), self.input.size)
            source = _random(entry.key, seed, epoch)
            return random_cut(image, self.input.size, source, flip=augment == "crop_flip")

        yield from self._batches(batches, cut)

    def evaluation(self, batch_size: int) -> Iterator[Batch]:
        """All images once."""
        order, blocks = np.arange(len(self)), Blocks.cut(self.entries)
        if not blocks.fit(self.window):
            order = blocks.by_place(order, np.arange(len(self)))
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        yield from self._batches(batches, lambda _entry, image: centre(np.asarray(image), self.input.size))

    def _batches(self, batches: Sequence[Numbers], cut: Callable[[Entry, Any], Pixels]) -> Iterator[Batch]:
        parts = [np.array_split(batch, self.hosts.count)[self.hosts.rank].tolist() for batch in batches]
        # The next batch is decoded while the network learns from this one.
        ahead = max(map(len, parts), default=1)
        entries = [self.entries[number] for part in parts for number in part]
        size, pinned = self.input.size, torch.cuda.is_available()
        begun: dict[int, Any] = {}

        def rows() -> Iterator[tuple[int, Entry, Pixels]]:
            """Of each image where its pixels go: nobody has to put them together once they are decoded."""
            places = count()
            for number, part in enumerate(parts):
                begun[number] = torch.empty(len(part), size, size, 3, dtype=torch.uint8, pin_memory=pinned)
                for image, row in zip(part, begun[number].numpy(), strict=True):
                    yield next(places), self.entries[image], row

        with self._reading(entries) as (read, awaited):
            decoded = ordered(partial(self._decode, cut, read), rows(), ahead)
            for number, (batch, part) in enumerate(zip(batches, parts, strict=True)):
                with awaited():
                    for _ in part:
                        next(decoded)
                images = begun.pop(number) if part else torch.empty(0, size, size, 3, dtype=torch.uint8)
                labels = torch.tensor([self.labels[image] for image in part], dtype=torch.long)
                yield Batch(images, labels, len(batch), self.input)

    @contextlib.contextmanager
    def _reading(
        self, entries: Sequence[Entry]
    ) -> Iterator[tuple[Callable[[int], bytes], Callable[[], contextlib.AbstractContextManager[None]]]]:
        """What gives the bytes of these, by their place, each is asked for once; and what a batch of them is
        waited for in."""
        distant = [entry for entry in entries if isinstance(entry, Distant)]
        if not distant:
            yield lambda place: entries[place].read(), contextlib.nullcontext
            return
        # This host's share of a window, and as much of the next one.
        budget = 2 * (self.window or WINDOW) // self.hosts.count
        with Ahead(distant, budget) as ahead:
            yield ahead.read, ahead.awaited

    def _decode(
        self,
        cut: Callable[[Entry, Any], Pixels],
        read: Callable[[int], bytes],
        placed: tuple[int, Entry, Pixels],
    ) -> None:
        place, entry, row = placed
        try:
            with Image.open(io.BytesIO(read(place)), formats=("JPEG", "PNG")) as image:
                rgb = image.convert("RGB")
        except (OSError, SyntaxError, ValueError) as error:
            raise UserError(f"{entry.shard.name}: {entry.name!r} cannot be read: {error}") from error
        if min(rgb.size) < self.input.size:
            raise UserError(
                f"{entry.shard.name}: {entry.name!r} has {rgb.width} x {rgb.height} pixels, "
                f"image_size is {self.input.size}"
            )
        row[...] = cut(entry, rgb)


def batches_of(order: Numbers, batch_size: int) -> list[Numbers]:
    """Full batches; of fewer images than one batch that one.

    >>> [batch.tolist() for batch in batches_of(np.arange(5), 2)]
    [[0, 1], [2, 3]]
    """
    if len(order) < batch_size:
        return [order]
    last = len(order) - len(order) % batch_size
    return [order[start : start + batch_size] for start in range(0, last, batch_size)]


def random_cut(image: Any, size: int, source: np.random.Generator, *, flip: bool) -> Pixels:
    """A random part of the image, scaled to (size, size, 3), and mirrored half of the times."""
    area = image.width * image.height * source.uniform(*SCALE)
    ratio = np.exp(source.uniform(*np.log(RATIO)))
    width = min(image.width, float(np.sqrt(area * ratio)))
    height = min(image.height, float(np.sqrt(area / ratio)))
    left, top = source.uniform(0, image.width - width), source.uniform(0, image.height - height)
    box = (left, top, left + width, top + height)
    cut = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))
    return np.ascontiguousarray(cut[:, ::-1]) if flip and source.random() < 0.5 else cut


def _random(key: str, seed: int, epoch: int) -> np.random.Generator:
    number = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest())
    return np.random.default_rng([number, seed, epoch])
