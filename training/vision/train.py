"""Step 3: train a classifier of images on one host or several.

Channels `train`, `validation` (tar shards), `classes` (classes.json), `weights` with `pretrained=channel`; or
a dataset in S3, which is read from there, `sources`: `--dataset s3://bucket/datasets/dogs`, or a channel at a
time, `--train s3://bucket/prefix/train --validation ... --classes ...`.
Hyperparameters: see `config`. Each epoch logs `train-loss:`, `validation-loss:`, `validation-top1:` and
`validation-top5:`; the epoch with the best validation-top1 is kept.

With `--checkpoints PLACE`, CHECKPOINTS in the environment, or SageMaker's folder of checkpoints, a job goes
on where one before it ended: `checkpoints`. SIGTERM ends it after the current step, with a checkpoint.

What it tells of itself while it runs, and where: `telemetry`.

Over several hosts each computes the gradients of its part of every batch; `data` makes the batches the same
at any number of hosts, so that the model is the same too, up to the order in which numbers are added. In an
elastic job, `elastic`, a "host" is a rank.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from training.common.arguments import Parser
from training.common.backbones import freeze_statistics
from training.common.failure import UserError, run, say
from training.common.hosts import read_hosts, usable_cpus
from training.common.hyperparameters import read_hyperparameters
from training.common.paths import model_dir
from training.vision.average import Average
from training.vision.checkpoints.saver import STOPPED, Saver, address_of, identity_of, saving
from training.vision.checkpoints.state import Best, Place
from training.vision.config import Config
from training.vision.data import Batch, Split
from training.vision.distributed import Group, together
from training.vision.elastic.output import delivers
from training.vision.elastic.ranks import device, machines, neighbours, ranks
from training.vision.job_record import from_environment
from training.vision.measuring import Measured, measure
from training.vision.modes import compiled, computing, mixes
from training.vision.release import Material, release
from training.vision.sources import CHANNELS, dataset_of, read_source, shared_address
from training.vision.splits import MB, input_of, read_split, uneven
from training.vision.telemetry.machine import gpu_of
from training.vision.telemetry.recorder import Process
from training.vision.telemetry.settings import read_settings
from training.vision.watch import Watch
from training.vision.weights import Start, start


def main(arguments: Sequence[str]) -> None:
    parser = Parser("train")
    parser.add_argument("--checkpoints")
    parser.add_argument("--dataset", default=dataset_of(os.environ))
    for name in CHANNELS:
        parser.add_argument(f"--{name}")
    options = parser.parse_args(list(arguments))
    address = address_of(options.checkpoints)
    hosts, config = ranks() or read_hosts(), read_hyperparameters(Config)
    torch.set_num_threads(max(1, usable_cpus() // neighbours()))
    process = Process(rank=hosts.rank, world=hosts.count, hosts=machines(hosts), gpu=gpu_of(device()))
    record = from_environment() if hosts.is_first else None
    watching = Watch(read_settings(), process, config=asdict(config), record=record)
    with watching as watch, computing(config), together(hosts) as group:
        dataset = shared_address(options.dataset, group)
        source = read_source(dataset, {name: getattr(options, name) for name in CHANNELS})
        classes = source.classes()
        origin = start(config, len(classes.names))
        image = input_of(config, classes, origin)

        def split(name: str) -> Split:
            return read_split(name, source.entries(name), classes, image, hosts, config.shuffle_mb * MB)

        train, validation = split("train"), split("validation")
        if hosts.is_first and (line := uneven(config.batch_size, hosts.count)):
            say(line)
        say(
            f"host {hosts.rank + 1} of {hosts.count} on {group.device.type}: {config.backbone}, train "
            f"{len(train)} images, validation {len(validation)}, {len(classes.names)} classes"
        )
        identity = identity_of(config, origin.network, train, validation)
        with saving(address, config, identity, group, watch) as saver:
            best, last = fit(config, origin, train, validation, group, saver, watch)
        if not saver.stopped:
            held_out = "test" if delivers() and source.has("test") else "validation"
            measured_on = split("test") if held_out == "test" else validation
            material = Material(config, train, validation, classes, measured_on, held_out)
            # The others wait for the first: were it lost now, one of them would have to do it.
            models = release(origin.network, best, last, material, group)
            group.alone(partial(watch.finished, models))
    if saver.stopped:
        say(saver.stopped)
        raise SystemExit(STOPPED)
    if hosts.is_first:
        kept = f"epoch {best.epoch} of {config.epochs} kept, validation-top1 {best.top1:.4f}"
        say(f"{kept}; wrote {model_dir()}")
    else:
        say("trained; the first host writes the model")


def fit(
    config: Config, origin: Start, train: Split, validation: Split, group: Group, saver: Saver, watch: Watch
) -> tuple[Best, Mapping[str, Any]]:
    """Train for all epochs, or those that a checkpoint left; the loop. The best, and the last weights."""
    network = origin.network.to(group.device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(_decayed(network, config.weight_decay), lr=config.learning_rate)
    average = Average(network, config.ema_decay)
    batches = max(1, len(train) // config.batch_size)
    at, best = saver.resume(network, optimizer, average, batches)
    replica = group.wrap(compiled(network, config, group.device))
    for epoch in range(at.epoch, config.epochs + 1):
        started = time.monotonic()
        network.train()
        freeze_statistics(network)
        order = train.training(config.batch_size, config.seed, epoch, config.augment, at.batch)
        for batch in watch.batches(order):
            rate = _set_rate(optimizer, config.rate(at.step(batches), batches))
            optimizer.zero_grad()
            loss = learn(replica, batch, group, config)
            norm = shortened(network, config.clip_norm, wanted=watch.wants_norm)
            optimizer.step()
            average.update(network)
            # Only here it waits for the GPU.
            loss_sum, images, *wishes = group.summed([float(loss), len(batch.labels), *saver.wishes()])
            at, mean = at.after(loss_sum, images), loss_sum / images
            watch.step(at.step(batches), epoch=epoch, loss=mean, images=images, rate=rate, norm=norm)
            if not math.isfinite(loss_sum):
                raise UserError(f"the loss is not a number in epoch {epoch}: choose a lower learning_rate")
            if saver.after(at, best, wishes):
                return best, average.network.state_dict()
        ends = partial(saver.between, at, best)
        if not (measured := measure(average.network, validation, group, config, ends)):
            return best, average.network.state_dict()
        _tell(config, epoch, at.loss_sum / at.images, measured, started, watch)
        better = (measured.top1, -measured.loss) > (best.top1, -best.loss)
        if better:
            state = {name: value.to("cpu", copy=True) for name, value in average.network.state_dict().items()}
            best = Best(epoch, measured.top1, measured.loss, state)
        at = Place(epoch + 1)
        if saver.between(at, best, must=better or epoch == config.epochs):
            return best, average.network.state_dict()
    return best, average.network.state_dict()


def learn(replica: Any, batch: Batch, group: Group, config: Config) -> Any:
    """Compute the gradients of a batch, a piece of it at a time; returns the sum of this host's losses."""
    *pieces, last = batch.parts(config.micro_batch_size)
    losses = []
    with group.apart(replica):
        losses += [_backward(replica, piece, group, config) for piece in pieces]
    losses.append(_backward(replica, last, group, config))
    return sum(losses)


