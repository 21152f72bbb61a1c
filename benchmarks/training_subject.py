"""Steps of training by this project's trainer or by the shortest loop, for `benchmarks.training_step`.

`python -m benchmarks.training_subject NAME BATCH_SIZE THREADS [RANK HOSTS FOLDER] [CHECKPOINT_STEPS]`
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent / "peers"))

from step_network import DECAY, RATE, SIDE, SMOOTHING, asked, batch, network

from training.common.manifest import ImageInput


def plain(size: int) -> None:
    model = network().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    images, labels = batch(size)
    for _ in asked():
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(images), labels, label_smoothing=SMOOTHING)
        loss.backward()
        optimizer.step()
        loss.item()


INPUT = ImageInput(
    backbone="", norm="group", size=SIDE, side=SIDE, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)


def pixels(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch as the trainer has it: bytes."""
    source = torch.Generator().manual_seed(7)
    shape = (size, SIDE, SIDE, 3)
    return torch.randint(256, shape, dtype=torch.uint8, generator=source), batch(size)[1]


class Images:
    """In the place of a split: the same batch as often as it is asked for."""

    def __init__(self, size: int, hosts: int) -> None:
        self._size, self._hosts = size, hosts

    def __len__(self) -> int:
        return 10**9

    def training(self, *_: Any) -> Iterator[Any]:
        from training.vision.data import Batch

        given = Batch(*pixels(self._size), self._size * self._hosts, INPUT)
        return (given for _ in asked())


def modelyard(size: int, rank: int = 0, hosts: int = 1, folder: str = "", every: int = 0) -> None:
    from training.common.hosts import Hosts
    from training.vision.checkpoints.format import Identity
    from training.vision.checkpoints.saver import saving
    from training.vision.config import Config
    from training.vision.distributed import together
    from training.vision.modes import computing
    from training.vision.telemetry.recorder import Process
    from training.vision.telemetry.settings import read_settings
    from training.vision.train import fit
    from training.vision.watch import Watch

    names = tuple(f"127.8.0.{number + 1}" for number in range(hosts))
    if hosts > 1:
        os.environ["SAGEMAKER_BASE_DIR"] = f"{folder}/{rank}"
        config_file = Path(folder, str(rank), "input", "config", "resourceconfig.json")
        config_file.parent.mkdir(parents=True, exist_ok=True)
        config_file.write_text(json.dumps({"hosts": names, "current_host": names[rank]}))
    config = Config(
        batch_size=size * hosts,
        learning_rate=RATE,
        weight_decay=DECAY,
        label_smoothing=SMOOTHING,
        warmup_epochs=0,
        checkpoint_steps=every,
        checkpoint_seconds=0,
    )
    images: Any = Images(size, hosts)
    origin: Any = SimpleNamespace(network=network())
    process = Process(rank=rank, world=hosts, hosts=hosts)
    address = f"{folder}/checkpoints" if every else None
    identity = Identity(model="", data="", config={})
    with (
        Watch(read_settings(), process, config={}) as watch,
        computing(config),
        together(Hosts(names, rank)) as group,
        saving(address, config, identity, group, watch) as saver,
    ):
        fit(config, origin, images, images, group, saver, watch)


if __name__ == "__main__":
    name, size, threads, *more = sys.argv[1:]
    torch.set_num_threads(int(threads))
    if name == "plain":
        plain(int(size))
    else:
        given = dict(zip(("rank", "hosts", "folder", "every"), more, strict=False))
        modelyard(
            int(size), **{key: value if key == "folder" else int(value) for key, value in given.items()}
        )
