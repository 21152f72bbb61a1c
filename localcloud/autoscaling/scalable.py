"""What a service offers so that its resources can be scaled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from localcloud.context import Credentials


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Of one resource now.

    Args:
        current: units in service.
        settled: whether it may be changed: nothing is on its way.
        failure: why the last change came to another capacity than was asked for.
    """

    current: int
    settled: bool
    failure: str = ""


class Scalable(Protocol):
    """One service namespace."""

    def exists(self, resource_id: str) -> bool:
        """Whether the resource may be registered."""
        ...

    def capacity(self, resource_id: str) -> Capacity | None:
        """Its capacity; None if the resource is gone."""
        ...

    def change(self, resource_id: str, wanted: int, credentials: Credentials) -> None:
        """Begin to bring it to another capacity, with the permissions of the service-linked role."""
        ...

    def permissions(self, resource_id: str) -> Sequence[tuple[str, str]]:
        """Actions, with their resources, that a caller needs to register the resource."""
        ...