def _backward(replica: Any, piece: Batch, group: Group, config: Config) -> Any:
    loss = loss_of(replica, piece, group, config.label_smoothing)
    # The hosts' gradients are averaged: each counts as much of the batch as it has.
    (loss * group.hosts.count / piece.total).backward()
    return loss.detach()


def loss_of(network: Any, batch: Batch, group: Group, smoothing: float) -> Any:
    """The sum of the losses of this host's images."""
    images, labels = batch.on(group.device)
    with torch.autocast(group.device.type, dtype=torch.bfloat16, enabled=mixes(group.device)):
        logits = network(images)
    return functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing, reduction="sum")


def _set_rate(optimizer: Any, rate: float) -> float:
    for parameters in optimizer.param_groups:
        parameters["lr"] = rate
    return rate


def shortened(network: Any, longest: float, *, wanted: bool) -> Any:
    """Shorten the gradient to `longest`, if that is not 0; returns its norm before, on all hosts the same,
    or None where nobody asks for it."""
    if longest:
        return nn.utils.clip_grad_norm_(network.parameters(), longest)
    gradients = [value.grad for value in network.parameters() if value.grad is not None]
    return nn.utils.get_total_norm(gradients) if wanted else None


def _tell(
    config: Config, epoch: int, train_loss: float, measured: Measured, started: float, watch: Watch
) -> None:
    """The line of an epoch; SageMaker makes metrics of it."""
    watch.evaluated(
        epoch, train_loss=train_loss, validation_loss=measured.loss, top1=measured.top1, top5=measured.top5
    )
    say(
        f"epoch {epoch} of {config.epochs}: train-loss:{train_loss:.5f} validation-loss:{measured.loss:.5f} "
        f"validation-top1:{measured.top1:.5f} validation-top5:{measured.top5:.5f} "
        f"seconds:{time.monotonic() - started:.1f}"
    )


def _decayed(network: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases and the scales of normalization, vectors, do not."""
    matrices = [value for value in network.parameters() if value.ndim > 1]
    vectors = [value for value in network.parameters() if value.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]


if __name__ == "__main__":
    raise SystemExit(run(main))
