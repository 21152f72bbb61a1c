"""How good a network is, measured by all hosts together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from training.common.image_model import TOP
from training.vision.config import Config
from training.vision.data import Split
from training.vision.distributed import Group


@dataclass(frozen=True, slots=True)
class Measured:
    """Mean loss, top-1 and top-5 accuracy."""

    loss: float
    top1: float
    top5: float


def measure(network: Any, split: Split, group: Group, config: Config) -> Measured:
    """Over all hosts' images."""
    network.eval()
    sums = torch.zeros(4, dtype=torch.float64)
    with torch.inference_mode():
        for batch in split.evaluation(config.batch_size):
            if not len(batch.labels):
                continue
            for piece in batch.parts(config.micro_batch_size):
                images, _ = piece.on(group.device)
                logits = network(images).float().cpu()
                loss = functional.cross_entropy(logits, piece.labels, reduction="sum").double()
                ranked = logits.topk(min(TOP, logits.shape[1])).indices == piece.labels[:, None]
                counted = torch.tensor(float(len(piece.labels)))
                sums += torch.stack([loss, ranked[:, 0].sum(), ranked.sum(), counted])
    loss_sum, first, found, count = group.summed(sums.tolist())
    return Measured(loss_sum / count, first / count, found / count)
