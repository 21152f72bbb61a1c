"""Which fleet answers: one, or two while an update shifts requests from the old to the new."""

from __future__ import annotations

import random
from dataclasses import dataclass

from localcloud.sagemaker.hosting.fleet import Fleet


@dataclass(frozen=True, slots=True)
class _Split:
    blue: Fleet
    green: Fleet | None = None
    share: float = 0.0


class Traffic:
    """The fleets of one endpoint, for many threads."""

    def __init__(self, fleet: Fleet) -> None:
        # Replaced as a whole: a request sees one split or the other, never a part of both.
        self._split = _Split(fleet)

    @property
    def fleet(self) -> Fleet:
        """The one in service; during an update the old one."""
        return self._split.blue

    def fleets(self) -> list[Fleet]:
        """All that run."""
        split = self._split
        return [split.blue] if split.green is None else [split.blue, split.green]

    def order(self) -> list[Fleet]:
        """Where one request may go, first choice first.

        While both take requests either answers for the other where it has no healthy instance.
        """
        split = self._split
        if split.green is None or split.share <= 0.0:
            return [split.blue]
        if split.share >= 1.0:
            return [split.green]
        new = random.random() < split.share  # noqa: S311 - shares traffic, keeps no secret
        return [split.green, split.blue] if new else [split.blue, split.green]

    def shift(self, green: Fleet, share: float) -> None:
        """Give the new fleet a share of the requests, 0 to 1."""
        for fleet in (self._split.blue, green):
            for variant in fleet.variants.values():
                # Without requests it is on its way out: those that still find it go back to the other.
                variant.guarded, variant.trial = True, fleet is green and share > 0.0
        self._split = _Split(self._split.blue, green, share)

    def keep(self, fleet: Fleet) -> None:
        """Give one fleet all requests and forget the other, which the caller stops."""
        for variant in fleet.variants.values():
            variant.trial = False
        self._split = _Split(fleet)
