"""The state of a training: where it is, what was best, and the tensors and random numbers to go on with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from training.vision.average import Average


@dataclass(slots=True)
class Best:
    """The epoch to keep; `state`: its weights, on the CPU."""

    epoch: int = 0
    top1: float = -1.0
    loss: float = math.inf
    state: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Before the batch `batch` (from 0) of the epoch `epoch` (from 1); `loss_sum` over the `images` of this
    epoch so far, of all hosts. The order of images and the learning rate follow from it."""

    epoch: int = 1
    batch: int = 0
    loss_sum: float = 0.0
    images: float = 0.0

    def after(self, loss_sum: float, images: float) -> Place:
        """One batch on."""
        return Place(self.epoch, self.batch + 1, self.loss_sum + loss_sum, self.images + images)

    def step(self, batches: int) -> int:
        """Of the whole training, with so many batches in an epoch."""
        return (self.epoch - 1) * batches + self.batch


def copied(value: Any) -> Any:
    """The tensors in a state, on the CPU and its own; their strides stay.

    On a GPU the copies run at once into pinned memory: one wait for all, not one for each.
    """
    found = _copied(value)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return found


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        if value.device.type == "cpu":
            return value.detach().clone()
        pinned = torch.empty_like(value, device="cpu", pin_memory=True)
        return pinned.copy_(value.detach(), non_blocking=True)
    if isinstance(value, Mapping):
        return {name: _copied(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value)
    return value


def snapshot(
    network: Any,
    optimizer: Any,
    average: Average,
    place: Place,
    best: Best,
    random: list[Any],
    account: Mapping[str, Any],
) -> dict[str, Any]:
    """All of it, apart from what goes on changing.

    Args:
        random: `random_state` of each host.
        account: what telemetry knows of the job's time and cost: no part of what is learned.
    """
    return {
        "network": copied(network.state_dict()),
        "optimizer": copied(optimizer.state_dict()),
        "average": copied(average.state_dict()),
        "place": asdict(place),
        # Its tensors are copies already, which nobody changes.
        "best": {"epoch": best.epoch, "top1": best.top1, "loss": best.loss, "state": best.state},
        "random": random,
        "account": dict(account),
    }


def restore(
    state: Mapping[str, Any], network: Any, optimizer: Any, average: Average, rank: int, hosts: int
) -> tuple[Place, Best]:
    """Put a snapshot back.

    With another number of hosts than before none of them can go on with its random numbers: these then
    follow from the place.
    """
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    average.load_state_dict(state["average"])
    place, best = Place(**state["place"]), Best(**state["best"])
    if len(state["random"]) == hosts:
        restore_random(state["random"][rank])
    else:
        torch.manual_seed(hash((place.epoch, place.batch, rank, hosts)))
    return place, best


def random_state(device: Any) -> Any:
    """PyTorch's random numbers, the only ones that go on from step to step, as bytes in a tensor."""
    parts = [torch.get_rng_state()]
    if device.type == "cuda":
        parts.append(torch.cuda.get_rng_state(device))
    return torch.cat(parts)


def restore_random(state: Any) -> None:
    """What `random_state` returned; the GPU's part only where there is one."""
    size = len(torch.get_rng_state())
    torch.set_rng_state(state[:size].contiguous())
    if len(state) > size and torch.cuda.is_available():
        torch.cuda.set_rng_state(state[size:].contiguous())
