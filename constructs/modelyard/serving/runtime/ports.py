"""What reconciling needs from the outside; the tests' fakes and the AWS adapters both have this shape."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from .record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An approved version in the registry."""

    version: int
    arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A model archive at hand: the open file and the SHA-256 of all its bytes, in hex."""

    file: BinaryIO
    sha256: str


class Registry(Protocol):
    """The model registry."""

    def approved(self, group: str) -> list[Package]:
        """Every approved version, newest first. Raises DeployError when the registry cannot be read."""

    def model_data_url(self, package: Package) -> str:
        """Where the model lies. Raises OutdatedError when the package is gone or approved no more."""


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

    def exists(self, artifact: str) -> bool:
        """Whether the artifact lies where the endpoint loads from. Raises DeployError if that is unknown."""


class Endpoint(Protocol):
    """The multi-model endpoint."""

    def predict(self, artifact: str, instances: list[Any]) -> Any:
        """The model's predictions for the rows. Raises DeployError when none come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything outside, together."""

    registry: Registry
    records: Records
    artifacts: Artifacts
    endpoint: Endpoint
