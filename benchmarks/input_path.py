"""What a training waits for: photographs in S3 as shards and one by one, and how long a step waits for them.

2,048 photographs as preprocessing leaves them lie in the local cloud's S3 in shards, and an object each.

- `reading`: images a second of an epoch's bytes, in the trainer's shuffled order: by the trainer, from the
  shards; and by one GET for each image, in 16 threads. Bound: at least 15 times.
- `decoded`: the same as batches of pixels; there the decoder is the limit.
- `data_wait`: share of its steps' time that a training from these shards waits for a batch, once the first
  has come; by `decoder_over_training` the decoder is faster. Bound: 5 %.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3

from benchmarks.catalogue import fresh_cloud
from benchmarks.decode import photographs
from benchmarks.harness import interleave, ratio
from localcloud.context import Cloud, Credentials
from training.common.backbones import create
from training.common.hosts import Hosts
from training.common.manifest import ImageInput
from training.vision.checkpoints.format import Identity
from training.vision.checkpoints.s3 import make_client
from training.vision.checkpoints.saver import saving
from training.vision.config import Config
from training.vision.data import Split
from training.vision.distributed import together
from training.vision.parallel import ordered
from training.vision.remote import Ahead
from training.vision.shards import Sample, ShardWriter
from training.vision.sources import read_source
from training.vision.telemetry.recorder import Process
from training.vision.telemetry.settings import read_settings
from training.vision.train import fit
from training.vision.watch import Watch
from training.vision.weights import Start

READING_BOUND, WAIT_BOUND = 15.0, 0.05
IMAGES, DISTINCT, SIZE, SIDE, CUT, CLASSES = 2048, 256, (341, 256), 256, 224, 133
THREADS, ROUNDS, SEED = 16, 5, 7
BATCH, STEPS = 32, 20
BUCKET, SHARDS, PHOTOGRAPHS = "input-path", "shards", "photographs"
INPUT = ImageInput(
    backbone="resnet10t",
    norm="group",
    size=CUT,
    side=SIDE,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    with fresh_cloud() as (cloud, administrator, folder), as_client(cloud, administrator):
        upload(folder)
        entries = read_source("", {"train": f"s3://{BUCKET}/{SHARDS}"}).entries("train")
        split = Split(entries, [int(entry.label) for entry in entries], INPUT, Hosts(("here",), 0))
        order = [entries[number] for number in _order(split)]
        client = make_client(connections=THREADS)  # kept for all rounds, as the shards' reader keeps its own
        subjects = {
            "shards": lambda: from_shards(order),
            "gets": lambda: by_get(client, [entry.key for entry in order]),
        }
        reading = interleave(subjects, rounds)
        decoding = interleave({"shards": lambda: sum(len(batch.labels) for batch in _batches(split))}, 3)
        steps = training(split)
    faster = ratio(reading["gets"], reading["shards"])
    wait = sum(waited for waited, _ in steps) / sum(took for _, took in steps)
    step = statistics.median(took for _, took in steps)
    return {
        "images": len(order),
        "bytes": sum(entry.size for entry in order),
        "reading": {
            **{
                f"{name}_images_per_second": round(len(order) / each.median) for name, each in reading.items()
            },
            "times": faster,
            "bound": READING_BOUND,
        },
        "decoded": {"shards_images_per_second": round(len(order) / decoding["shards"].median)},
        "data_wait": {
            "share": round(wait, 4),
            "training_images_per_second": round(BATCH / step, 1),
            "decoder_over_training": round(len(order) / decoding["shards"].median / (BATCH / step), 2),
            "bound": WAIT_BOUND,
        },
        "holds": faster["median"] >= READING_BOUND and wait <= WAIT_BOUND,
    }


@contextmanager
def as_client(cloud: Cloud, administrator: Credentials) -> Iterator[None]:
    """This process as a client of the cloud."""
    before = dict(os.environ)
    os.environ |= cloud.environment(administrator)
    boto3.DEFAULT_SESSION = None  # it keeps the keys of an earlier cloud
    try:
        yield
    finally:
        boto3.DEFAULT_SESSION = None
        os.environ.clear()
        os.environ |= before


def upload(folder: Path) -> None:
    """The photographs, in both forms; `IMAGES` keys of `DISTINCT` pictures."""
    client = make_client(connections=THREADS)
    client.create_bucket(Bucket=BUCKET)
    pictures, shards = folder / "pictures", folder / "shards"
    for made in (pictures, shards):
        made.mkdir()
    photographs(pictures, SIZE, DISTINCT)
    data = [path.read_bytes() for path in sorted(pictures.iterdir())]
    with ShardWriter(shards, 0) as writer:
        for number in range(IMAGES):
            key = f"{number:05d}"
            label = str(number % CLASSES)
            writer.write(
                Sample(key=key, label=label, name=key, extension="jpg", data=data[number % DISTINCT])
            )
    for path in shards.iterdir():
        client.upload_file(str(path), BUCKET, f"{SHARDS}/{path.name}")

    def put(number: int) -> None:
        client.put_object(Bucket=BUCKET, Key=f"{PHOTOGRAPHS}/{number:05d}", Body=data[number % DISTINCT])

    list(ordered(put, range(IMAGES), THREADS, THREADS))


def from_shards(order: Sequence[Any]) -> int:
    """All bytes, as `data` reads them."""
    with Ahead(order, sum(entry.size for entry in order)) as ahead:
        return sum(len(ahead.read(place)) for place in range(len(order)))


def by_get(client: Any, keys: Sequence[str]) -> int:
    """All bytes, a request each."""

    def get(key: str) -> int:
        return len(client.get_object(Bucket=BUCKET, Key=f"{PHOTOGRAPHS}/{key}")["Body"].read())

    return sum(ordered(get, keys, 2 * THREADS, THREADS))


def training(split: Split) -> list[tuple[float, float]]:
    """Seconds that each step but the first waited for its batch, and that it took with it."""
    config = Config(batch_size=BATCH, epochs=1, augment="crop_flip", checkpoint_seconds=0)
    origin = Start(create(INPUT.backbone, CLASSES, INPUT.norm), INPUT.norm, INPUT.mean, INPUT.std)
    part = Split(split.entries[: BATCH * (STEPS + 1)], split.labels, INPUT, split.hosts)
    held_out = Split(split.entries[:BATCH], split.labels, INPUT, split.hosts)
    with (
        Steps(read_settings(), Process()) as watch,
        together(split.hosts) as group,
        saving(None, config, Identity(model="", data="", config={}), group, watch) as saver,
    ):
        fit(config, origin, part, held_out, group, saver, watch)
    return watch.seen[1:]


class Steps(Watch):
    """Keeps what each step waited and took, in seconds."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seen: list[tuple[float, float]] = []

    def batches(self, source: Any) -> Iterator[Any]:
        asked = time.perf_counter()
        for batch in super().batches(source):
            got = time.perf_counter()
            yield batch
            ended = time.perf_counter()
            self.seen.append((got - asked, ended - asked))
            asked = ended


def _order(split: Split) -> list[int]:
    from training.vision.order import Blocks

    order, _ = Blocks.cut(split.entries).shuffled(split.window, SEED, 1)
    return [int(number) for number in order]


def _batches(split: Split) -> Iterator[Any]:
    return split.training(BATCH, SEED, 1, "crop_flip")
