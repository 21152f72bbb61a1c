"""In which order an epoch takes the images: at random, and so that few parts of shards are needed at once.

A dataset is cut into blocks, neighbours in a shard, as large as one request should be. One that fits into
the window is shuffled as a whole. Of a larger one the blocks are shuffled, and the images of as many blocks
as fit into the window with them. The images of a batch stand in the order of their blocks, so that of many
hosts each reads about its share of the data and not all of it.

The order follows from seed and epoch alone. So "epoch and batch" is all that a checkpoint needs to keep of
it, at any number of hosts: the state of a StatefulDataLoader is that of one number of workers, and larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.vision.shards import Entry

# s3torchconnector asks for parts of this size; S3 takes about as long for a request as for a megabyte.
BLOCK_BYTES = 8 * 1024 * 1024
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Blocks:
    """Of each image its block, numbered from 0, and its bytes."""

    of: Numbers
    sizes: Numbers

    @classmethod
    def cut(cls, entries: Sequence[Entry]) -> Blocks:
        """Blocks are numbered as they come with the images, whatever the shards are called."""
        numbers: dict[tuple[str, int], int] = {}
        of = [
            numbers.setdefault((entry.shard.name, entry.offset // BLOCK_BYTES), len(numbers))
            for entry in entries
        ]
        sizes = [entry.size for entry in entries]
        return cls(np.array(of, dtype=np.int64), np.array(sizes, dtype=np.int64))

    def fit(self, window: int) -> bool:
        """Whether all images fit into a window of so many bytes; 0: any do."""
        return not window or int(self.sizes.sum()) <= window

    def shuffled(self, window: int, seed: int, epoch: int) -> tuple[Numbers, Numbers]:
        """The images of an epoch in their order, and of each block its place in the order of blocks.

        >>> blocks = Blocks(np.array([0, 0, 1, 1, 2, 2]), np.full(6, 10))
        >>> order, places = blocks.shuffled(20, seed=7, epoch=1)
        >>> [int(places[blocks.of[image]]) for image in order]
        [0, 0, 1, 1, 2, 2]
        """
        source = np.random.default_rng([seed, epoch])
        order = source.permutation(len(self.of))
        if self.fit(window):
            return order, np.zeros(1 + int(self.of.max(initial=0)), dtype=np.int64)
        amounts = np.bincount(self.of, weights=self.sizes)
        turn = source.permutation(len(amounts))
        places = np.argsort(turn)
        before = np.cumsum(amounts[turn]) - amounts[turn]
        windows = (before // window).astype(np.int64)[places]
        return order[np.argsort(windows[self.of[order]], kind="stable")], places

    def by_place(self, images: Numbers, places: Numbers) -> Numbers:
        """Images in the order of their blocks' places; as they are where the places are all the same."""
        return images[np.argsort(places[self.of[images]], kind="stable")]
