"""A job's images as training takes them, and what does not fit together said in a line."""

from __future__ import annotations

from training.common.failure import UserError
from training.common.hosts import Hosts
from training.common.manifest import ImageInput
from training.vision.classes import Classes
from training.vision.config import Config
from training.vision.data import Split
from training.vision.shards import Entry
from training.vision.weights import Start

MB = 1024 * 1024


def read_split(
    name: str, entries: list[Entry], classes: Classes, image: ImageInput, hosts: Hosts, window: int
) -> Split:
    """The images of a channel; raises UserError when it has too few, or of classes that are not named.

    Args:
        name: of the channel.
        entries: its images.
        classes, image: of the dataset.
        hosts: that share its batches.
        window: bytes of images that are shuffled together; 0: all.
    """
    numbers = {label: number for number, label in enumerate(classes.names)}
    unknown = sorted({entry.label for entry in entries} - set(numbers))
    if unknown:
        raise UserError(f"channel {name}: class {unknown[0]!r} is not in channel classes")
    if len(entries) < hosts.count:
        raise UserError(f"channel {name} has {len(entries)} images for {hosts.count} hosts; use fewer hosts")
    labels = [numbers[entry.label] for entry in entries]
    if name == "train" and len(set(labels)) < len(numbers):
        missing = sorted(set(numbers) - {entry.label for entry in entries})
        raise UserError(f"no image of class {missing[0]!r} fell into train: add images of it, or remove it")
    return Split(entries, labels, image, hosts, window)


def uneven(batch_size: int, hosts: int) -> str:
    """What somebody may want to know of a batch that cannot be shared out evenly.

    >>> uneven(16, 3)
    'batch_size 16 over 3 processes is 5 or 6 images each: the model is the same, some wait for others'
    """
    least, more = divmod(batch_size, hosts)
    if not more:
        return ""
    share = f"batch_size {batch_size} over {hosts} processes is {least} or {least + 1} images each"
    return f"{share}: the model is the same, some wait for others"


def input_of(config: Config, classes: Classes, origin: Start) -> ImageInput:
    """What the model will see of an image; raises UserError when it was prepared for another size."""
    if config.image_size != classes.image_size:
        raise UserError(
            f"image_size is {config.image_size}, preprocessing prepared images for {classes.image_size}: "
            "give both the same"
        )
    return ImageInput(
        backbone=config.backbone,
        norm=origin.norm,
        size=config.image_size,
        side=classes.side,
        mean=origin.mean,
        std=origin.std,
    )
