"""Step 2: decode, scale and split the images, and write them as shards.

Input `data`: class folders. Outputs `train`, `validation`, `test`: tar shards; `classes`: classes.json;
`quarantine`: for each image that was left out its name and the reason.

On several hosts each takes every n-th image. All list the whole folder, so that they number the classes the
same.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from training.common.arguments import Parser
from training.common.failure import UserError, run, say
from training.common.hosts import read_hosts
from training.common.paths import processing_input, processing_output
from training.vision.classes import Classes, side_of
from training.vision.folders import find_photos, prepare, require_classes
from training.vision.parallel import ordered
from training.vision.shards import ShardWriter

SPLITS = ("train", "validation", "test")
SALT = "modelyard-images-1"
SIZES = range(8, 1025)
SAID_EVERY = 1000


@dataclass(frozen=True, slots=True)
class Shares:
    """Of all images; what is in neither is trained on."""

    validation: float
    test: float

    def __post_init__(self) -> None:
        for name, share in (("ValidationShare", self.validation), ("TestShare", self.test)):
            if not 0 < share < 1:
                raise UserError(f"{name} must be above 0 and below 1, got {share:g}")
        if self.validation + self.test >= 1:
            raise UserError("ValidationShare and TestShare together leave nothing to train on")


def main(arguments: Sequence[str]) -> None:
    parser = Parser("preprocess")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--validation-share", type=float, default=0.1)
    parser.add_argument("--test-share", type=float, default=0.1)
    options = parser.parse_args(list(arguments))
    if options.image_size not in SIZES:
        raise UserError(f"ImageSize must be {SIZES[0]} to {SIZES[-1]} pixels, got {options.image_size}")
    shares, hosts = Shares(options.validation_share, options.test_share), read_hosts()
    found = find_photos(processing_input("data"))
    require_classes(found.classes)
    classes = Classes(names=found.classes, image_size=options.image_size, side=side_of(options.image_size))
    sizes: Counter[str] = Counter()
    rejected: list[dict[str, str]] = []
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(ShardWriter(processing_output(name), hosts.rank)) for name in SPLITS
        }
        photos = found.photos[hosts.rank :: hosts.count]
        for number, prepared in enumerate(ordered(partial(prepare, side=classes.side), photos), 1):
            if prepared.sample is None:
                rejected.append({"name": prepared.photo.name, "reason": prepared.problem})
            else:
                split = split_of(prepared.digest, shares)
                writers[split].write(prepared.sample)
                sizes[split] += 1
            if number % SAID_EVERY == 0:
                say(f"{number} of {len(photos)} images, {len(rejected)} left out")
    if hosts.is_first:
        classes.write(processing_output("classes"))
    path = processing_output("quarantine") / f"rejected-{hosts.rank:05d}.json"
    path.write_text(json.dumps(rejected, indent=1) + "\n", encoding="ascii")
    if hosts.count == 1:
        _check(sizes, len(rejected))
    shown = ", ".join(f"{name} {sizes[name]}" for name in SPLITS)
    say(
        f"images: {shown}, {len(rejected)} left out; {len(classes.names)} classes; "
        f"host {hosts.rank + 1} of {hosts.count}"
    )


def split_of(digest: str, shares: Shares) -> str:
    """The split of an image, from the hash of its content: it stays when images are added or renamed, and
    copies of an image are never in two splits.

    >>> split_of("17", Shares(0.1, 0.1)) == split_of("17", Shares(0.2, 0.1))
    True
    """
    salted = hashlib.blake2b(f"{SALT}:{digest}".encode(), digest_size=8).digest()
    place = int.from_bytes(salted) / 2**64
    if place < shares.test:
        return "test"
    return "validation" if place < shares.test + shares.validation else "train"


def _check(sizes: Counter[str], rejected: int) -> None:
    empty = [name for name in SPLITS if not sizes[name]]
    if empty:
        left_out = f" ({rejected} could not be read)" if rejected else ""
        raise UserError(f"{sizes.total()} images are too few{left_out}: none fell into {' and '.join(empty)}")


if __name__ == "__main__":
    raise SystemExit(run(main))
