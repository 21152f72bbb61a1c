"""What `benchmarks.gpu_step` asks for steps: `python -m benchmarks.gpu_subject NAME DEVICE FOLDER SIZE`.

SIZE is its `Size` as JSON, FOLDER has `shards`. A line of input says how many steps are wanted, the answer is
their seconds; 0 gives back the GPU's memory. `stages` asks for nothing and answers with its figures.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn import functional

from benchmarks.gpu_step import Size
from training.common.backbones import create, freeze_statistics
from training.common.hosts import Hosts
from training.common.manifest import ImageInput
from training.vision.checkpoints.format import Identity
from training.vision.checkpoints.saver import saving
from training.vision.classes import side_of
from training.vision.config import Config
from training.vision.data import Batch, Split
from training.vision.distributed import Group, together
from training.vision.modes import computing
from training.vision.shards import read_shards
from training.vision.telemetry.recorder import Process
from training.vision.telemetry.settings import read_settings
from training.vision.train import fit, loss_of
from training.vision.watch import Watch
from training.vision.weights import Start

RATE, DECAY, SMOOTHING = 0.001, 0.05, 0.1
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HERE = Hosts(("here",), 0)


def asked() -> Iterator[None]:
    for line in sys.stdin:
        wanted = int(line)
        _wait()
        if not wanted and torch.cuda.is_available():
            torch.cuda.empty_cache()
        started = time.perf_counter()
        for _ in range(wanted):
            yield
        _wait()
        print(time.perf_counter() - started, flush=True)
    raise SystemExit(0)


def plain(size: Size) -> None:
    """The shortest loop with the same work."""
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = create(size.backbone, size.classes, "batch").to(device, memory_format=torch.channels_last)
    network.train()
    freeze_statistics(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    mean, std = (255 * torch.tensor(values, device=device).view(3, 1, 1) for values in (MEAN, STD))
    batch = in_memory(size)
    for _ in asked():
        images = batch.images.to(device, non_blocking=True).permute(0, 3, 1, 2).float().sub_(mean).div_(std)
        labels = batch.labels.to(device, non_blocking=True)
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            loss = functional.cross_entropy(network(images), labels, label_smoothing=SMOOTHING)
        loss.backward()
        optimizer.step()
        loss.item()


def input_of(size: Size) -> ImageInput:
    side = side_of(size.image_size)
    return ImageInput(
        backbone=size.backbone, norm="batch", size=size.image_size, side=side, mean=MEAN, std=STD
    )


def in_memory(size: Size) -> Batch:
    """A batch as the trainer has it: bytes, in memory that the GPU reads by itself."""
    source = torch.Generator().manual_seed(7)
    shape = (size.batch, size.image_size, size.image_size, 3)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=source)
    labels = torch.randint(size.classes, (size.batch,), generator=source)
    if torch.cuda.is_available():
        images, labels = images.pin_memory(), labels.pin_memory()
    return Batch(images, labels, size.batch, input_of(size))


def from_shards(size: Size, folder: Path) -> Iterator[Batch]:
    """Epoch after epoch, read and decoded as a training does."""
    entries = read_shards(folder / "shards")
    split = Split(entries, [int(entry.label) for entry in entries], input_of(size), HERE)
    for epoch in count(1):
        yield from split.training(size.batch, 7, epoch, "crop_flip")


@dataclass(frozen=True, slots=True)
class Images:
    """In the place of a split: a batch whenever one is asked for."""

    batches: Iterator[Batch]

    def __len__(self) -> int:
        return 10**9

    def training(self, *_: Any) -> Iterator[Batch]:
        return (next(self.batches) for _ in asked())


def ours(size: Size, batches: Iterator[Batch], deterministic: str) -> None:
    """The trainer, with all that it does for a step."""
    config = Config(
        backbone=size.backbone,
        image_size=size.image_size,
        batch_size=size.batch,
        learning_rate=RATE,
        weight_decay=DECAY,
        label_smoothing=SMOOTHING,
        deterministic=deterministic,
        checkpoint_seconds=0,
    )
    origin = Start(create(size.backbone, size.classes, "batch"), "batch", MEAN, STD)
    images: Any = Images(batches)
    identity = Identity(model="", data="", config={})
    with (
        Watch(read_settings(), Process(), config={}) as watch,
        computing(config),
        together(HERE) as group,
        saving(None, config, identity, group, watch) as saver,
    ):
        fit(config, origin, images, images, group, saver, watch)


def stages(size: Size, folder: Path) -> dict[str, Any]:
    """Milliseconds of each stage of a step, and what the decoder does without a training beside it."""
    batches = from_shards(size, folder)
    next(batches)
    started = time.perf_counter()
    for _ in range(size.steps):
        next(batches)
    decoded = size.steps * size.batch / (time.perf_counter() - started)
    config = Config(backbone=size.backbone, image_size=size.image_size)
    seconds: Counter[str] = Counter()
    with computing(config), together(HERE) as group:
        network = create(size.backbone, size.classes, "batch")
        network = network.to(group.device, memory_format=torch.channels_last)
        network.train()
        freeze_statistics(network)
        optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
        for number in range(-2, size.steps):
            if not number:  # the first ones look for memory and algorithms
                seconds.clear()
            _step(network, optimizer, batches, group, seconds)
    told = {name: round(1000 * value / size.steps, 3) for name, value in seconds.items()}
    return {"decoder_images_per_second": round(decoded, 1), "stages_ms": told}


def _step(
    network: Any, optimizer: Any, batches: Iterator[Batch], group: Group, seconds: Counter[str]
) -> None:
    at = time.perf_counter()

    def ends(stage: str) -> None:
        nonlocal at
        _wait()
        now = time.perf_counter()
        seconds[stage] += now - at
        at = now

    batch = next(batches)
    ends("batch")
    inputs = batch.on(group.device)
    ends("copy")
    optimizer.zero_grad()
    there: Any = SimpleNamespace(on=lambda _device: inputs)
    loss = loss_of(network, there, group, SMOOTHING) / batch.total
    ends("forward")
    loss.backward()
    ends("backward")
    optimizer.step()
    ends("optimizer")


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main(name: str, device: str, folder: Path, size: Size) -> None:
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before PyTorch looks
    if name == "plain":
        plain(size)
    elif name == "stages":
        print(json.dumps(stages(size, folder)))
    elif name == "shards":
        ours(size, from_shards(size, folder), "prefer")
    else:
        batch = in_memory(size)
        ours(size, iter(lambda: batch, None), "off" if name == "fastest" else "prefer")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Size(**json.loads(sys.argv[4])))
