"""How a dataset's images are prepared: the same for all of its images, hence noted in each record."""

from __future__ import annotations

import re
from dataclasses import dataclass

from training.common.failure import UserError
from training.vision.classes import side_of
from training.vision.preprocess import SIZES, Shares

TEXT = re.compile(r"size=(\d+) validation=([\d.e-]+) test=([\d.e-]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """`image_size`: pixels that a model sees, squared; `shares` of the images to validate and to test with.

    Raises:
        UserError: the size is out of bounds.

    Example:
        >>> str(Recipe(image_size=224, shares=Shares(0.1, 0.1)))
        'size=224 validation=0.1 test=0.1'
    """

    image_size: int
    shares: Shares

    def __post_init__(self) -> None:
        if self.image_size not in SIZES:
            raise UserError(f"the size must be {SIZES[0]} to {SIZES[-1]} pixels, got {self.image_size}")

    def __str__(self) -> str:
        return f"size={self.image_size} validation={self.shares.validation:g} test={self.shares.test:g}"

    @property
    def side(self) -> int:
        """Pixels of the shorter side of the shards' images."""
        return side_of(self.image_size)


def read_recipe(text: str) -> Recipe:
    """The recipe of a record; raises UserError when it is none.

    Example:
        >>> read_recipe("size=224 validation=0.1 test=0.1").side
        256
    """
    found = TEXT.fullmatch(text)
    if not found:
        raise UserError(f"the ledger holds a recipe that is none: {text!r}")
    return Recipe(image_size=int(found[1]), shares=Shares(float(found[2]), float(found[3])))
