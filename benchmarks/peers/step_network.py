"""The network and the batch that trainers are compared with, and how they are asked for steps."""

import sys
import time
from collections.abc import Iterator

import torch
from torch import nn

SIDE, CLASSES, SMOOTHING, RATE, DECAY = 64, 133, 0.1, 0.001, 0.05


def network() -> nn.Module:
    """Residual blocks with GroupNorm, a million weights."""
    torch.manual_seed(7)
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False),
        nn.GroupNorm(8, 32),
        nn.ReLU(),
        Block(32, 64),
        Block(64, 128),
        Block(128, 256),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(256, CLASSES),
    )


class Block(nn.Module):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.way = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride=2, padding=1, bias=False),
            nn.GroupNorm(8, outside),
            nn.ReLU(),
            nn.Conv2d(outside, outside, 3, padding=1, bias=False),
            nn.GroupNorm(8, outside),
        )
        self.short = nn.Conv2d(inside, outside, 1, stride=2, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.way(images) + self.short(images))


def batch(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(7)
    images = torch.randn(size, 3, SIDE, SIDE, generator=source)
    return (
        images.contiguous(memory_format=torch.channels_last),
        torch.randint(CLASSES, (size,), generator=source),
    )


def asked() -> Iterator[None]:
    """One for each step that is wanted: a line of input says how many; the answer is their seconds."""
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            yield
        print(time.perf_counter() - started, flush=True)
    raise SystemExit(0)
