"""What the construct tells the function: written by one, read by the other, through this class."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from modelyard.runtime.limits import ANSWER_SECONDS

from .canary import Rules

# Reading the registry, copying an archive of the largest size and checking it.
PREPARATION_SECONDS = 230


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Environment of the deployer.

    `groups`: model package groups it looks after; events of others are ignored.
    `artifact_bucket`, `artifact_prefix`: where the multi-model endpoint loads from; the prefix ends in "/".
    `kms_key_arn`: key for artifacts; empty for the bucket's default encryption.
    `max_artifact_bytes`: largest model archive, packed; it must fit the function's ephemeral storage.
    `max_unpacked_bytes`: largest model archive, unpacked; a bomb is refused there.
    `replay_seconds`: how long golden rows may take, the load of a cold model included.
    `interval_seconds`: how often a group is reconciled without an event.
    `grace_seconds`: how long an artifact stays that no record needs: callers remember what served.
    `canary`: how canaries are judged.
    """

    endpoint_name: str
    table_name: str
    groups: tuple[str, ...]
    artifact_bucket: str
    artifact_prefix: str = "models/multi/"
    kms_key_arn: str = ""
    max_artifact_bytes: int = 400_000_000
    max_unpacked_bytes: int = 4_000_000_000
    replay_seconds: int = 120
    interval_seconds: int = 300
    grace_seconds: int = 86_400
    canary: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        for name in ("endpoint_name", "table_name", "artifact_bucket"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty")
        if not self.groups or not all(self.groups):
            raise ValueError("groups is empty or holds an empty name; name at least one model package group")
        if not self.artifact_prefix.endswith("/"):
            raise ValueError(f"artifact_prefix {self.artifact_prefix!r} must end in '/'")
        if not 1 <= self.replay_seconds <= 780:
            raise ValueError(f"replay_seconds is {self.replay_seconds}; give 1 to 780, below Lambda's 900 s")
        if min(self.max_artifact_bytes, self.max_unpacked_bytes) < 1:
            raise ValueError("max_artifact_bytes and max_unpacked_bytes must be positive")
        if self.interval_seconds < 60:
            raise ValueError(f"interval_seconds is {self.interval_seconds}; give at least 60")
        if self.grace_seconds < 3600:
            raise ValueError(
                f"grace_seconds is {self.grace_seconds}; give at least 3600, as callers remember what served"
            )

    @property
    def timeout_seconds(self) -> int:
        """The function's timeout: one group, whose serving version and canary may both be new."""
        return min(900, 2 * (PREPARATION_SECONDS + self.replay_seconds) + ANSWER_SECONDS)

    def to_environment(self) -> dict[str, str]:
        return {
            "ENDPOINT_NAME": self.endpoint_name,
            "TABLE_NAME": self.table_name,
            "GROUPS": ",".join(self.groups),
            "ARTIFACT_BUCKET": self.artifact_bucket,
            "ARTIFACT_PREFIX": self.artifact_prefix,
            "KMS_KEY_ARN": self.kms_key_arn,
            "MAX_ARTIFACT_BYTES": str(self.max_artifact_bytes),
            "MAX_UNPACKED_BYTES": str(self.max_unpacked_bytes),
            "REPLAY_SECONDS": str(self.replay_seconds),
            "INTERVAL_SECONDS": str(self.interval_seconds),
            "GRACE_SECONDS": str(self.grace_seconds),
            "CANARY": json.dumps(asdict(self.canary), separators=(",", ":")),
        }

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Reverse of `to_environment`. Raises KeyError for what is missing, ValueError for what is wrong."""
        return cls(
            endpoint_name=environment["ENDPOINT_NAME"],
            table_name=environment["TABLE_NAME"],
            groups=tuple(environment["GROUPS"].split(",")),
            artifact_bucket=environment["ARTIFACT_BUCKET"],
            artifact_prefix=environment["ARTIFACT_PREFIX"],
            kms_key_arn=environment["KMS_KEY_ARN"],
            max_artifact_bytes=int(environment["MAX_ARTIFACT_BYTES"]),
            max_unpacked_bytes=int(environment["MAX_UNPACKED_BYTES"]),
            replay_seconds=int(environment["REPLAY_SECONDS"]),
            interval_seconds=int(environment["INTERVAL_SECONDS"]),
            grace_seconds=int(environment["GRACE_SECONDS"]),
            canary=Rules(**json.loads(environment["CANARY"])),
        )
