"""What reconciling needs from the outside; the tests' fakes and the AWS adapters both have this shape."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

from .canary import Figures
from .record import Record, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An approved version in the registry."""

    version: int
    arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What the registry knows about a version now. `changed`: its last change, ISO 8601, empty if never."""

    approved: bool
    model_data_url: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    changed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A model archive at hand: the open file and the SHA-256 of all its bytes, in hex."""

    file: BinaryIO
    sha256: str


class Registry(Protocol):
    """The model registry."""

    def approved(self, group: str) -> list[Package]:
        """Every approved version, newest first. Raises UnreadableError."""

    def describe(self, package_arn: str) -> Description:
        """Raises OutdatedError when the package is gone, UnreadableError, DeployError if it cannot serve."""

    def conclude(self, package: Package, verdict: Verdict, *, changed: str) -> None:
        """Writes down how a canary ended that last changed at `changed`; one that is rolled back is rejected
        with that.

        Raises OutdatedError when somebody decided otherwise meanwhile, UnreadableError, DeployError when it
        is refused."""


class Records(Protocol):
    """The table of records."""

    def read(self, group: str) -> Record:
        """The newest state, generation 0 if there is none."""

    def write(self, record: Record, *, expected: int) -> None:
        """Replaces generation `expected`. Raises OutdatedError when the item is at another generation."""


class Artifacts(Protocol):
    """Where training leaves models, and the prefix that the endpoint loads from."""

    def fetch(self, url: str) -> AbstractContextManager[Archive]:
        """A local copy. Raises DeployError when the object is missing, unreadable or too large."""

    def publish(self, archive: Archive, artifact: str) -> None:
        """Writes it under a name that is never overwritten; one that exists with the same bytes is fine.

        Raises DeployError when the name exists with other bytes or the write is refused."""

    def present(self, group: str) -> frozenset[str]:
        """The group's artifacts where the endpoint loads from. Raises DeployError if that is unknown."""

    def delete(self, artifact: str) -> None:
        """Deletes it; one that is gone is fine. Raises DeployError when it is refused."""


class Endpoint(Protocol):
    """The multi-model endpoint."""

    def predict(self, artifact: str, instances: list[Any]) -> Any:
        """The model's predictions for the rows. Raises DeployError when none come."""

    def warm(self, artifact: str, instances: list[Any]) -> None:
        """One request, without patience. Raises DeployError when it fails."""


class Metrics(Protocol):
    """What callers got, version by version."""

    def figures(self, group: str, version: int, *, since: str, until: str) -> Figures:
        """Raises DeployError when they cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything outside, together."""

    registry: Registry
    records: Records
    artifacts: Artifacts
    endpoint: Endpoint
    metrics: Metrics
