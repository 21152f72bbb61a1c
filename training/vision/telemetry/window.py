"""The steps between two lines, as the figures that go into the next one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

# Of CloudWatch's 100 values a metric: so many keep a line below the 4,096 bytes that a pipe takes as one.
MOST_VALUES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of all hosts.

    `number`: of the whole training, from 1. `seconds`: from the end of the one before, `wait` of them for the
    batch. `images`: of all hosts. `loss`: mean over them. `norm`: of the gradient, where it was computed.
    """

    number: int
    epoch: int
    seconds: float
    wait: float
    images: float
    loss: float
    rate: float
    norm: float | None = None

    @property
    def broken(self) -> bool:
        """Whether the loss, or the gradient, is not a number that can be learned from."""
        return not math.isfinite(self.loss) or not (self.norm is None or math.isfinite(self.norm))


@dataclass(slots=True)
class Window:
    """Steps, summed up as they come.

    Example:
        >>> window = Window()
        >>> window.add(Step(number=7, epoch=1, seconds=0.5, wait=0.1, images=32, loss=2.0, rate=0.1))
        >>> window.images_per_second, window.wait_share, window.loss
        (64.0, 0.2, 2.0)
    """

    last: Step | None = None
    steps: int = 0
    broken: int = 0
    seconds: float = 0.0
    wait: float = 0.0
    images: float = 0.0
    norm: float | None = None
    times: list[float] = field(default_factory=list)
    _losses: float = 0.0
    _finite: int = 0

    def add(self, step: Step) -> None:
        self.last = step
        self.steps += 1
        self.seconds += step.seconds
        self.wait += step.wait
        self.images += step.images
        self.times.append(step.seconds)
        self.broken += step.broken
        if math.isfinite(step.loss):
            self._losses += step.loss
            self._finite += 1
        if step.norm is not None:
            self.norm = step.norm

    @property
    def loss(self) -> float | None:
        """Mean of the steps whose loss is a number."""
        return self._losses / self._finite if self._finite else None

    @property
    def images_per_second(self) -> float | None:
        return self.images / self.seconds if self.seconds else None

    @property
    def wait_share(self) -> float | None:
        """From 0 to 1, of the steps' time."""
        return self.wait / self.seconds if self.seconds else None


def spread(values: Sequence[float], most: int = MOST_VALUES) -> list[float]:
    """The values, or of too many as many quantiles, the smallest and the largest among them.

    Example:
        >>> spread([5.0, 1.0, 4.0, 2.0, 3.0], most=3)
        [1.0, 3.0, 5.0]
    """
    if len(values) <= most:
        return list(values)
    ordered = sorted(values)
    return [ordered[round(place * (len(ordered) - 1) / (most - 1))] for place in range(most)]
