"""All instances of one deployment of an endpoint, and the choice among them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from localcloud.sagemaker.hosting.capture import Capture
from localcloud.sagemaker.hosting.instance import Instance, VariantSpec

DRAIN_SECONDS = 65.0  # a little more than an invocation may take
Starter = Callable[[VariantSpec], Instance]


class Variant:
    """The instances of one production variant.

    `guarded`: an update has shifted requests to or from it, so that its metrics are published by
    configuration, too. `trial`: an update has not yet decided for it, and what it does must show: no request
    is kept from failing by another attempt, or by a wait for an instance that starts again.
    """

    def __init__(
        self, spec: VariantSpec, weight: float, size: int, make: Starter, capture: Capture | None = None
    ) -> None:
        self.spec, self.weight, self.capture = spec, weight, capture
        self.guarded = self.trial = False
        self._make = make
        self._lock = threading.Lock()
        self._turn = count()
        self._instances: list[Instance] = []
        self.size = size

    @property
    def instances(self) -> list[Instance]:
        """A copy."""
        with self._lock:
            return list(self._instances)

    def grow(self, size: int, cancelled: Callable[[], bool]) -> None:
        """Start instances, all at once, until there are `size`. On failure none of the new ones stays.

        Raises:
            StartError: the first failure.
        """
        new = [self._make(self.spec) for _ in range(size - len(self.instances))]
        if new:
            try:
                with ThreadPoolExecutor(max_workers=len(new)) as pool:
                    list(pool.map(lambda instance: instance.start(cancelled), new))
            except BaseException:
                stop_all(new, 0)
                raise
        with self._lock:
            self._instances += new
        self.size = size

    def shrink(self, size: int) -> None:
        """Drain and stop the instances above `size`."""
        with self._lock:
            gone, self._instances = self._instances[size:], self._instances[:size]
        self.size = size
        stop_all(gone, DRAIN_SECONDS)

    def stop(self, drain_seconds: float) -> None:
        """Stop all."""
        with self._lock:
            gone, self._instances = self._instances, []
        stop_all(gone, drain_seconds)
        if self.capture is not None:
            self.capture.close()

    def candidates(self) -> list[Instance]:
        """Healthy instances, the one with the fewest requests first, in turn among equals."""
        healthy = [instance for instance in self.instances if instance.healthy]
        if len(healthy) > 1:
            shift = next(self._turn) % len(healthy)
            healthy = healthy[shift:] + healthy[:shift]
            healthy.sort(key=lambda instance: instance.running)
        return healthy


class Fleet:
    """The variants of one deployment.

    Args:
        variants: by name.
    """

    def __init__(self, variants: Sequence[Variant]) -> None:
        self.variants = {variant.spec.name: variant for variant in variants}

    def start(self, cancelled: Callable[[], bool]) -> None:
        """Start every variant with its size; on failure nothing stays. StartError."""
        try:
            for variant in self.variants.values():
                variant.grow(variant.size, cancelled)
        except BaseException:
            self.stop(0)
            raise

    def stop(self, drain_seconds: float) -> None:
        """Stop every instance."""
        variants = list(self.variants.values())
        with ThreadPoolExecutor(max_workers=len(variants) or 1) as pool:
            list(pool.map(lambda variant: variant.stop(drain_seconds), variants))

    def choose(self) -> Variant | None:
        """A variant by weight; None if all weights are zero."""
        variants = list(self.variants.values())
        weights = [variant.weight for variant in variants]
        if not any(weights):
            return None
        return random.choices(variants, weights)[0]  # noqa: S311 - shares traffic, keeps no secret


def stop_all(instances: Sequence[Instance], drain_seconds: float) -> None:
    """Stop instances at the same time."""
    if instances:
        with ThreadPoolExecutor(max_workers=len(instances)) as pool:
            list(pool.map(lambda instance: instance.stop(drain_seconds), instances))
