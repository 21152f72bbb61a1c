"""What the construct tells the function: written by one, read by the other, through this class."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Environment of the pipeline handler.

    `stop_seconds`: how long a delete waits for running executions to stop.
    """

    stop_seconds: int = 600

    def __post_init__(self) -> None:
        if not 1 <= self.stop_seconds <= 840:
            raise ValueError(
                f"stop_seconds is {self.stop_seconds}; give 1 to 840, as Lambda ends a function after 900 s"
            )

    @property
    def timeout_seconds(self) -> int:
        """The function's timeout; the custom resource's service timeout must be longer still."""
        return self.stop_seconds + 60

    def to_environment(self) -> dict[str, str]:
        return {"STOP_SECONDS": str(self.stop_seconds)}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Reverse of `to_environment`. Raises KeyError for what is missing, ValueError for what is wrong."""
        return cls(stop_seconds=int(environment["STOP_SECONDS"]))
