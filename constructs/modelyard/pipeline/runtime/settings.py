"""What the construct tells the function: written by one, read by the other, through this class."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Environment of the pipeline handler.

    `stop_seconds`: how long a delete waits for running executions to stop.
    `denied_seconds`: how long a create or update is repeated that IAM denies, as long as new permissions may
    need to be known everywhere.
    """

    stop_seconds: int = 600
    denied_seconds: int = 60

    def __post_init__(self) -> None:
        if not 1 <= self.stop_seconds <= 840:
            raise ValueError(
                f"stop_seconds is {self.stop_seconds}; give 1 to 840, as Lambda ends a function after 900 s"
            )
        if not 0 <= self.denied_seconds <= 840:
            raise ValueError(f"denied_seconds is {self.denied_seconds}; give 0 to 840")

    @property
    def timeout_seconds(self) -> int:
        """The function's timeout; the custom resource's service timeout must be longer still."""
        return max(self.stop_seconds, self.denied_seconds) + 60

    def to_environment(self) -> dict[str, str]:
        return {"STOP_SECONDS": str(self.stop_seconds), "DENIED_SECONDS": str(self.denied_seconds)}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Reverse of `to_environment`. Raises KeyError for what is missing, ValueError for what is wrong."""
        return cls(
            stop_seconds=int(environment["STOP_SECONDS"]), denied_seconds=int(environment["DENIED_SECONDS"])
        )
