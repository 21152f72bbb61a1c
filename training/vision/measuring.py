"""How good a network is, measured by all hosts together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from training.common.image_model import TOP
from training.vision.config import Config
from training.vision.data import Batch, Split
from training.vision.distributed import Group


@dataclass(frozen=True, slots=True)
class Measured:
    """Mean loss, top-1 and top-5 accuracy."""

    loss: float
    top1: float
    top5: float


def measure(
    network: Any, split: Split, group: Group, config: Config, ends: Callable[[], bool] = lambda: False
) -> Measured | None:
    """Over all hosts' images; None where it was ended.

    Args:
        ends: asked on all hosts before each batch, whether to; it answers all of them the same.
    """
    network.eval()
    sums = torch.zeros(4, dtype=torch.float64)
    for batch in split.evaluation(config.batch_size):
        if ends():
            return None
        if len(batch.labels):
            for piece in batch.parts(config.micro_batch_size):
                sums += _sums(network, piece, group)
    loss_sum, first, found, count = group.summed(sums.tolist())
    return Measured(loss_sum / count, first / count, found / count)


def _sums(network: Any, piece: Batch, group: Group) -> Any:
    """Of the loss, of the images that are recognized by the first and by any of the best, and of all (4,)."""
    with torch.inference_mode():
        images, _ = piece.on(group.device)
        logits = network(images).float().cpu()
        loss = functional.cross_entropy(logits, piece.labels, reduction="sum").double()
        ranked = logits.topk(min(TOP, logits.shape[1])).indices == piece.labels[:, None]
        counted = torch.tensor(float(len(piece.labels)))
        return torch.stack([loss, ranked[:, 0].sum(), ranked.sum(), counted])
