"""What the deployer knows about a group: one item of the table, which it alone writes.

The item: ``group`` (key), ``generation`` (raised by every write, the condition of the next one), ``updated``
(UTC, ISO 8601), and, absent for none: ``desired`` (the version that the registry wants served in full),
``serving``, ``previous``, ``canary``, ``verdict`` (how the last canary ended), ``error`` (maps), ``unused``
and ``deleting`` (see `garbage`; maps from artifact to moment).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A version as the endpoint serves it; `artifact` (group/version-sha.tar.gz) is its `TargetModel`.

    `probe`: a golden row as JSON, which keeps the model loaded once nobody asks for it; empty where rows are
    too large for a record.
    """

    version: int
    package_arn: str
    artifact: str
    sha256: str
    since: str
    probe: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A version that answers `percent` of the requests; its `deployment.since` is when it began to."""

    deployment: Deployment
    percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a canary ended: `outcome` is `promoted` or `rolled-back`."""

    version: int
    outcome: str
    reason: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why the group is not as the registry wants it. `version` is 0 where it is about none."""

    version: int
    message: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """State of one group. Generation 0 stands for an item that does not exist yet."""

    group: str
    generation: int = 0
    desired: int | None = None
    serving: Deployment | None = None
    previous: Deployment | None = None
    canary: Canary | None = None
    verdict: Verdict | None = None
    error: Failure | None = None
    unused: Mapping[str, str] = field(default_factory=dict)
    deleting: Mapping[str, str] = field(default_factory=dict)
    updated: str = ""

    @property
    def artifacts(self) -> frozenset[str]:
        """What the endpoint must be able to load."""
        deployed = (self.serving, self.previous, self.canary.deployment if self.canary else None)
        return frozenset(deployment.artifact for deployment in deployed if deployment)

    @property
    def answering(self) -> tuple[Deployment, ...]:
        """What answers requests."""
        canary = (self.canary.deployment,) if self.canary else ()
        return (self.serving, *canary) if self.serving else canary
